/* c4_mem_alloc memory: alone, and mapped by another process. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/transports/shm/rig.h"
#include "transports/shm/region.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

static void test_alloc(void)
{
    const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1 << 20, (5 << 20) + 17};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *memory = NULL;
        C4TEST_OK_FATAL(ops->mem_alloc(sizes[i], &memory));
        C4TEST_INT((long long)((uintptr_t)memory % 4096), 0);
        size_t set = 0;
        for (size_t at = 0; at < sizes[i]; at++)
            set += ((unsigned char *)memory)[at] != 0;
        C4TEST_INT((long long)set, 0);
        memset(memory, 0xff, sizes[i]);
        C4TEST_OK(ops->mem_free(memory));
    }
    C4TEST_OK(ops->mem_free(NULL));
    int local = 0;
    C4TEST_INT(ops->mem_free(&local), C4_ERR_ARGUMENT);
    void *memory = NULL;
    C4TEST_INT(ops->mem_alloc(SIZE_MAX, &memory), C4_ERR_COUNT);
    CU_ASSERT_PTR_NULL(memory);
}

static void test_export(void)
{
    c4_memory_handle handle;
    int local = 0;
    C4TEST_INT(ops->mem_export(&local, 4, &handle), C4_ERR_ARGUMENT);
    enum { REGIONS = 40 };
    char *memory[REGIONS];
    for (int i = 0; i < REGIONS; i++)
        C4TEST_OK_FATAL(ops->mem_alloc(8192, (void **)&memory[i]));
    for (int i = 0; i < REGIONS; i++) {
        C4TEST_OK(ops->mem_export(memory[i], 8192, &handle));
        C4TEST_OK(ops->mem_export(memory[i] + 8191, 1, &handle));
        C4TEST_INT(ops->mem_export(memory[i] + 8191, 2, &handle), C4_ERR_ARGUMENT);
        C4TEST_INT(ops->mem_export(memory[i], 8193, &handle), C4_ERR_ARGUMENT);
        C4TEST_INT(ops->mem_export(memory[i], SIZE_MAX, &handle), C4_ERR_ARGUMENT);
        C4TEST_INT(ops->mem_export(memory[i] + 8192, 1, &handle), C4_ERR_ARGUMENT); /* the page behind is ours */
    }
    for (int i = 0; i < REGIONS; i += 2)
        C4TEST_OK(ops->mem_free(memory[i]));
    for (int i = 0; i < REGIONS; i++)
        C4TEST_INT(ops->mem_export(memory[i], 1, &handle), i % 2 ? C4_OK : C4_ERR_ARGUMENT);
    for (int i = 1; i < REGIONS; i += 2)
        C4TEST_OK(ops->mem_free(memory[i]));
}

struct exchange {
    rig_board board;
    c4_memory_handle handle;
};

/* Write, let the peer check and answer; free; again, so that the next region may get the last one's address and fd. */
static void share_rank(int rank, void *arg)
{
    struct exchange *x = arg;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, &x->board, rank, 2, NULL));
    for (int round = 0; round < 100; round++) {
        uint32_t *memory = NULL, *seen = NULL;
        size_t count = 3000;
        if (rank == 0) {
            C4TEST_OK_FATAL(ops->mem_alloc(count * 4, (void **)&memory));
            for (size_t i = 0; i < count; i++)
                memory[i] = (uint32_t)(i + (size_t)round * 7);
            C4TEST_OK_FATAL(ops->mem_export(memory + 100, (count - 100) * 4, &x->handle));
        }
        rig_barrier(&x->board, 2);
        if (rank == 1) {
            void *again = NULL;
            C4TEST_OK_FATAL(ops->mem_map(rig.module, 0, &x->handle, (void **)&seen));
            C4TEST_OK_FATAL(ops->mem_map(rig.module, 0, &x->handle, &again));
            CU_ASSERT_PTR_EQUAL(again, (void *)seen);
            C4TEST_INT(seen[0], 100 + round * 7);
            C4TEST_INT(seen[count - 101], (uint32_t)(count - 1) + (uint32_t)round * 7);
            seen[0] = 0xfeed;
        }
        rig_barrier(&x->board, 2);
        if (rank == 0) {
            C4TEST_INT(memory[100], 0xfeed);
            C4TEST_OK(ops->mem_free(memory));
        }
        rig_barrier(&x->board, 2);
        void *gone = NULL;
        if (rank == 1 && round % 10 == 9) { /* closed, or by now another file */
            c4_shm_region_handle stale;
            memcpy(&stale, &x->handle, sizeof stale);
            stale.nonce ^= 1; /* past this side's cache */
            memcpy(&x->handle, &stale, sizeof stale);
            c4_status status = ops->mem_map(rig.module, 0, &x->handle, &gone);
            CU_ASSERT(status == C4_ERR_SHM || status == C4_ERR_PROTOCOL);
            CU_ASSERT_PTR_NULL(gone);
        }
        rig_barrier(&x->board, 2);
    }
    rig_close(&rig);
}

static void test_share(void)
{
    c4test_ranks(2, share_rank, c4test_shared(sizeof(struct exchange)), 15);
}

/* More regions than the cache keeps, all alive. */
static void many_rank(int rank, void *arg)
{
    enum { REGIONS = 150 };
    struct {
        rig_board board;
        c4_memory_handle handles[REGIONS];
    } *x = arg;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, &x->board, rank, 2, NULL));
    int *memory[REGIONS];
    for (int i = 0; i < REGIONS && rank == 0; i++) {
        C4TEST_OK_FATAL(ops->mem_alloc(4096, (void **)&memory[i]));
        *memory[i] = i;
        C4TEST_OK_FATAL(ops->mem_export(memory[i], 4096, &x->handles[i]));
    }
    rig_barrier(&x->board, 2);
    for (int pass = 0; pass < 3 && rank == 1; pass++)
        for (int i = 0; i < REGIONS; i++) {
            int *seen = NULL;
            C4TEST_OK_FATAL(ops->mem_map(rig.module, 0, &x->handles[i], (void **)&seen));
            C4TEST_INT(*seen, i);
        }
    rig_barrier(&x->board, 2);
    rig_close(&rig);
}

static void test_many_regions(void)
{
    c4test_ranks(2, many_rank, c4test_shared(sizeof(rig_board) + 150 * sizeof(c4_memory_handle)), 15);
}

/* What a broken or hostile peer could hand out. */
static void hostile_rank(int rank, void *arg)
{
    struct exchange *x = arg;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, &x->board, rank, 2, NULL));
    void *memory = NULL;
    if (rank == 0) {
        C4TEST_OK_FATAL(ops->mem_alloc(8192, &memory));
        C4TEST_OK_FATAL(ops->mem_export(memory, 8192, &x->handle));
    }
    rig_barrier(&x->board, 2);
    if (rank == 1) {
        c4_shm_region_handle good;
        memcpy(&good, &x->handle, sizeof good);
        struct {
            c4_shm_region_handle handle;
            c4_status status;
        } bad[] = {{good, C4_ERR_PROTOCOL}, {good, C4_ERR_PROTOCOL}, {good, C4_ERR_PROTOCOL},
                   {good, C4_ERR_PROTOCOL}, {good, C4_ERR_PROTOCOL}, {good, C4_ERR_SHM}};
        bad[0].handle.offset = 8193;
        bad[1].handle.bytes = UINT64_MAX;
        bad[2].handle.region_bytes = 1 << 20;
        bad[3].handle.nonce ^= 1;
        bad[4].handle.nonce = 0;
        bad[5].handle.fd = 9999;
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            c4_memory_handle handle;
            void *pointer = NULL;
            memcpy(&handle, &bad[i].handle, sizeof handle);
            C4TEST_INT(ops->mem_map(rig.module, 0, &handle, &pointer), bad[i].status);
            CU_ASSERT_PTR_NULL(pointer);
        }
        C4TEST_OK(ops->mem_map(rig.module, 0, &x->handle, &memory));
        c4_memory_handle late;
        memcpy(&late, &bad[1].handle, sizeof late); /* now from the cache */
        C4TEST_INT(ops->mem_map(rig.module, 0, &late, &memory), C4_ERR_PROTOCOL);
    }
    rig_close(&rig);
}

static void test_hostile_handles(void)
{
    c4test_ranks(2, hostile_rank, c4test_shared(sizeof(struct exchange)), 15);
}

/* Look-ups race with allocation: every answer must be right. */
static void *churn(void *arg)
{
    const int *stop = arg;
    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        void *memory[8];
        for (int i = 0; i < 8; i++)
            if (ops->mem_alloc(4096, &memory[i]) != C4_OK)
                return NULL;
        for (int i = 0; i < 8; i++)
            ops->mem_free(memory[i]);
    }
    return NULL;
}

static void test_concurrent_lookup(void)
{
    int stop = 0, wrong = 0;
    char *memory = NULL;
    C4TEST_OK_FATAL(ops->mem_alloc(8192, (void **)&memory));
    enum { STANDING = 300 }; /* the longer the table, the longer it is in disorder */
    void *standing[STANDING];
    for (int i = 0; i < STANDING; i++)
        C4TEST_OK_FATAL(ops->mem_alloc(4096, &standing[i]));
    pthread_t thread;
    C4TEST_INT_FATAL(pthread_create(&thread, NULL, churn, &stop), 0);
    for (int i = 0; i < 3000000; i++) {
        c4_memory_handle handle;
        c4_shm_region_handle inside;
        int local = 0;
        wrong += ops->mem_export(memory + 4096, 4096, &handle) != C4_OK;
        memcpy(&inside, &handle, sizeof inside);
        wrong += inside.offset != 4096 || inside.region_bytes != 8192;
        wrong += ops->mem_export(&local, 4, &handle) != C4_ERR_ARGUMENT;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    C4TEST_INT(wrong, 0);
    for (int i = 0; i < STANDING; i++)
        C4TEST_OK(ops->mem_free(standing[i]));
    C4TEST_OK(ops->mem_free(memory));
}

static void test_file_size_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    C4TEST_INT_FATAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    void *memory = NULL;
    C4TEST_INT(ops->mem_alloc(2 << 20, &memory), C4_ERR_SHM); /* not SIGXFSZ */
    CU_ASSERT_PTR_NULL(memory);
    C4TEST_OK_FATAL(ops->mem_alloc(4096, &memory));
    C4TEST_OK(ops->mem_free(memory));
}

static void test_file_descriptor_limit(void)
{
    struct rlimit limit = {.rlim_cur = (rlim_t)dup(0), .rlim_max = 1000};
    close((int)limit.rlim_cur);
    C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    void *memory = NULL;
    C4TEST_INT(ops->mem_alloc(4096, &memory), C4_ERR_FILES);
    limit.rlim_cur = 1000;
    C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    C4TEST_OK_FATAL(ops->mem_alloc(4096, &memory));
    C4TEST_OK(ops->mem_free(memory));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(alloc),
                                        C4TEST(export),
                                        C4TEST(share),
                                        C4TEST(many_regions),
                                        C4TEST(hostile_handles),
                                        C4TEST_DEADLINE(concurrent_lookup, 60),
                                        C4TEST(file_size_limit),
                                        C4TEST(file_descriptor_limit),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
