/* The cache of programs: what is kept, what goes first, what is never in it. */
#include "tests/engine/world.h"

static c4_program *get(world *w, const c4_call *call)
{
    c4_program *program = NULL;
    C4TEST_OK_FATAL(c4_program_get(w->engines[0], call, &program));
    return program;
}

/* The program for `count` elements, used once. Its serial tells whether it was built anew. */
static uint64_t use(world *w, size_t count)
{
    c4_call call = world_all_reduce(NULL, NULL, count, C4_INT32, C4_SUM);
    c4_program *program = get(w, &call);
    uint64_t serial = program->serial;
    c4_program_release(w->engines[0], program);
    return serial;
}

static unsigned cached(const world *w)
{
    return w->engines[0]->programs.count;
}

static void open_one(world *w)
{
    world_open(w, &(world_spec){.nranks = 2, .nengines = 1, .algorithm = "direct"});
}

static void test_least_recently_used(void)
{
    world w;
    uint64_t serials[C4_PROGRAM_LIMIT + 2];
    open_one(&w);
    for (size_t count = 1; count <= C4_PROGRAM_LIMIT; count++)
        serials[count] = use(&w, count);
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    for (size_t count = 1; count <= C4_PROGRAM_LIMIT; count++)
        CU_ASSERT(use(&w, count) == serials[count]);
    CU_ASSERT(use(&w, 1) == serials[1]); /* now 2 is the oldest */
    serials[C4_PROGRAM_LIMIT + 1] = use(&w, C4_PROGRAM_LIMIT + 1);
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    CU_ASSERT(use(&w, 1) == serials[1]);
    CU_ASSERT(use(&w, 3) == serials[3]);
    CU_ASSERT(use(&w, C4_PROGRAM_LIMIT + 1) == serials[C4_PROGRAM_LIMIT + 1]);
    CU_ASSERT(use(&w, 2) > serials[C4_PROGRAM_LIMIT + 1]); /* built anew */
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    world_close(&w);
}

/* The collective that repeats is found without a search, and that counts as a use as well. */
static void test_hot_collective(void)
{
    world w;
    float value = 0;
    open_one(&w);
    uint64_t hot = use(&w, 1), cold = use(&w, 2);
    CU_ASSERT(use(&w, 1) == hot);
    for (size_t count = 1; count <= 2 * C4_PROGRAM_LIMIT; count++) { /* messages leave the last collective what it is */
        c4_call call = count % 2 ? world_send(&value, count, 1) : world_recv(&value, count, 1);
        c4_program *program = get(&w, &call);
        CU_ASSERT(program->cached);
        c4_program_release(w.engines[0], program);
        CU_ASSERT_FATAL(w.engines[0]->programs.last && w.engines[0]->programs.last->serial == hot);
        C4TEST_INT_FATAL(use(&w, 1), hot);
    }
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    CU_ASSERT(use(&w, 2) > cold); /* went long ago */
    world_close(&w);
}

static void test_in_use(void)
{
    static c4_program *held[C4_PROGRAM_LIMIT + 1];
    world w;
    open_one(&w);
    c4_call call = world_all_reduce(NULL, NULL, 1, C4_INT32, C4_SUM);
    c4_program *first = get(&w, &call);
    uint64_t serial = first->serial;
    for (size_t count = 2; count <= 2 * C4_PROGRAM_LIMIT; count++)
        use(&w, count);
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    CU_ASSERT_FATAL(get(&w, &call) == first && first->serial == serial);
    C4TEST_INT(first->running, 2);
    c4_program_release(w.engines[0], first);
    c4_program_release(w.engines[0], first);
    for (size_t i = 0; i <= C4_PROGRAM_LIMIT; i++) { /* more in use than may be kept */
        call.count = 1000 + i;
        held[i] = get(&w, &call);
    }
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT + 1);
    for (size_t i = 0; i <= C4_PROGRAM_LIMIT; i++) {
        C4TEST_INT(held[i]->running, 1);
        CU_ASSERT(held[i]->key.count == 1000 + i);
        c4_program_release(w.engines[0], held[i]);
    }
    use(&w, 1);
    C4TEST_INT(cached(&w), C4_PROGRAM_LIMIT);
    world_close(&w);
}

/* Built for one call and gone with it. */
static void test_v_calls(void)
{
    static const size_t counts[2] = {3, 4}, displs[2] = {0, 3};
    world w;
    open_one(&w);
    c4_call call = {.kind = C4_KIND_ALL_GATHER_V,
                    .dtype = C4_INT32,
                    .op = C4_SUM,
                    .count = 3,
                    .recv_counts = counts,
                    .recv_displs = displs,
                    .send_bytes = 12,
                    .recv_bytes = 28};
    c4_program *one = get(&w, &call);
    uint64_t serial = one->serial;
    CU_ASSERT_FALSE(one->cached);
    c4_program *two = get(&w, &call);
    CU_ASSERT(two != one && two->serial > serial);
    C4TEST_INT(cached(&w), 0);
    c4_program_release(w.engines[0], one);
    c4_program_release(w.engines[0], two);
    CU_ASSERT_PTR_NULL(w.engines[0]->programs.last);
    world_close(&w);
}

/* What decides a schedule is told apart; what does not is not. */
static void test_keys(void)
{
    world w;
    int32_t a[4], b[4];
    open_one(&w);
    c4_call base = world_all_reduce(a, b, 4, C4_INT32, C4_SUM);
    c4_program *program = get(&w, &base);
    c4_call other[4] = {base, base, base, base};
    other[0].count = 5;
    other[1].dtype = C4_FLOAT32;
    other[2].in_place = true;
    other[3].kind = C4_KIND_REDUCE;
    for (int i = 0; i < 4; i++) {
        c4_program *p = get(&w, &other[i]);
        CU_ASSERT(p != program);
        c4_program_release(w.engines[0], p);
    }
    c4_call rooted = other[3];
    rooted.root = 1;
    c4_program *root0 = get(&w, &other[3]), *root1 = get(&w, &rooted);
    CU_ASSERT(root0 != root1);
    c4_program_release(w.engines[0], root0);
    c4_program_release(w.engines[0], root1);
    c4_call moved = base; /* other buffers */
    moved.send = b;
    moved.recv = a;
    CU_ASSERT(get(&w, &moved) == program);
    c4_program_release(w.engines[0], program);
    c4_program_release(w.engines[0], program);
    world_close(&w);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(least_recently_used), C4TEST(hot_collective), C4TEST(in_use), C4TEST(v_calls), C4TEST(keys), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
