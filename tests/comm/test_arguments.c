/* Wrong arguments: the right status, a text that names the argument, nothing sent, and a communicator that still works. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

static _Alignas(64) unsigned char a[4096], b[4096];
static size_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1}, huge[8] = {1, SIZE_MAX / 2, 1, 1, 1, 1, 1, 1};
static size_t far_away[8] = {0, SIZE_MAX - 1, 0, 0, 0, 0, 0, 0}, twos[8] = {2, 2, 2, 2, 2, 2, 2, 2};

/* Blocks of 2 and 3 elements: at 4 and 2 they share element 4, at 3 and 0 none. */
static size_t mixed[8] = {2, 3}, crossing[8] = {4, 2}, backwards[8] = {3, 0}, same[8] = {0, 0}, none[8] = {0, 1};

typedef c4_status (*bad_call)(c4_comm *comm);

#define F C4_FLOAT32
#define CALL(name, expression)           \
    static c4_status name(c4_comm *comm) \
    {                                    \
        return expression;               \
    }
#define BAD_OP     ((c4_op)C4_NOPS)
#define BAD_DTYPE  ((c4_dtype)C4_NDTYPES)
#define COUNT_OVER (SIZE_MAX / 4 + 1)

CALL(null_send, c4_all_reduce(NULL, b, 4, F, C4_SUM, comm, NULL))
CALL(null_recv, c4_all_reduce(a, NULL, 4, F, C4_SUM, comm, NULL))
CALL(null_gather, c4_all_gather(a, NULL, 4, F, comm, NULL))
CALL(null_broadcast, c4_broadcast(NULL, NULL, 4, F, 0, comm, NULL))
CALL(null_p2p, c4_send(NULL, 4, F, 1, comm, NULL))
CALL(null_p2p_recv, c4_recv(NULL, 4, F, 1, comm, NULL))
CALL(null_counts, c4_all_gather_v(a, 1, b, NULL, NULL, F, comm, NULL))
CALL(null_counts_to_all, c4_all_to_all_v(a, NULL, NULL, b, ones, NULL, F, comm, NULL))
CALL(null_counts_scatter, c4_reduce_scatter_v(a, b, NULL, F, C4_SUM, comm, NULL))
CALL(crooked_send, c4_all_reduce(a + 1, b, 4, F, C4_SUM, comm, NULL))
CALL(crooked_recv, c4_all_reduce(a, b + 2, 4, F, C4_SUM, comm, NULL))
CALL(crooked_half, c4_all_reduce(a, b + 1, 4, C4_BFLOAT16, C4_SUM, comm, NULL))
CALL(overlap, c4_all_reduce(a, a + 8, 4, F, C4_SUM, comm, NULL))
CALL(overlap_back, c4_all_reduce(a + 8, a, 4, F, C4_SUM, comm, NULL))
CALL(overlap_scatter, c4_reduce_scatter(a, a + 4, 4, F, C4_SUM, comm, NULL))
CALL(overlap_gather, c4_all_gather(a + 4, a, 4, F, comm, NULL))
CALL(overlap_to_all, c4_all_to_all(a, a + 16, 8, F, comm, NULL))
CALL(dtype_over, c4_all_reduce(a, b, 4, BAD_DTYPE, C4_SUM, comm, NULL))
CALL(dtype_negative, c4_broadcast(a, a, 4, (c4_dtype)-1, 0, comm, NULL))
CALL(op_over, c4_all_reduce(a, b, 4, F, BAD_OP, comm, NULL))
CALL(op_negative, c4_reduce(a, b, 4, F, (c4_op)-1, 0, comm, NULL))
CALL(op_float_bits, c4_all_reduce(a, b, 4, F, C4_BXOR, comm, NULL))
CALL(op_half_bits, c4_reduce_scatter(a, b, 4, C4_FLOAT16, C4_BAND, comm, NULL))
CALL(op_unmade, c4_all_reduce(a, b, 4, F, C4_OP_USER, comm, NULL))
CALL(op_far, c4_all_reduce(a, b, 4, F, C4_OP_LAST, comm, NULL))
CALL(root_over, c4_broadcast(a, a, 4, F, 2, comm, NULL))
CALL(root_negative, c4_reduce(a, b, 4, F, C4_SUM, -1, comm, NULL))
CALL(root_gather, c4_gather(a, b, 4, F, INT32_MAX, comm, NULL))
CALL(root_scatter_v, c4_scatter_v(a, ones, NULL, b, 1, F, -5, comm, NULL))
CALL(peer_over, c4_send(a, 4, F, 2, comm, NULL))
CALL(peer_negative, c4_recv(a, 4, F, -1, comm, NULL))
CALL(count_over, c4_all_reduce(a, b, SIZE_MAX, F, C4_SUM, comm, NULL))
CALL(count_bytes_over, c4_broadcast(a, a, COUNT_OVER, F, 0, comm, NULL))
CALL(count_blocks_over, c4_all_gather(a, b, SIZE_MAX / 8, F, comm, NULL))
CALL(count_v_over, c4_all_gather_v(a, 1, b, huge, NULL, F, comm, NULL))
CALL(displ_over, c4_all_to_all_v(a, ones, NULL, b, ones, far_away, F, comm, NULL))
CALL(count_of_own, c4_all_gather_v(a, 1, b, twos, NULL, F, comm, NULL))
CALL(blocks_gather, c4_all_gather_v(a, 2, b, mixed, crossing, F, comm, NULL))
CALL(blocks_root, c4_gather_v(a, 2, b, mixed, crossing, F, 0, comm, NULL))
CALL(blocks_to_all, c4_all_to_all_v(a, mixed, NULL, b, mixed, crossing, F, comm, NULL))
CALL(blocks_same, c4_all_gather_v(a, 1, b, ones, same, F, comm, NULL))
CALL(no_child, c4_comm_split(comm, 0, 0, NULL, NULL, NULL))
CALL(premul_null, c4_op_create_premul(NULL, F, comm, &(c4_op){C4_SUM}))
CALL(premul_no_op, c4_op_create_premul(a, F, comm, NULL))
CALL(premul_dtype, c4_op_create_premul(a, BAD_DTYPE, comm, &(c4_op){C4_SUM}))
CALL(premul_destroy, c4_op_destroy(C4_SUM, comm))
CALL(register_null, c4_mem_register(comm, NULL, 8, (void *[1]){NULL}))
CALL(register_empty, c4_mem_register(comm, a, 0, (void *[1]){NULL}))
CALL(deregister_null, c4_mem_deregister(comm, NULL))
CALL(rank_null, c4_comm_rank(comm, NULL))
CALL(algorithm_null, c4_info_comm_algorithm(comm, "all_reduce", 8, NULL))

static const struct bad_row {
    const char *name;
    bad_call call;
    c4_status expected;
    const char *text; /* must occur in c4_last_error(NULL) */
} rows[] = {
    {"null send", null_send, C4_ERR_NULL, "all_reduce on \"world\": send"},
    {"null recv", null_recv, C4_ERR_NULL, "all_reduce on \"world\": recv"},
    {"null recv of all_gather", null_gather, C4_ERR_NULL, "all_gather on \"world\": recv"},
    {"null broadcast", null_broadcast, C4_ERR_NULL, "broadcast"},
    {"null of send", null_p2p, C4_ERR_NULL, "send"},
    {"null of recv", null_p2p_recv, C4_ERR_NULL, "recv"},
    {"null counts", null_counts, C4_ERR_NULL, "counts"},
    {"null counts of all_to_all_v", null_counts_to_all, C4_ERR_NULL, "send_counts"},
    {"null counts of reduce_scatter_v", null_counts_scatter, C4_ERR_NULL, "counts"},
    {"misaligned send", crooked_send, C4_ERR_ALIGNMENT, "4 bytes"},
    {"misaligned recv", crooked_recv, C4_ERR_ALIGNMENT, "recv"},
    {"misaligned bfloat16", crooked_half, C4_ERR_ALIGNMENT, "2 bytes"},
    {"overlap", overlap, C4_ERR_OVERLAP, "overlaps"},
    {"overlap backwards", overlap_back, C4_ERR_OVERLAP, "in place"},
    {"overlap of reduce_scatter", overlap_scatter, C4_ERR_OVERLAP, "reduce_scatter"},
    {"overlap of all_gather", overlap_gather, C4_ERR_OVERLAP, "all_gather"},
    {"overlap of all_to_all", overlap_to_all, C4_ERR_OVERLAP, "all_to_all"},
    {"dtype too large", dtype_over, C4_ERR_DTYPE, "dtype 12"},
    {"dtype negative", dtype_negative, C4_ERR_DTYPE, "dtype -1"},
    {"op too large", op_over, C4_ERR_OP, "op 8"},
    {"op negative", op_negative, C4_ERR_OP, "op -1"},
    {"bits of float32", op_float_bits, C4_ERR_OP, "bxor"},
    {"bits of float16", op_half_bits, C4_ERR_OP, "float16"},
    {"premul that was not made", op_unmade, C4_ERR_OP, "not created"},
    {"premul far away", op_far, C4_ERR_OP, "not created"},
    {"root too large", root_over, C4_ERR_ROOT, "root 2"},
    {"root negative", root_negative, C4_ERR_ROOT, "root -1"},
    {"root of gather", root_gather, C4_ERR_ROOT, "0 .. 1"},
    {"root of scatter_v", root_scatter_v, C4_ERR_ROOT, "root -5"},
    {"peer too large", peer_over, C4_ERR_ROOT, "peer 2"},
    {"peer negative", peer_negative, C4_ERR_ROOT, "peer -1"},
    {"count overflows", count_over, C4_ERR_COUNT, "overflow"},
    {"bytes overflow", count_bytes_over, C4_ERR_COUNT, "overflow"},
    {"blocks overflow", count_blocks_over, C4_ERR_COUNT, "overflow"},
    {"v-count overflows", count_v_over, C4_ERR_COUNT, "rank 1"},
    {"displacement overflows", displ_over, C4_ERR_COUNT, "rank 1"},
    {"own count differs", count_of_own, C4_ERR_COUNT, "own block"},
    {"blocks of all_gather_v", blocks_gather, C4_ERR_OVERLAP,
     "rank 1 (3 elements at 2) overlaps that of rank 0 (2 at 4)"},
    {"blocks of gather_v", blocks_root, C4_ERR_OVERLAP, "gather_v on \"world\": recv block of rank 1"},
    {"blocks of all_to_all_v", blocks_to_all, C4_ERR_OVERLAP, "all_to_all_v on \"world\": recv block of rank 1"},
    {"blocks in one place", blocks_same, C4_ERR_OVERLAP, "(1 elements at 0)"},
    {"split without output", no_child, C4_ERR_NULL, "new_comm"},
    {"premul without scalar", premul_null, C4_ERR_NULL, "scalar"},
    {"premul without output", premul_no_op, C4_ERR_NULL, "op"},
    {"premul dtype", premul_dtype, C4_ERR_DTYPE, "dtype 12"},
    {"destroying a built-in op", premul_destroy, C4_ERR_OP, "op 0"},
    {"register NULL", register_null, C4_ERR_NULL, "memory"},
    {"register nothing", register_empty, C4_ERR_COUNT, "0 bytes"},
    {"deregister NULL", deregister_null, C4_ERR_NULL, "handle"},
    {"rank without output", rank_null, C4_ERR_NULL, "NULL"},
    {"algorithm without output", algorithm_null, C4_ERR_NULL, "NULL"},
};

/* Every row on rank 0 alone: had anything been sent, the next collective would find a stranger's frame. */
static void rows_rank(c4_comm **comm, int rank, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = rank + (int64_t)i;
        if (rank == 0) {
            c4_status status = rows[i].call(*comm);
            const char *text = c4_last_error(NULL);
            if (status != rows[i].expected || !strstr(text, rows[i].text))
                world_fail("%s: %s: \"%s\", expected %s with \"%s\"", rows[i].name, c4_status_name(status), text,
                           c4_status_name(rows[i].expected), rows[i].text);
            WORLD_TRUE(strstr(text, c4_status_advice(rows[i].expected)) != NULL);
        }
        WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, *comm, NULL));
        if (value != 1 + 2 * (int64_t)i)
            world_fail("after \"%s\": %lld", rows[i].name, (long long)value);
    }
    WORLD_OK(c4_comm_status(*comm));
}

static void test_rows(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, rows_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, rows_rank, NULL);
}

/* Blocks in any order, empty ones anywhere, and one input that goes to several ranks are all legal. */
static void blocks_rank(c4_comm **comm, int rank, void *arg)
{
    float in[4] = {(float)(rank + 1), (float)(rank + 2), (float)(rank + 3), 0}, out[8] = {0};
    (void)arg;
    WORLD_OK(c4_all_gather_v(in, mixed[rank], out, mixed, backwards, F, *comm, NULL));
    WORLD_TRUE(out[0] == 2 && out[2] == 4 && out[3] == 1 && out[4] == 2);
    WORLD_OK(c4_all_gather_v(in, none[rank], out, none, same, F, *comm, NULL));
    WORLD_TRUE(out[0] == 2 && out[1] == 3);
    WORLD_OK(c4_all_to_all_v(in, twos, same, out, twos, NULL, F, *comm, NULL));
    WORLD_TRUE(out[0] == 1 && out[1] == 2 && out[2] == 2 && out[3] == 3);
    WORLD_OK(c4_scatter_v(rank ? NULL : in, twos, same, out, 2, F, 0, *comm, NULL));
    WORLD_TRUE(out[0] == 1 && out[1] == 2);
}

static void test_blocks(void)
{
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, blocks_rank, NULL);
}

/* ---- without a communicator ---- */

static void test_no_comm(void)
{
    int value = 7;
    c4_request *request = NULL;
    void *memory = NULL;
    setenv("C4_LOG", "none", 1);
    C4TEST_INT(c4_all_reduce(a, b, 4, F, C4_SUM, NULL, NULL), C4_ERR_NULL);
    C4TEST_INT(c4_barrier(NULL, NULL), C4_ERR_NULL);
    C4TEST_INT(c4_all_gather_v(a, 1, b, ones, NULL, F, NULL, NULL), C4_ERR_NULL);
    C4TEST_INT(c4_comm_rank(NULL, &value), C4_ERR_NULL);
    C4TEST_INT(c4_comm_size(NULL, &value), C4_ERR_NULL);
    C4TEST_INT(value, 7);
    C4TEST_INT(c4_comm_abort(NULL), C4_ERR_NULL);
    C4TEST_INT(c4_comm_status(NULL), C4_ERR_NULL);
    C4TEST_OK(c4_comm_destroy(NULL));
    C4TEST_INT(c4_test(NULL), C4_ERR_NULL);
    C4TEST_INT(c4_wait(&request), C4_ERR_NULL);
    C4TEST_INT(c4_mem_alloc(8, NULL), C4_ERR_NULL);
    C4TEST_INT(c4_mem_alloc(0, &memory), C4_ERR_COUNT);
    CU_ASSERT(memory == NULL);
    C4TEST_OK(c4_mem_free(NULL));
    CU_ASSERT(c4_mem_free(&value) < 0); /* not from c4_mem_alloc */
    C4TEST_INT(c4_unique_id_create(NULL), C4_ERR_NULL);
    CU_ASSERT(c4_last_error(NULL) != NULL && *c4_last_error(NULL));
}

static void test_create(void)
{
    c4_unique_id id, damaged;
    c4_comm *comm = (c4_comm *)a;
    setenv("C4_LOG", "none", 1);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_INT(c4_comm_create(NULL, 1, 0, NULL, NULL, &comm), C4_ERR_NULL);
    C4TEST_INT(c4_comm_create(&id, 1, 0, NULL, NULL, NULL), C4_ERR_NULL);
    static const int wrong[][2] = {{0, 0}, {-1, 0}, {1, 1}, {2, -1}, {2, 2}, {INT32_MAX, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        C4TEST_INT(c4_comm_create(&id, wrong[i][0], wrong[i][1], NULL, NULL, &comm), C4_ERR_ROOT);
    damaged = id;
    damaged.bytes[70] ^= 1;
    C4TEST_INT(c4_comm_create(&damaged, 1, 0, NULL, NULL, &comm), C4_ERR_ARGUMENT);
    memset(&damaged, 0, sizeof damaged);
    C4TEST_INT(c4_comm_create(&damaged, 1, 0, NULL, NULL, &comm), C4_ERR_ARGUMENT);
    C4TEST_INT(c4_comm_create_from_env(NULL, NULL, NULL), C4_ERR_NULL);
    CU_ASSERT(comm == (c4_comm *)a); /* outputs are written on success only */

    /* struct_size: too small to hold anything is refused; smaller than today's struct is an older program */
    c4_comm_config config = {.struct_size = 0};
    C4TEST_INT(c4_comm_create(&id, 1, 0, &config, NULL, &comm), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(c4_last_error(NULL), "struct_size");
    static const struct {
        const char *options, *text;
    } bad_options[] = {{"C4_TRANSPORTS=carrier_pigeon", "carrier_pigeon"},
                       {"C4_ALGO=guess", "guess"},
                       {"C4_ALGO=all_produce:ring", "all_produce"},
                       {"C4_CPU=z80", "C4_CPU"},
                       {"C4_TIMEOUT_MS=soon", "C4_TIMEOUT_MS"},
                       {"C4_CHUNK_BYTES=-1", "C4_CHUNK_BYTES"},
                       {"C4_TUNING_FILE=/no/such/file", "/no/such/file"}};
    for (size_t i = 0; i < sizeof bad_options / sizeof bad_options[0]; i++) {
        config = (c4_comm_config){.struct_size = sizeof config, .options = bad_options[i].options};
        C4TEST_OK_FATAL(c4_unique_id_create(&id));
        C4TEST_INT(c4_comm_create(&id, 1, 0, &config, NULL, &comm), C4_ERR_OPTION);
        C4TEST_CONTAINS(c4_last_error(NULL), bad_options[i].text);
    }
    config = (c4_comm_config){.struct_size = offsetof(c4_comm_config, timeout_ms), .name = "old", .timeout_ms = -77};
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, &config, NULL, &comm));
    const char *name;
    C4TEST_OK(c4_comm_name(comm, &name));
    C4TEST_STRING(name, "old");
    C4TEST_OK(c4_comm_destroy(comm));
    config = (c4_comm_config){
        .struct_size = offsetof(c4_comm_config, options), .name = "older", .options = (const char *)(uintptr_t)8};
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, &config, NULL, &comm));
    c4_comm *child;
    C4TEST_OK(c4_comm_split(comm, 0, 0, &config, NULL, &child));
    C4TEST_OK(c4_comm_name(child, &name));
    C4TEST_STRING(name, "older");
    C4TEST_OK(c4_comm_destroy(child));
    C4TEST_OK(c4_comm_destroy(comm));
}

/* ---- a rank on its own: set-up deadline, operation deadline, different options, different calls ---- */

static void alone_rank(const c4_unique_id *id, int rank, void *arg)
{
    c4_comm *comm = NULL;
    (void)arg;
    if (rank == 1)
        return;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = 300};
    WORLD_STATUS(c4_comm_create(id, 2, rank, &config, NULL, &comm), C4_ERR_TIMEOUT);
    WORLD_TRUE(strstr(c4_last_error(NULL), "rank") != NULL || strstr(c4_last_error(NULL), "1 of 2") != NULL);
}

/* All ranks say the same: which options, which values and where they come from, on which ranks. */
static void options_rank(const c4_unique_id *id, int rank, void *arg)
{
    static const char *const own[] = {"C4_CHUNK_BYTES=8K", "C4_CHUNK_BYTES=8192 C4_MAP=off",
                                      "C4_CHUNK_BYTES=4096 C4_MAP=off C4_SPIN_POLLS=7"};
    static const char *const says[] = {"C4_CHUNK_BYTES is \"8K\" (call) on rank 0 and \"4096\" (call) on rank 2;",
                                       "C4_MAP is \"1\" (default) on rank 0 and \"off\" (call) on rank 1 "
                                       "(1 more differ from rank 0)"};
    c4_comm *comm = NULL;
    (void)arg;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = 10000, .options = own[rank]};
    c4_status status = c4_comm_create(id, 3, rank, &config, NULL, &comm);
    WORLD_TRUE(status == C4_ERR_OPTION || status == C4_ERR_PEER_ERROR);
    WORLD_TRUE(comm == NULL && !strstr(c4_last_error(NULL), "C4_SPIN_POLLS"));
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++)
        if (!strstr(c4_last_error(NULL), says[i]))
            world_fail("rank %d: no \"%s\" in: %s", rank, says[i], c4_last_error(NULL));
}

/* One path, two contents, or two paths to one content: the content counts. */
static void tuning_rank(const c4_unique_id *id, int rank, void *arg)
{
    const bool *equal = arg;
    char options[1024];
    c4_comm *comm = NULL;
    const char *path = c4test_path(rank ? "tuning.1" : "tuning.0");
    FILE *file = fopen(path, "w");
    WORLD_TRUE(file && fputs(rank && !*equal ? "# another\n" : "# one\n", file) >= 0 && fclose(file) == 0);
    if (!*equal) { /* under one name, as each host sees it */
        WORLD_TRUE(chdir(rank ? c4test_path("b") : c4test_path("a")) == 0 && rename(path, "tuning") == 0);
        path = "tuning";
    }
    snprintf(options, sizeof options, "C4_TUNING_FILE=%s", path);
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = 10000, .options = options};
    c4_status status = c4_comm_create(id, 2, rank, &config, NULL, &comm);
    if (*equal) {
        WORLD_OK(status);
        WORLD_OK(c4_comm_destroy(comm));
        return;
    }
    WORLD_TRUE(status == C4_ERR_OPTION || status == C4_ERR_PEER_ERROR);
    WORLD_TRUE(comm == NULL && strstr(c4_last_error(NULL), "C4_TUNING_FILE, which must have the same content,"));
    if (comm)
        WORLD_OK(c4_comm_destroy(comm));
}

static void test_tuning_file(void)
{
    setenv("C4_LOG", "none", 1);
    CU_ASSERT_FATAL(mkdir(c4test_path("a"), 0700) == 0 && mkdir(c4test_path("b"), 0700) == 0);
    world_run_raw(&(world_spec){.nranks = 2}, tuning_rank, &(bool){true});
    world_run_raw(&(world_spec){.nranks = 2}, tuning_rank, &(bool){false});
}

static void timeout_rank(c4_comm **comm, int rank, void *arg)
{
    int32_t value = 0;
    (void)arg;
    if (rank == 0) {
        WORLD_STATUS(c4_recv(&value, 1, C4_INT32, 1, *comm, NULL), C4_ERR_TIMEOUT);
        WORLD_TRUE(strstr(c4_last_error(*comm), "C4_TIMEOUT_MS") != NULL);
        WORLD_STATUS(c4_comm_status(*comm), C4_ERR_TIMEOUT);
    } else { /* ends because rank 0 has told it, not because of a deadline of its own */
        while (c4_comm_status(*comm) == C4_OK)
            ;
        WORLD_TRUE(c4_comm_status(*comm) < 0);
    }
}

/* Rank 0's progress thread meets the deadline while rank 0 makes no call: rank 1 hears of it all the same. */
static void thread_fault_rank(c4_comm **comm, int rank, void *arg)
{
    int *pipes = arg, tries = 0;
    int32_t value = 0;
    char byte;
    c4_request *request = NULL;
    if (rank == 0) {
        WORLD_OK(c4_recv(&value, 1, C4_INT32, 1, *comm, &request));
        WORLD_TRUE(read(pipes[0], &byte, 1) == 1);
        WORLD_STATUS(c4_wait(&request), C4_ERR_TIMEOUT);
        return;
    }
    while (c4_comm_status(*comm) == C4_OK && tries++ < 5000)
        poll(NULL, 0, 1);
    WORLD_STATUS(c4_comm_status(*comm), C4_ERR_TIMEOUT);
    WORLD_TRUE(write(pipes[1], "x", 1) == 1);
}

static void test_thread_fault(void)
{
    int pipes[2];
    setenv("C4_LOG", "none", 1);
    CU_ASSERT_FATAL(pipe(pipes) == 0);
    const char *options = "C4_PROGRESS=thread C4_TIMEOUT_MS=200 C4_TRANSPORTS=shm";
    world_run(&(world_spec){.nranks = 2, .options = options}, thread_fault_rank, pipes);
}

static void mismatch_rank(c4_comm **comm, int rank, void *arg)
{
    int64_t values[4] = {1, 2, 3, 4};
    (void)arg;
    c4_status status = rank == 0 ? c4_all_reduce(values, values, 4, C4_INT64, C4_SUM, *comm, NULL)
                                 : c4_all_reduce(values, values, 4, C4_INT64, C4_MAX, *comm, NULL);
    if (status == C4_OK) /* may already have left; then the next call says it */
        status = c4_barrier(*comm, NULL);
    WORLD_STATUS(status, C4_ERR_MISMATCH);
    WORLD_TRUE(strstr(c4_last_error(*comm), "all_reduce") != NULL);
}

static void test_alone(void)
{
    setenv("C4_LOG", "none", 1);
    world_run_raw(&(world_spec){.nranks = 2}, alone_rank, NULL);
    world_run_raw(&(world_spec){.nranks = 3}, options_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TIMEOUT_MS=200 C4_TRANSPORTS=shm"}, timeout_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TIMEOUT_MS=200 C4_TRANSPORTS=tcp"}, timeout_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, mismatch_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, mismatch_rank, NULL);
}

/* ---- every status has its words ---- */

static void test_words(void)
{
#define WORDS(name_, value_, text_, advice_)                 \
    C4TEST_STRING(c4_status_name(C4_##name_), "C4_" #name_); \
    C4TEST_STRING(c4_status_text(C4_##name_), text_);        \
    C4TEST_STRING(c4_status_advice(C4_##name_), advice_);    \
    C4TEST_INT(C4_##name_, value_);
    C4_STATUS_MAP(WORDS)
    CU_ASSERT(c4_status_name((c4_status)-9999) != NULL && c4_status_text((c4_status)12345) != NULL);
    C4TEST_INT(c4_dtype_size(BAD_DTYPE), 0);
    CU_ASSERT(c4_dtype_name(BAD_DTYPE) == NULL && c4_op_name(BAD_OP) == NULL);
    C4TEST_STRING(c4_dtype_name(C4_FLOAT8_E4M3), "float8_e4m3");
    C4TEST_STRING(c4_op_name(C4_AVG), "avg");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(rows),        C4TEST(blocks),       C4TEST(no_comm), C4TEST(create), C4TEST_DEADLINE(alone, 30),
        C4TEST(tuning_file), C4TEST(thread_fault), C4TEST(words),   C4TEST_END};
    return c4test_main(argc, argv, cases);
}
