/* Checkpoints of c4train: what is saved is loaded; what is damaged, foreign or half written is refused. */
#include "tests/c4test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tools/test_c4train_text.h"
#include "tools/c4train/checkpoint.h"

enum { PARAMS = 50, STEP = 3 };

static c4_checkpoint_head make_head(void)
{
    c4_checkpoint_head head = {.version = C4_CHECKPOINT_VERSION,
                               .params = PARAMS,
                               .step = STEP,
                               .layers = 1,
                               .dim = 8,
                               .heads = 2,
                               .seq = 4,
                               .batch = 2,
                               .steps = 10,
                               .warmup = 1,
                               .seed = 7,
                               .text_hash = 9,
                               .lr = 0.5,
                               .decay = 0.1,
                               .clip = 1};
    memcpy(head.magic, C4_CHECKPOINT_MAGIC, sizeof head.magic);
    return head;
}

typedef struct state {
    float params[PARAMS];
    float moments[2 * PARAMS];
    double losses[10];
} state;

static bool same(const state *a, const state *b)
{
    bool equal = true;
    for (size_t i = 0; i < PARAMS; i++)
        equal = equal && a->params[i] == b->params[i];
    for (size_t i = 0; i < sizeof a->moments / sizeof a->moments[0]; i++)
        equal = equal && a->moments[i] == b->moments[i];
    for (size_t i = 0; i < sizeof a->losses / sizeof a->losses[0]; i++)
        equal = equal && a->losses[i] == b->losses[i];
    return equal;
}

static c4_checkpoint_arrays arrays_of(state *s)
{
    return (c4_checkpoint_arrays){s->params, s->moments, s->losses};
}

static void save_random(state *s)
{
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < PARAMS; i++)
        s->params[i] = s->moments[i] = s->moments[PARAMS + i] = (float)c4test_rand_below(1u << 30);
    for (size_t i = 0; i < STEP; i++)
        s->losses[i] = (double)c4test_rand_below(1u << 30);
    c4_checkpoint_head head = make_head();
    c4_checkpoint_arrays arrays = arrays_of(s);
    C4TEST_OK_FATAL(c4_checkpoint_save(c4test_path("ck"), &head, &arrays));
}

static c4_status load(c4_checkpoint_head want, state *s, char **text)
{
    c4_checkpoint_arrays arrays = arrays_of(s);
    uint64_t step = 0;
    c4_text_catch();
    c4_status status = c4_checkpoint_load(c4test_path("ck"), &want, &arrays, &step);
    *text = c4_text_caught();
    CU_ASSERT_EQUAL(step, status == C4_OK ? STEP : 0);
    return status;
}

static void test_checkpoint_round_trip(void)
{
    state saved, loaded = {0};
    char *text;
    save_random(&saved);
    C4TEST_OK(load(make_head(), &loaded, &text));
    CU_ASSERT(same(&saved, &loaded));
    C4TEST_STRING(text, "");
    free(text);
    CU_ASSERT_NOT_EQUAL(access(c4test_path("ck.part"), F_OK), 0);
}

/* One flipped bit anywhere, or a missing end, is noticed, and nothing is loaded. */
static void test_checkpoint_damage_is_refused(void)
{
    state saved, loaded = {0}, zero = {0};
    size_t size;
    char *said;
    save_random(&saved);
    char *text = c4_text_read(c4test_path("ck"), &size);
    for (int i = 0; i < 60; i++) {
        size_t at = i < 8 ? (size_t)i : c4test_rand_below(size);
        text[at] ^= (char)(1 << c4test_rand_below(8));
        c4_text_write(c4test_path("ck"), text, size);
        free(text);
        C4TEST_INT(load(make_head(), &loaded, &said), C4_ERR_ARGUMENT);
        CU_ASSERT(strstr(said, "damaged") || strstr(said, "not a checkpoint"));
        free(said);
        save_random(&saved);
        text = c4_text_read(c4test_path("ck"), &size);
    }
    for (size_t left = 0; left < size; left += 61) {
        CU_ASSERT_EQUAL(truncate(c4test_path("ck"), (off_t)left), 0);
        C4TEST_INT(load(make_head(), &loaded, &said), C4_ERR_ARGUMENT);
        free(said);
        c4_text_write(c4test_path("ck"), text, size);
    }
    CU_ASSERT(same(&loaded, &zero));
    free(text);
}

static void test_checkpoint_of_another_run(void)
{
    state saved, loaded = {0};
    char *text;
    save_random(&saved);
    c4_checkpoint_head want = make_head();
    want.dim = 16;
    C4TEST_INT(load(want, &loaded, &text), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(text, "was made with --dim 8, this run has 16");
    free(text);
    want = make_head();
    want.lr = 0.25;
    want.text_hash = 10;
    C4TEST_OK(load(want, &loaded, &text));
    C4TEST_CONTAINS(text, "--lr 0.5, this run has 0.25");
    C4TEST_CONTAINS(text, "another text");
    free(text);
    want = make_head();
    want.steps = STEP - 1;
    C4TEST_INT(load(want, &loaded, &text), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(text, "at step 3");
    free(text);
    c4_checkpoint_head newer = make_head();
    newer.version++;
    c4_checkpoint_arrays arrays = arrays_of(&saved);
    C4TEST_OK(c4_checkpoint_save(c4test_path("ck"), &newer, &arrays));
    C4TEST_INT(load(make_head(), &loaded, &text), C4_ERR_UNSUPPORTED);
    C4TEST_CONTAINS(text, "has version 2; this c4train reads version 1");
    free(text);
}

/* A save that fails leaves the old file as it was and no half file beside it. */
static void test_failed_save_keeps_the_old(void)
{
    state saved, loaded = {0};
    char *text;
    save_random(&saved);
    CU_ASSERT_EQUAL(mkdir(c4test_path("ck.part"), 0700), 0); /* the temporary file cannot be made */
    c4_checkpoint_head head = make_head();
    c4_checkpoint_arrays arrays = arrays_of(&loaded);
    c4_text_catch();
    c4_status status = c4_checkpoint_save(c4test_path("ck"), &head, &arrays);
    text = c4_text_caught();
    C4TEST_INT(status, C4_ERR_SYSTEM);
    C4TEST_CONTAINS(text, "cannot write checkpoint");
    free(text);
    C4TEST_OK(load(make_head(), &loaded, &text));
    CU_ASSERT(same(&saved, &loaded));
    free(text);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(checkpoint_round_trip), C4TEST(checkpoint_damage_is_refused),
                                        C4TEST(checkpoint_of_another_run), C4TEST(failed_save_keeps_the_old),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
