/* The program c4train, alone and under c4run: that it learns, that the number of ranks changes nothing but rounding,
 * that a resumed run is the same run, and what it says when something is wrong. */
#include "tests/c4test.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/test_c4train_text.h"

#define TINY "--quiet --layers 2 --dim 32 --heads 2 --seq 32 --batch 8 --bucket-bytes 16K"

/* ---- helpers ---- */

/* Runs a shell command in the case's directory and returns its exit status; stdout and stderr go to files there. */
static int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int shell(const char *format, ...)
{
    char command[4096], line[8192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    snprintf(line, sizeof line, "cd '%s' && { %s ; } >out 2>err </dev/null", c4test_dir(), command);
    int status = system(line);
    CU_ASSERT_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *text_of(const char *name)
{
    return c4_text_read(c4test_path(name), NULL);
}

static void assert_said(const char *name, const char *part)
{
    char *text = text_of(name);
    C4TEST_CONTAINS(text, part);
    free(text);
}

static const char *tool(const char *name)
{
    static char paths[2][4096];
    char *path = paths[strcmp(name, "c4run") == 0];
    snprintf(path, sizeof paths[0], "%s/tools/%s/%s", c4test_build_root(), name, name);
    if (access(path, X_OK) != 0)
        C4TEST_SKIP("%s is not built", path);
    return path;
}

/* Text with something to learn: random words of a small vocabulary, so that letters and words follow patterns. */
static void write_text(size_t bytes)
{
    static const char *const words[] = {"the", "sea", "river", "and", "of", "stone", "light", "was", "upon", "a"};
    FILE *file = fopen(c4test_path("text"), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (size_t written = 0; written < bytes;)
        written += (size_t)fprintf(file, "%s ", words[c4test_rand_below(sizeof words / sizeof *words)]);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

/* Trains on `nranks` ranks (0: without a launcher) and asserts success. */
static void train(int nranks, const char *arguments)
{
    const char *program = tool("c4train");
    int status;
    if (nranks == 0)
        status = shell("'%s' --data text " TINY " %s", program, arguments);
    else
        status = shell("'%s' -n %d '%s' --data text " TINY " %s", tool("c4run"), nranks, program, arguments);
    if (status != 0) {
        char *text = text_of("err");
        fprintf(stderr, "c4train %s on %d ranks: exit %d\n%s", arguments, nranks, status, text);
        free(text);
    }
    C4TEST_INT_FATAL(status, 0);
}

static cJSON *json_of(const char *name)
{
    char *text = text_of(name);
    cJSON *root = cJSON_Parse(text);
    free(text);
    CU_ASSERT_PTR_NOT_NULL_FATAL(root);
    return root;
}

static double number(const cJSON *root, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);
    if (!cJSON_IsNumber(item)) {
        fprintf(stderr, "no number %s in the summary\n", name);
        CU_FAIL_FATAL("missing number");
    }
    return item->valuedouble;
}

static double loss_at(const cJSON *root, int step)
{
    const cJSON *item = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "losses"), step);
    CU_ASSERT_FATAL(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* Largest relative difference between two curves of `steps` losses. */
static double distance(const cJSON *a, const cJSON *b, int steps)
{
    double largest = 0;
    C4TEST_INT(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(a, "losses")), steps);
    C4TEST_INT(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(b, "losses")), steps);
    for (int i = 0; i < steps; i++)
        largest = fmax(largest, fabs(loss_at(a, i) - loss_at(b, i)) / loss_at(a, i));
    return largest;
}

static void assert_same_run(const char *one, const char *other, int steps)
{
    cJSON *a = json_of(one), *b = json_of(other);
    CU_ASSERT_EQUAL(distance(a, b, steps), 0);
    C4TEST_STRING(cJSON_GetStringValue(cJSON_GetObjectItem(a, "weights_fnv1a")),
                  cJSON_GetStringValue(cJSON_GetObjectItem(b, "weights_fnv1a")));
    cJSON_Delete(a);
    cJSON_Delete(b);
}

/* ---- learning and its records ---- */

static void test_learns_and_reports(void)
{
    write_text(40000);
    train(0, "--steps 40 --lr 0.01 --eval-every 10 --sample 50 --prompt 'the ' --json j --svg s");
    cJSON *root = json_of("j");
    CU_ASSERT_DOUBLE_EQUAL(number(root, "loss_first"), log(256), 0.2);
    CU_ASSERT(number(root, "loss_last") < 2.5);
    CU_ASSERT_EQUAL(number(root, "loss_first"), loss_at(root, 0));
    CU_ASSERT_EQUAL(number(root, "loss_last"), loss_at(root, 39));
    CU_ASSERT_DOUBLE_EQUAL(number(root, "eval_last"), number(root, "loss_last"), 0.3);
    CU_ASSERT(number(root, "tokens_per_s") > 0);
    CU_ASSERT(number(root, "comm_share") >= 0 && number(root, "comm_share") < 1);
    CU_ASSERT(number(root, "seconds") > 0);
    C4TEST_INT((int)number(root, "nranks"), 1);
    C4TEST_INT((int)number(root, "steps"), 40);
    C4TEST_INT((int)number(root, "seed"), 1);
    C4TEST_INT((int)number(root, "schema_version"), 1);
    /* embedding, head, final norm; per layer 2 norms, 4 dim^2, 3 x 96 x dim */
    C4TEST_INT((int)number(root, "params"), 2 * 256 * 32 + 32 + 2 * (2 * 32 + 4 * 32 * 32 + 3 * 96 * 32));
    cJSON_Delete(root);
    assert_said("s", "training loss");
    assert_said("s", "</svg>");
    char *sample = text_of("out"), *said = text_of("err");
    C4TEST_INT((int)strlen(sample), 4 + 50 + 1);
    CU_ASSERT_EQUAL(strncmp(sample, "the ", 4), 0);
    C4TEST_STRING(said, "");
    free(sample);
    free(said);
}

static void test_same_seed_same_run(void)
{
    write_text(20000);
    train(0, "--steps 8 --json a");
    train(0, "--steps 8 --json b --bucket-bytes 4096");
    train(0, "--steps 8 --json c --seed 2");
    assert_same_run("a", "b", 8);
    cJSON *a = json_of("a"), *c = json_of("c");
    CU_ASSERT(distance(a, c, 8) > 1e-6);
    cJSON_Delete(a);
    cJSON_Delete(c);
}

/* ---- ranks ---- */

/* The batch is the same, so only the order of summation differs: within rounding, here 1e-3 with room to spare. */
static void test_ranks_follow_one(void)
{
    static const int counts[] = {1, 2, 3, 4};
    write_text(40000);
    train(0, "--steps 30 --json one");
    cJSON *one = json_of("one");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        train(counts[i], "--steps 30 --json many");
        cJSON *many = json_of("many");
        C4TEST_INT((int)number(many, "nranks"), counts[i]);
        double apart = distance(one, many, 30);
        fprintf(stderr, "%d ranks: losses within %.1e of one rank's\n", counts[i], apart);
        CU_ASSERT(apart < 1e-3);
        /* AdamW hides a wrong scale of the gradients; their norm does not. */
        CU_ASSERT_DOUBLE_EQUAL(number(many, "grad_norm_last"), number(one, "grad_norm_last"), 1e-3);
        cJSON_Delete(many);
    }
    cJSON_Delete(one);
}

/* Ranks without a sequence of their own contribute zeros. */
static void test_more_ranks_than_sequences(void)
{
    write_text(20000);
    train(0, "--steps 6 --batch 2 --eval-every 3 --json one");
    train(3, "--steps 6 --batch 2 --eval-every 3 --json many --sample 10");
    cJSON *one = json_of("one"), *many = json_of("many");
    CU_ASSERT(distance(one, many, 6) < 1e-3);
    CU_ASSERT_DOUBLE_EQUAL(number(one, "eval_last"), number(many, "eval_last"), 1e-3);
    cJSON_Delete(one);
    cJSON_Delete(many);
}

static void test_overlap_changes_nothing(void)
{
    write_text(20000);
    train(2, "--steps 10 --json a");
    train(2, "--steps 10 --json b --no-overlap");
    assert_same_run("a", "b", 10);
}

/* ---- checkpoints ---- */

static void check_resume(int nranks)
{
    write_text(20000);
    train(nranks, "--steps 16 --json whole");
    train(nranks, "--steps 16 --stop-at 7 --checkpoint ck --json part");
    train(nranks, "--steps 16 --checkpoint ck --resume --json rest");
    assert_same_run("whole", "rest", 16);
    cJSON *part = json_of("part"), *rest = json_of("rest");
    C4TEST_INT((int)number(part, "steps"), 7);
    C4TEST_INT((int)number(rest, "steps_this_run"), 9);
    cJSON_Delete(part);
    cJSON_Delete(rest);
}

static void test_resume_is_the_same_run(void)
{
    check_resume(0);
}

static void test_resume_is_the_same_run_on_two_ranks(void)
{
    check_resume(2);
}

/* Killed without warning while it writes a checkpoint after every step, it resumes from the last whole one. */
static void test_resume_after_a_kill(void)
{
    const char *program = tool("c4train");
    write_text(20000);
    train(0, "--steps 400 --batch 2 --json whole");
    int status = shell("'%s' --data text " TINY " --steps 400 --batch 2 --checkpoint ck --checkpoint-every 1 & pid=$!; "
                       "while [ ! -e ck ] && kill -0 $pid; do :; done; kill -9 $pid; wait $pid; [ $? = 137 ]",
                       program);
    C4TEST_INT_FATAL(status, 0);
    train(0, "--steps 400 --batch 2 --checkpoint ck --resume --json rest");
    assert_same_run("whole", "rest", 400);
}

/* All ranks end with the error of rank 0, which alone reads the file. */
static void check_damaged(const char *launcher)
{
    C4TEST_INT(shell("%s '%s' --data text " TINY " --steps 4 --checkpoint ck --resume", launcher, tool("c4train")), 1);
    assert_said("err", "checkpoint ck is damaged or incomplete");
}

static void test_damaged_checkpoint(void)
{
    char launcher[4200];
    write_text(20000);
    train(0, "--steps 4 --stop-at 2 --checkpoint ck");
    C4TEST_INT(shell("printf X | dd of=ck bs=1 seek=1000 conv=notrunc status=none"), 0);
    check_damaged("");
    snprintf(launcher, sizeof launcher, "'%s' -n 2", tool("c4run"));
    check_damaged(launcher);
}

/* ---- synthetic compute ---- */

static void test_synthetic_compute(void)
{
    const char *program = tool("c4train");
    C4TEST_INT_FATAL(shell("'%s' --steps 10 --step-ms 5 --layers 1 --dim 64 --json j --svg s", program), 0);
    cJSON *root = json_of("j");
    CU_ASSERT(cJSON_IsNull(cJSON_GetObjectItem(root, "loss_first")));
    CU_ASSERT(cJSON_IsNull(cJSON_GetObjectItem(root, "tokens_per_s")));
    C4TEST_INT(cJSON_GetArraySize(cJSON_GetObjectItem(root, "steps_ms")), 10);
    CU_ASSERT(number(root, "step_ms_mean") >= 5);
    cJSON_Delete(root);
    assert_said("s", "step time");
    assert_said("err", "synthetic compute of 5 ms a step");
}

/* Every sum of every step is checked by the program itself. */
static void test_synthetic_compute_on_ranks(void)
{
    const char *program = tool("c4train"), *launcher = tool("c4run");
    for (int nranks = 2; nranks <= 3; nranks++) {
        int status = shell("'%s' -n %d '%s' --quiet --steps 10 --step-ms 4 --bucket-bytes 100K --json j", launcher,
                           nranks, program);
        C4TEST_INT_FATAL(status, 0);
        cJSON *root = json_of("j");
        C4TEST_INT((int)number(root, "nranks"), nranks);
        CU_ASSERT(number(root, "comm_share") > 0);
        cJSON_Delete(root);
    }
}

/* ---- what goes wrong ---- */

static void test_wrong_command_lines(void)
{
    const char *program = tool("c4train");
    C4TEST_INT(shell("'%s' --batch none", program), 2);
    assert_said("err", "--batch 'none': expected a whole number from 1 to 1000000");
    C4TEST_INT(shell("'%s' --help", program), 0);
    assert_said("out", "--bucket-bytes BYTES");
    C4TEST_INT(shell("'%s' --version", program), 0);
    assert_said("out", "c4train 0.");
}

static void test_files_that_cannot_be_used(void)
{
    const char *program = tool("c4train");
    write_text(1000);
    C4TEST_INT(shell("'%s' --data missing", program), 1);
    assert_said("err", "cannot open missing: No such file or directory");
    C4TEST_INT(shell("'%s' --data . ", program), 1);
    assert_said("err", "is not a regular file");
    C4TEST_INT(shell("'%s' --data text --seq 500", program), 1);
    assert_said("err", "--seq 500 needs at least");
    C4TEST_INT(shell("'%s' --data text --seq 8 --json nowhere/j", program), 1);
    assert_said("err", "cannot write nowhere/j: no writable directory nowhere/");
    C4TEST_INT(shell("'%s' --data text --seq 8 --checkpoint ck --resume", program), 1);
    assert_said("err", "cannot open checkpoint ck: No such file");
    C4TEST_INT(shell("'%s' --data text --seq 8 --layers 1000 --dim 65536 --heads 1", program), 1);
    assert_said("err", "out of memory: the model and 16 sequences of 8 need");
}

static void test_loss_that_explodes(void)
{
    write_text(20000);
    C4TEST_INT(shell("'%s' --data text " TINY " --lr 100 --clip 1e30 --steps 300 --warmup 1 --seq 16", tool("c4train")),
               1);
    assert_said("err", "is not finite; lower --lr");
}

/* The default text: a clear word when its program is missing; made once, kept, and whole. */
static void test_default_text(void)
{
    const char *program = tool("c4train");
    const char *tiny = "--quiet --steps 1 --layers 1 --dim 8 --heads 1 --seq 8 --batch 1";
    C4TEST_INT(shell("XDG_CACHE_HOME=$PWD/cache PATH=/nonexistent '%s' %s", program, tiny), 1);
    assert_said("err", "apt-get install bible-kjv");
    C4TEST_INT(shell("test -z \"$(ls cache/c4)\""), 0); /* no half file either */
    C4TEST_INT(shell("mkdir bin && printf '#!/bin/sh\\necho run >>runs\\nyes In the beginning | head -c 1500000\\n' "
                     ">bin/bible && chmod +x bin/bible"),
               0);
    C4TEST_INT(shell("XDG_CACHE_HOME=$PWD/cache PATH=$PWD/bin:$PATH '%s' %s", program, tiny), 0);
    C4TEST_INT(shell("XDG_CACHE_HOME=$PWD/cache PATH=/nonexistent '%s' %s", program, tiny), 0);
    C4TEST_INT(shell("test $(wc -l <runs) = 1 && test $(wc -c <cache/c4/bible-kjv.txt) = 1500000"), 0);
    C4TEST_INT(shell("printf '#!/bin/sh\\necho broken\\n' >bin/bible"), 0);
    C4TEST_INT(shell("unset XDG_CACHE_HOME; HOME=$PWD/home PATH=$PWD/bin:$PATH '%s' %s", program, tiny), 1);
    assert_said("err", "'bible' printed 7 bytes");
    C4TEST_INT(shell("unset XDG_CACHE_HOME HOME; '%s' %s", program, tiny), 1);
    assert_said("err", "set HOME or XDG_CACHE_HOME, or give --data FILE");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(learns_and_reports, 60),
                                        C4TEST_DEADLINE(same_seed_same_run, 60),
                                        C4TEST_DEADLINE(ranks_follow_one, 120),
                                        C4TEST_DEADLINE(more_ranks_than_sequences, 60),
                                        C4TEST_DEADLINE(overlap_changes_nothing, 60),
                                        C4TEST_DEADLINE(resume_is_the_same_run, 60),
                                        C4TEST_DEADLINE(resume_is_the_same_run_on_two_ranks, 60),
                                        C4TEST_DEADLINE(resume_after_a_kill, 120),
                                        C4TEST_DEADLINE(damaged_checkpoint, 60),
                                        C4TEST_DEADLINE(synthetic_compute, 60),
                                        C4TEST_DEADLINE(synthetic_compute_on_ranks, 60),
                                        C4TEST(wrong_command_lines),
                                        C4TEST_DEADLINE(files_that_cannot_be_used, 60),
                                        C4TEST_DEADLINE(loss_that_explodes, 60),
                                        C4TEST_DEADLINE(default_text, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
