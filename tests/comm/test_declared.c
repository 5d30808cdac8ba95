/* The list of declared memory: at its edges, against a plain one, through the public calls, in threads and across a fork. */
#include "comm/declared.h"

#include <c4/c4.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"

static const void *address(uintptr_t number)
{
    return (const void *)number;
}

static void test_edges(void)
{
    static const struct {
        uintptr_t from;
        size_t bytes;
        bool holds;
    } table[] = {{4096, 100, true},      {4096, 101, false},      {4095, 1, false}, {4195, 1, true},
                 {4195, 2, false},       {4196, 0, true},         {4196, 1, false}, {4197, 0, false},
                 {4096, 0, true},        {4096, SIZE_MAX, false}, {0, 4196, false}, {100, 1, false},
                 {UINTPTR_MAX, 1, false}};
    c4_transport_memory found;
    uint64_t id = 0, removals = c4_declared_removals();
    CU_ASSERT_FALSE(c4_declared_find(address(4096), 0, &found));
    C4TEST_OK(c4_declared_add(address(4096), 100, &id));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (c4_declared_find(address(table[i].from), table[i].bytes, &found) != table[i].holds)
            C4TEST_INT(i, -1);
    CU_ASSERT_FATAL(c4_declared_find(address(4100), 8, &found));
    CU_ASSERT(found.base == address(4096) && found.bytes == 100 && found.id == id);
    CU_ASSERT_FALSE(c4_declared_remove(id + 1));
    CU_ASSERT_EQUAL(c4_declared_removals(), removals);
    CU_ASSERT_TRUE(c4_declared_remove(id));
    CU_ASSERT_EQUAL(c4_declared_removals(), removals + 1);
    CU_ASSERT_FALSE(c4_declared_remove(id));
    CU_ASSERT_FALSE(c4_declared_find(address(4100), 8, &found));
}

/* A transport asks whether what it has registered is still declared: others at the same place are no answer to that. */
static void test_same_place(void)
{
    static const size_t bytes[] = {100, 100, 200, 50};
    uint64_t ids[4];
    c4_transport_memory found;
    for (size_t i = 0; i < 4; i++)
        C4TEST_OK(c4_declared_add(address(4096), bytes[i], &ids[i]));
    for (size_t i = 0; i < 3; i++) { /* the last never has a turn: an older one is as good */
        CU_ASSERT(c4_declared_find(address(4096), bytes[i], &found) && found.id == ids[i]);
        CU_ASSERT(c4_declared_find(address(4096 + bytes[i] - 1), 1, &found) && found.id == ids[i]);
        CU_ASSERT_TRUE(c4_declared_remove(ids[i]));
    }
    CU_ASSERT(c4_declared_find(address(4096), 50, &found) && found.id == ids[3]);
    c4_declared_forget(address(4096));
    CU_ASSERT_FALSE(c4_declared_find(address(4096), 1, &found));
}

/* ---- against a plain list ---- */

#define MANY 200

typedef struct plain {
    c4_transport_memory at[MANY];
    size_t count;
} plain;

static bool plain_holds(const plain *list, uintptr_t from, size_t bytes, uint64_t id)
{
    for (size_t i = 0; i < list->count; i++) {
        uintptr_t base = (uintptr_t)list->at[i].base;
        if ((id == 0 || list->at[i].id == id) && from >= base && from + bytes <= base + list->at[i].bytes)
            return true;
    }
    return false;
}

static void check_against(const plain *list)
{
    c4_transport_memory found;
    uintptr_t from = 1000 + c4test_rand_below(1000);
    size_t bytes = c4test_rand_below(60);
    bool holds = c4_declared_find(address(from), bytes, &found);
    CU_ASSERT_EQUAL(holds, plain_holds(list, from, bytes, 0));
    if (holds)
        CU_ASSERT_TRUE(plain_holds(list, from, bytes, found.id));
}

static void add_one(plain *list)
{
    c4_transport_memory *at = &list->at[list->count];
    *at = (c4_transport_memory){.base = address(1000 + c4test_rand_below(1000)), .bytes = 1 + c4test_rand_below(100)};
    C4TEST_OK(c4_declared_add(at->base, at->bytes, &at->id));
    list->count++;
}

static void remove_one(plain *list)
{
    size_t place = c4test_rand_below(list->count);
    CU_ASSERT_TRUE(c4_declared_remove(list->at[place].id));
    list->at[place] = list->at[--list->count];
}

static void forget_one(plain *list)
{
    const void *base = list->at[c4test_rand_below(list->count)].base;
    c4_declared_forget(base);
    for (size_t i = list->count; i > 0; i--)
        if (list->at[i - 1].base == base)
            list->at[i - 1] = list->at[--list->count];
}

static void test_random(void)
{
    static plain list;
    for (int round = 0; round < c4test_samples(40000); round++) {
        uint64_t dice = c4test_rand_below(16);
        if (dice < 3 && list.count < MANY)
            add_one(&list);
        else if (dice == 3 && list.count > 0)
            remove_one(&list);
        else if (dice == 4 && list.count > 0)
            forget_one(&list);
        else
            check_against(&list);
    }
}

/* ---- the public calls ---- */

static c4_comm *alone(void)
{
    c4_comm *comm = NULL;
    c4_unique_id id;
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, NULL, NULL, &comm));
    return comm;
}

static void test_calls(void)
{
    static char own[10000];
    c4_transport_memory found;
    c4_comm *comm = alone();
    void *memory = NULL, *first = NULL, *second = NULL;
    C4TEST_OK_FATAL(c4_mem_alloc(5000, &memory));
    CU_ASSERT_TRUE(c4_declared_find(memory, 5000, &found));
    CU_ASSERT_EQUAL(found.bytes, 5000);
    C4TEST_OK(c4_mem_register(comm, own, sizeof own, &first));
    C4TEST_OK(c4_mem_register(comm, memory, 100, &second));
    CU_ASSERT_TRUE(c4_declared_find(own + 10, 9990, &found));
    C4TEST_OK(c4_mem_deregister(comm, first));
    CU_ASSERT_FALSE(c4_declared_find(own, 1, &found));
    C4TEST_INT(c4_mem_deregister(comm, first), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(c4_last_error(comm), "no handle of c4_mem_register");
    C4TEST_OK(c4_mem_free(memory));
    CU_ASSERT_FALSE(c4_declared_find(memory, 1, &found));
    C4TEST_INT(c4_mem_deregister(comm, second), C4_ERR_ARGUMENT);
    C4TEST_OK(c4_mem_free(NULL));
    C4TEST_OK(c4_comm_destroy(comm));
}

/* ---- threads, fork ---- */

static atomic_bool stop;

static void *add_and_remove(void *arg)
{
    uintptr_t base = (uintptr_t)arg;
    while (!atomic_load(&stop)) {
        c4_transport_memory found;
        uint64_t id;
        if (c4_declared_add(address(base), 64, &id) < 0 || !c4_declared_find(address(base + 8), 8, &found) ||
            found.id != id || !c4_declared_remove(id))
            abort();
    }
    return NULL;
}

/* The child of a process whose threads are in the middle of it finds the list whole and its lock free. */
static void test_threads_and_forks(void)
{
    pthread_t threads[4];
    uint64_t kept;
    c4_transport_memory found;
    C4TEST_OK(c4_declared_add(address(64), 64, &kept));
    for (uintptr_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, add_and_remove, (void *)(1000 * (i + 1))), 0);
    for (int round = 0; round < c4test_samples(100); round++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            uint64_t id;
            bool whole = c4_declared_find(address(64), 64, &found) && found.id == kept &&
                         c4_declared_add(address(9000), 1, &id) == C4_OK && c4_declared_remove(id);
            _exit(whole ? 0 : 1);
        }
        waitpid(child, &status, 0);
        C4TEST_INT(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_FALSE(c4_declared_find(address(1000), 1, &found));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(edges), C4TEST(same_place), C4TEST(random), C4TEST(calls), C4TEST_DEADLINE(threads_and_forks, 60),
        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
