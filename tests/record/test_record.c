/* Writer and reader of flight records: layout, rings that wrap, torn writes, files that cannot be had, the end. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "diag/sources/record_reader.h"
#include "record/recorder.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

_Static_assert(sizeof(c4_record_area) == 16, "layout");
_Static_assert(sizeof(c4_record_header) == 256 && sizeof(c4_record_header) <= C4_RECORD_HEADER_BYTES, "layout");
_Static_assert(offsetof(c4_record_header, comms) == 152 && offsetof(c4_record_header, closed) == 248, "layout");
_Static_assert(sizeof(c4_record_ring) == 64, "layout");
_Static_assert(sizeof(c4_record_comm) == 112, "layout");
_Static_assert(sizeof(c4_record_program) == 64, "layout");
_Static_assert(sizeof(c4_record_operation) == 64, "layout");
_Static_assert(sizeof(c4_record_edge) == 56, "layout");
_Static_assert(sizeof(c4_record_move) == 56, "layout");

static c4_recorder_spec small_spec(void)
{
    return (c4_recorder_spec){.directory = c4test_path("records"), .bytes = 65536, .job_id = 0xabcdef, .rank = 3};
}

/* This process's file, "RANK-PID-NONCE.c4rec", in the directory of a job; "" when there is none. */
static const char *path_in(const char *job)
{
    static char path[1024];
    char infix[32];
    struct dirent *entry;
    DIR *dir = opendir(job);
    path[0] = '\0';
    snprintf(infix, sizeof infix, "-%d-", getpid());
    while (dir && (entry = readdir(dir)))
        if (strstr(entry->d_name, infix) && strstr(entry->d_name, ".c4rec"))
            snprintf(path, sizeof path, "%s/%s", job, entry->d_name);
    if (dir)
        closedir(dir);
    return path;
}

static const char *own_path(const c4_recorder_spec *spec)
{
    char job[512];
    snprintf(job, sizeof job, "%s/%016llx", spec->directory, (unsigned long long)spec->job_id);
    return path_in(job);
}

/* Values that depend on one number: a torn copy shows. */
static void write_operation(c4_record_writer *writer, uint64_t number)
{
    uint32_t generation;
    c4_record_operation *r = c4_record_operation_begin(writer, &generation);
    r->sequence = (uint32_t)number;
    r->call_ticks = number * 3;
    r->end_ticks = number * 5;
    r->count = number * 7;
    r->first_ticks = number * 11;
    r->waited_ticks = number * 13;
    r->comm = writer->comm_index;
    r->program = (uint16_t)number;
    r->kind = r->dtype = r->op = 1;
    r->state = C4_RECORD_DONE;
    r->root = (int32_t)number;
    r->status = 0;
    c4_record_publish(&r->generation, generation);
}

static bool operation_fits(const c4_record_operation *r)
{
    uint64_t number = r->count / 7;
    return r->sequence == (uint32_t)number && r->call_ticks == number * 3 && r->end_ticks == number * 5 &&
           r->count == number * 7 && r->first_ticks == number * 11 && r->waited_ticks == number * 13 &&
           r->program == (uint16_t)number && r->root == (int32_t)number;
}

static c4_record_move a_move(uint64_t number)
{
    return (c4_record_move){.sequence = (uint32_t)number,
                            .edge = 1,
                            .lane = (uint16_t)number,
                            .bytes = number * 17,
                            .messages = (uint32_t)number,
                            .waited_ticks = number * 19,
                            .moved_ticks = number * 23,
                            .end_ticks = number * 29};
}

static bool move_fits(const c4_record_move *m)
{
    uint64_t number = m->bytes / 17;
    return m->sequence == (uint32_t)number && m->lane == (uint16_t)number && m->messages == (uint32_t)number &&
           m->waited_ticks == number * 19 && m->moved_ticks == number * 23 && m->end_ticks == number * 29;
}

static void test_round_trip(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    c4_record_writer writer;
    c4_record_file *file;
    CU_ASSERT_FATAL(recorder != NULL);
    c4_record_writer_open(recorder, 77, 2, 3, 8, 4, "train", &writer);
    c4_record_program program = {
        .algorithm = 2, .kind = 1, .dtype = 7, .count = 99, .lanes = 2, .algorithm_name = "ring"};
    C4TEST_INT(c4_record_program_add(&writer, &program), 0);
    C4TEST_INT(c4_record_edge_add(&writer, 5, 9, true, 1), 0);
    c4_record_edge_count(&writer, 0, 1000, 3, 2, 40, 123);
    c4_record_edge_count(&writer, 0, 24, 1, 5, 2, 456);
    C4TEST_OK_FATAL(c4_record_file_open(own_path(&spec), &file));

    const c4_record_header *header = c4_record_file_header(file);
    C4TEST_INT(header->pid, getpid());
    C4TEST_INT(header->rank, 3);
    C4TEST_INT(header->job_id, 0xabcdef);
    CU_ASSERT(header->ticks_per_second > 100000000 && header->pid_start_ticks > 0 && header->wall_ns_0 > 0);
    CU_ASSERT(!c4_record_file_closed(file));
    c4_record_comm comm;
    CU_ASSERT_FATAL(c4_record_file_comm(file, 0, &comm));
    C4TEST_INT(comm.comm_id, 77);
    C4TEST_INT(comm.nranks, 8);
    C4TEST_INT(comm.epoch, 2);
    C4TEST_STRING(comm.name, "train");
    CU_ASSERT(!c4_record_file_comm(file, 1, &comm) && !c4_record_file_comm(file, 1u << 30, &comm));
    c4_record_program read_program;
    CU_ASSERT_FATAL(c4_record_file_program(file, 0, &read_program));
    C4TEST_STRING(read_program.algorithm_name, "ring");
    C4TEST_INT(read_program.count, 99);
    c4_record_edge edge;
    CU_ASSERT_FATAL(c4_record_file_edge(file, 0, &edge));
    C4TEST_INT((long long)edge.resends, 7);
    C4TEST_INT(edge.bytes, 1024);
    C4TEST_INT(edge.messages, 4);
    C4TEST_INT(edge.waited_ticks, 42);
    C4TEST_INT(edge.last_ticks, 456);
    C4TEST_INT(edge.peer, 5);
    c4_record_writer_close(&writer, C4_ERR_PEER_DEAD);
    CU_ASSERT_FATAL(c4_record_file_comm(file, 0, &comm));
    C4TEST_INT(comm.status, C4_ERR_PEER_DEAD);
    CU_ASSERT(comm.ended_ticks >= comm.created_ticks);
    c4_recorder_release(recorder, false);
    CU_ASSERT(c4_record_file_closed(file)); /* kept: the end was not clean */
    c4_record_file_close(file);
}

/* 0, a few, exactly one lap, and many laps, on the first ring and on another. */
static void test_ring_wrap(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    c4_record_writer writers[2];
    c4_record_file *file;
    uint64_t written = 0;
    CU_ASSERT_FATAL(recorder != NULL);
    for (int i = 0; i < 2; i++)
        c4_record_writer_open(recorder, (uint32_t)i, 0, 0, 1, 1, "x", &writers[i]);
    C4TEST_OK_FATAL(c4_record_file_open(own_path(&spec), &file));
    uint32_t slots = writers[1].operation_mask + 1, move_slots = writers[1].move_mask + 1;
    uint64_t totals[] = {0, 3, slots - 1, slots, slots + 1, 5 * (uint64_t)slots + 7};
    for (size_t t = 0; t < sizeof totals / sizeof totals[0]; t++) {
        for (; written < totals[t]; written++) {
            c4_record_move move = a_move(written);
            write_operation(&writers[1], written);
            c4_record_move_add(&writers[1], &move);
        }
        uint64_t expected = written, seen = 0;
        c4_record_operation operation;
        c4_record_walk walk = c4_record_walk_operations(file, 1);
        while (c4_record_walk_next_operation(&walk, &operation)) {
            CU_ASSERT(operation_fits(&operation));
            C4TEST_INT(operation.count / 7, --expected);
            seen++;
        }
        C4TEST_INT(seen, written < slots ? written : slots);
        c4_record_move move;
        seen = 0;
        for (walk = c4_record_walk_moves(file, 1); c4_record_walk_next_move(&walk, &move); seen++)
            CU_ASSERT(move_fits(&move) && move.comm == 1);
        C4TEST_INT(seen, written < move_slots ? written : move_slots);
        walk = c4_record_walk_operations(file, 0);
        CU_ASSERT(!c4_record_walk_next_operation(&walk, &operation)); /* the neighbour's ring is untouched */
        walk = c4_record_walk_operations(file, 4000000000u);
        CU_ASSERT(!c4_record_walk_next_operation(&walk, &operation));
    }
    c4_record_file_close(file);
    c4_recorder_release(recorder, true);
}

/* ---- a reader while the writer hammers ---- */

typedef struct hammer {
    c4_record_writer writer;
    _Atomic int stop;
} hammer;

static void *hammer_main(void *arg)
{
    hammer *h = arg;
    for (uint64_t number = 0; !atomic_load_explicit(&h->stop, memory_order_relaxed); number++) {
        c4_record_move move = a_move(number);
        write_operation(&h->writer, number);
        c4_record_move_add(&h->writer, &move);
    }
    return NULL;
}

static void test_torn(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    hammer h = {.stop = 0};
    c4_record_file *file;
    pthread_t thread;
    uint64_t seen = 0, torn = 0;
    CU_ASSERT_FATAL(recorder != NULL);
    c4_record_writer_open(recorder, 1, 0, 0, 1, 1, "x", &h.writer);
    C4TEST_OK_FATAL(c4_record_file_open(own_path(&spec), &file));
    C4TEST_INT_FATAL(pthread_create(&thread, NULL, hammer_main, &h), 0);
    while (seen < 200000) {
        c4_record_operation operation;
        c4_record_walk walk = c4_record_walk_operations(file, 0);
        while (c4_record_walk_next_operation(&walk, &operation)) {
            seen++;
            torn += !operation_fits(&operation);
        }
        c4_record_move move;
        walk = c4_record_walk_moves(file, 0);
        while (c4_record_walk_next_move(&walk, &move)) {
            seen++;
            torn += !move_fits(&move);
        }
    }
    atomic_store(&h.stop, 1);
    pthread_join(thread, NULL);
    C4TEST_INT(torn, 0);
    c4_record_file_close(file);
    c4_recorder_release(recorder, true);
}

/* Calls 1 .. last, as the engine writes them. */
static void fill_calls(c4_record_writer *writer, uint32_t last)
{
    for (uint32_t i = 1; i <= last; i++) {
        uint32_t generation;
        c4_record_operation *r = c4_record_operation_begin(writer, &generation);
        CU_ASSERT_FATAL(r != NULL);
        r->comm = writer->comm_index;
        r->sequence = i;
        r->call_ticks = c4_tsc();
        c4_record_publish(&r->generation, generation);
    }
}

static bool accept_sequence(const c4_record_operation *operation, const void *context)
{
    return operation->sequence == *(const uint32_t *)context;
}

/* ---- tables full, places that cannot be written ---- */

static void test_tables_full(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    c4_record_writer writer, late;
    c4_record_program program = {.kind = 1};
    CU_ASSERT_FATAL(recorder != NULL);
    c4_record_writer_open(recorder, 1, 0, 0, 1, 1, "x", &writer);
    uint16_t index = 0;
    for (int i = 0; i < 5000 && index != C4_RECORD_NO_INDEX; i++)
        index = c4_record_program_add(&writer, &program);
    C4TEST_INT(index, C4_RECORD_NO_INDEX);
    index = 0;
    for (int i = 0; i < 5000 && index != C4_RECORD_NO_INDEX; i++)
        index = c4_record_edge_add(&writer, 1, (uint32_t)i, true, 0);
    C4TEST_INT(index, C4_RECORD_NO_INDEX);
    c4_record_edge_count(&writer, index, 1, 1, 0, 1, 1); /* nowhere: no crash */
    c4_record_writer_open(recorder, 2, 0, 0, 1, 1, "y", &late);
    for (int i = 0; i < 200 && late.recorder; i++)
        c4_record_writer_open(recorder, 2, 0, 0, 1, 1, "y", &late);
    CU_ASSERT_PTR_NULL(late.recorder);
    fill_calls(&late, 1);
    c4_record_operation found;
    CU_ASSERT(c4_record_operation_find(&late, accept_sequence, &(uint32_t){1}, &found)); /* in memory alone */
    c4_record_writer_close(&late, C4_OK);
    c4_recorder_release(recorder, true);
}

/* What peers ask for: the newest of this communicator that fits, whole, and not of one that had its place before. */
static void test_find(void)
{
    c4_recorder_spec spec = small_spec();
    for (int file = 0; file < 2; file++) {
        c4_recorder *recorder = file ? c4_recorder_acquire(&spec) : NULL;
        c4_record_writer writers[6], again;
        c4_record_operation found;
        for (uint32_t i = 0; i < 6; i++) { /* the last ones share a ring when there is a file */
            c4_record_writer_open(recorder, i, 0, 0, 1, 1, "x", &writers[i]);
            CU_ASSERT_FALSE(c4_record_operation_find(&writers[i], accept_sequence, &(uint32_t){1}, &found));
        }
        for (uint32_t i = 0; i < 6; i++)
            fill_calls(&writers[i], 3 + i);
        for (uint32_t i = 0; i < 6; i++) {
            CU_ASSERT(c4_record_operation_find(&writers[i], accept_sequence, &(uint32_t){3 + i}, &found));
            C4TEST_INT(found.sequence, 3 + i);
            CU_ASSERT_FALSE(c4_record_operation_find(&writers[i], accept_sequence, &(uint32_t){4 + i}, &found));
        }
        uint32_t generation, last = writers[5].operation_mask + 10;
        fill_calls(&writers[0], last);
        CU_ASSERT(c4_record_operation_find(&writers[0], accept_sequence, &last, &found));
        CU_ASSERT_FALSE(
            c4_record_operation_find(&writers[0], accept_sequence, &(uint32_t){5}, &found)); /* overwritten */
        c4_record_operation *torn = c4_record_operation_begin(&writers[1], &generation);
        CU_ASSERT_FATAL(torn != NULL);
        torn->comm = writers[1].comm_index;
        torn->sequence = 99;
        torn->call_ticks = c4_tsc();
        CU_ASSERT_FALSE(c4_record_operation_find(&writers[1], accept_sequence, &(uint32_t){99}, &found));
        c4_record_publish(&torn->generation, generation);
        CU_ASSERT(c4_record_operation_find(&writers[1], accept_sequence, &(uint32_t){99}, &found));
        c4_record_writer_close(&writers[5], C4_OK);
        do { /* until the place is taken again */
            c4_record_writer_open(recorder, 7, 0, 0, 1, 1, "y", &again);
        } while (again.recorder && again.comm_index != writers[5].comm_index);
        CU_ASSERT((again.recorder != NULL) == (file == 1));
        CU_ASSERT_FALSE(c4_record_operation_find(&again, accept_sequence, &(uint32_t){8}, &found));
        c4_record_writer_close(&again, C4_OK);
        for (int i = 0; i < 5; i++)
            c4_record_writer_close(&writers[i], C4_OK);
        c4_recorder_release(recorder, true);
    }
}

/* A process that creates and destroys communicators for ever: the last is recorded like the first, and the one that lives
 * all the time keeps its entries. */
static void test_entries_of_ended_communicators(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    c4_record_writer stays, writer;
    c4_record_file *file;
    c4_record_comm comm;
    c4_record_program program = {.kind = 1, .count = 1}, read_program;
    c4_record_edge edge;
    CU_ASSERT_FATAL(recorder != NULL);
    c4_record_writer_open(recorder, 1, 0, 0, 1, 1, "stays", &stays);
    uint16_t own_program = c4_record_program_add(&stays, &program),
             own_edge = c4_record_edge_add(&stays, 7, 8, true, 0);
    C4TEST_OK_FATAL(c4_record_file_open(own_path(&spec), &file));
    for (uint32_t round = 2; round < 5000; round++) {
        c4_record_writer_open(recorder, round, 0, 0, 1, 1, "goes", &writer);
        CU_ASSERT_FATAL(writer.recorder != NULL);
        program.count = round;
        uint16_t program_at = c4_record_program_add(&writer, &program);
        uint16_t edge_at = c4_record_edge_add(&writer, (int)round, round, false, 1);
        c4_record_edge_count(&writer, edge_at, 10, 1, 0, 0, 1);
        uint32_t comm_at = writer.comm_index;
        CU_ASSERT_FATAL(c4_record_file_program(file, program_at, &read_program));
        CU_ASSERT(read_program.count == round && read_program.comm == comm_at);
        CU_ASSERT_FATAL(c4_record_file_edge(file, edge_at, &edge));
        CU_ASSERT(edge.peer == (int)round && edge.bytes == 10 && edge.comm == comm_at);
        CU_ASSERT_FATAL(c4_record_file_comm(file, comm_at, &comm));
        CU_ASSERT(comm.comm_id == round && comm.ended_ticks == 0 && comm.generation % 2 == 0);
        write_operation(&writer, round);
        c4_record_writer_close(&writer, C4_OK);
        CU_ASSERT(c4_record_file_comm(file, comm_at, &comm) && comm.comm_id == round && comm.ended_ticks != 0);
    }
    CU_ASSERT(c4_record_file_comm(file, stays.comm_index, &comm) && comm.comm_id == 1 && comm.ended_ticks == 0);
    CU_ASSERT(c4_record_file_program(file, own_program, &read_program) && read_program.count == 1);
    CU_ASSERT(c4_record_file_edge(file, own_edge, &edge) && edge.peer == 7 && edge.bytes == 0);
    c4_record_file_close(file);
    c4_recorder_release(recorder, true);
}

static void test_not_writable(void)
{
    setenv("C4_LOG", "none", 1);
    c4_log_configure(C4_LOG_NONE, "");
    c4_recorder_spec spec = small_spec();
    spec.directory = "/proc/no/such/place";
    CU_ASSERT(c4_recorder_acquire(&spec) == NULL);
    spec.directory = "/dev/null";
    CU_ASSERT(c4_recorder_acquire(&spec) == NULL);
    spec.directory = "";
    CU_ASSERT(c4_recorder_acquire(&spec) == NULL);
    c4_recorder_release(NULL, true);
    /* and a communicator works without its recorder */
    c4_unique_id id;
    c4_comm *comm;
    int32_t one = 1;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_RECORD_DIR=/proc/no/such/place"};
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, &config, NULL, &comm));
    C4TEST_OK(c4_all_reduce(&one, &one, 1, C4_INT32, C4_SUM, comm, NULL));
    C4TEST_OK(c4_comm_destroy(comm));
}

/* ---- damaged files ---- */

static void test_damaged(void)
{
    c4_recorder_spec spec = small_spec();
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    c4_record_writer writer;
    c4_record_file *file = NULL;
    static _Alignas(64) unsigned char bytes[1 << 20];
    CU_ASSERT_FATAL(recorder != NULL);
    c4_record_writer_open(recorder, 1, 0, 0, 1, 1, "x", &writer);
    for (uint64_t i = 0; i < 500; i++)
        write_operation(&writer, i);
    FILE *stream = fopen(own_path(&spec), "r");
    size_t size = stream ? fread(bytes, 1, sizeof bytes, stream) : 0;
    CU_ASSERT_FATAL(size > C4_RECORD_HEADER_BYTES && fclose(stream) == 0);
    c4_log_configure(C4_LOG_NONE, "");
    C4TEST_OK(c4_record_file_open_memory(bytes, size, &file));
    c4_record_file_close(file);
    for (size_t cut = 0; cut < size; cut += 509)
        CU_ASSERT(c4_record_file_open_memory(bytes, cut, &file) == C4_ERR_PROTOCOL);
    for (size_t at = 0; at < offsetof(c4_record_header, closed); at++)
        for (int bit = 0; bit < 8; bit++) { /* refused, or read without harm */
            bytes[at] ^= (unsigned char)(1 << bit);
            if (c4_record_file_open_memory(bytes, size, &file) == C4_OK) {
                c4_record_operation operation;
                for (uint32_t ring = 0; ring < 8; ring++) {
                    c4_record_walk walk = c4_record_walk_operations(file, ring);
                    while (c4_record_walk_next_operation(&walk, &operation))
                        ;
                }
                c4_record_file_close(file);
            }
            bytes[at] ^= (unsigned char)(1 << bit);
        }
    C4TEST_INT(c4_record_file_open("/nonexistent/file", &file), C4_ERR_SYSTEM);
    C4TEST_INT(c4_record_file_open("/dev/null", &file), C4_ERR_PROTOCOL);
    c4_recorder_release(recorder, true);
}

/* ---- through the library: killed, and ended well ---- */

static void find_record(const char *directory, char *path, size_t bytes)
{
    path[0] = '\0';
    DIR *dir = opendir(directory);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && entry->d_type != DT_SOCK) /* admin sockets lie beside the jobs */
            snprintf(path, bytes, "%s/%s", directory, entry->d_name);
    if (dir)
        closedir(dir);
}

static void run_and_die(int rank, void *arg)
{
    c4_unique_id id;
    c4_comm *comm;
    int64_t value = 1;
    (void)rank;
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    c4_comm_config config = {.struct_size = sizeof config, .options = arg, .name = "doomed"};
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, &config, NULL, &comm));
    for (int i = 0; i < 10; i++)
        C4TEST_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_MAX, comm, NULL));
    raise(SIGKILL);
}

static void test_after_kill(void)
{
    char options[512], job[512], path[1024];
    int status;
    c4_record_file *file;
    c4_record_comm comm;
    c4_record_operation operation;
    snprintf(options, sizeof options, "C4_RECORD_DIR=%s", c4test_path("killed"));
    c4test_team *team = c4test_team_start(1, run_and_die, options);
    c4test_team_wait(team, 10, &status);
    find_record(c4test_path("killed"), job, sizeof job);
    find_record(job, path, sizeof path);
    struct stat info;
    C4TEST_INT(stat(path, &info), 0);
    C4TEST_INT(info.st_mode & 0777, 0600);
    C4TEST_INT(stat(c4test_path("killed"), &info), 0);
    C4TEST_INT(info.st_mode & 0777, 0700);
    C4TEST_OK_FATAL(c4_record_file_open(path, &file));
    CU_ASSERT(!c4_record_file_closed(file));
    CU_ASSERT_FATAL(c4_record_file_comm(file, 0, &comm));
    C4TEST_STRING(comm.name, "doomed");
    C4TEST_INT(comm.ended_ticks, 0);
    uint32_t sequence = 10;
    c4_record_walk walk = c4_record_walk_operations(file, comm.ring);
    while (c4_record_walk_next_operation(&walk, &operation)) {
        C4TEST_INT(operation.sequence, sequence--);
        C4TEST_INT(operation.op, C4_MAX);
        C4TEST_INT(operation.dtype, C4_INT64);
        C4TEST_INT(operation.state, C4_RECORD_DONE);
        CU_ASSERT(operation.end_ticks >= operation.call_ticks);
    }
    C4TEST_INT(sequence, 0);
    c4_record_file_close(file);
}

static void write_some(c4_comm **comm, int rank, void *arg)
{
    char job[512];
    float *buffer = calloc(100000, sizeof *buffer);
    c4_record_file *file = NULL;
    bool large = false, moved = false;
    (void)rank;
    for (int i = 0; i < 5; i++)
        WORLD_OK(c4_all_reduce(buffer, buffer, i == 3 ? 100000 : 1, C4_FLOAT32, C4_SUM, *comm, NULL));
    find_record(arg, job, sizeof job);
    WORLD_OK(c4_record_file_open(path_in(job), &file));
    if (!file)
        return;
    c4_record_operation operation;
    c4_record_walk walk = c4_record_walk_operations(file, 0);
    while (c4_record_walk_next_operation(&walk, &operation)) {
        c4_record_program program;
        large |= operation.count == 100000 && operation.sequence == 4 &&
                 c4_record_file_program(file, operation.program, &program) && program.count == 100000 &&
                 program.algorithm_name[0];
    }
    uint64_t sent = 0;
    c4_record_move move;
    for (walk = c4_record_walk_moves(file, 0); c4_record_walk_next_move(&walk, &move);) {
        moved |= move.sequence == 4 && move.bytes > 0 && move.messages > 0;
        c4_record_edge edge;
        WORLD_TRUE(c4_record_file_edge(file, move.edge, &edge));
        WORLD_TRUE(edge.direction == move.direction && edge.bytes >= move.bytes);
        sent += move.bytes;
    }
    WORLD_TRUE(large && moved && sent >= 400000);
    c4_record_file_close(file);
    free(buffer);
}

/* Connections are lost under it; what was sent again for that shows, in the sum of an edge and where it happened. */
static void lose_some(c4_comm **comm, int rank, void *arg)
{
    char job[512];
    static float buffer[100000];
    c4_record_file *file = NULL;
    c4_record_move move;
    uint64_t resends[2] = {0};
    (void)rank;
    for (int i = 0; i < 20; i++)
        WORLD_OK(c4_all_reduce(buffer, buffer, 100000, C4_FLOAT32, C4_SUM, *comm, NULL));
    find_record(arg, job, sizeof job);
    WORLD_OK(c4_record_file_open(path_in(job), &file));
    if (!file)
        return;
    for (c4_record_walk walk = c4_record_walk_moves(file, 0); c4_record_walk_next_move(&walk, &move);)
        resends[0] += move.resends;
    c4_record_edge edge;
    for (uint32_t i = 0; c4_record_file_edge(file, i, &edge); i++)
        resends[1] += edge.resends;
    c4_record_file_close(file);
    WORLD_OK(c4_all_reduce(resends, resends, 2, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_TRUE(resends[0] > 0 && resends[0] == resends[1]);
}

static void test_lost_connections(void)
{
    char options[600];
    const char *directory = c4test_path("lossy");
    snprintf(options, sizeof options,
             "C4_RECORD_DIR=%s C4_TRANSPORTS=tcp C4_HOOK=close=tcp@frame:7,truncate=tcp@frame:11", directory);
    world_run(&(world_spec){.nranks = 2, .options = options}, lose_some, (void *)directory);
}

static void test_clean_end(void)
{
    char options[600], left[512];
    const char *directory = c4test_path("clean");
    static const char *const transports[] = {"shm", "tcp"};
    for (int i = 0; i < 2; i++) {
        snprintf(options, sizeof options, "C4_RECORD_DIR=%s C4_TRANSPORTS=%s", directory, transports[i]);
        world_run(&(world_spec){.nranks = 2, .options = options}, write_some, (void *)directory);
        find_record(directory, left, sizeof left);
        C4TEST_STRING(left, "");
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(round_trip),       C4TEST(ring_wrap),  C4TEST(torn),
        C4TEST(tables_full),      C4TEST(find),       C4TEST(not_writable),
        C4TEST(damaged),          C4TEST(after_kill), C4TEST(entries_of_ended_communicators),
        C4TEST(lost_connections), C4TEST(clean_end),  C4TEST_END};
    return c4test_main(argc, argv, cases);
}
