/* Stands in for libFuzzer where there is none: `make check` runs each fuzz target on its corpus and on random
 * mutations of it, so that the targets work under gcc, sanitizers and valgrind too.
 *
 * Corpus: the files of tests/fuzz/corpus/<target>/, where <target> is the program's name. */
#include "tests/c4test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT_BYTES = 4096, MAX_SEEDS = 64, RUNS = 20000 };

typedef struct input {
    size_t bytes;
    uint8_t data[MAX_INPUT_BYTES];
} input;

static input seeds[MAX_SEEDS];
static size_t nseeds;
static const char *target;

/* An exact heap copy, so that a read past the end is seen by sanitizers. */
static void run_one(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, data, bytes);
    C4TEST_INT(LLVMFuzzerTestOneInput(copy, bytes), 0);
    free(copy);
}

static void load_corpus(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", c4test_source_root(), target);
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry && nseeds < MAX_SEEDS; entry = readdir(dir)) {
        char name[1400];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(name, "rb");
        if (!file)
            continue;
        seeds[nseeds].bytes = fread(seeds[nseeds].data, 1, MAX_INPUT_BYTES, file);
        nseeds++;
        fclose(file);
    }
    closedir(dir);
}

static void test_corpus(void)
{
    load_corpus();
    run_one((const uint8_t *)"", 0);
    for (size_t i = 0; i < nseeds; i++)
        run_one(seeds[i].data, seeds[i].bytes);
    CU_PASS("no crash");
}

static void mutate(input *in)
{
    for (uint64_t edits = 1 + c4test_rand_below(4); edits > 0 && in->bytes > 0; edits--) {
        size_t at = (size_t)c4test_rand_below(in->bytes);
        switch (c4test_rand_below(4)) {
        case 0:
            in->data[at] ^= (uint8_t)(1u << c4test_rand_below(8));
            break;
        case 1:
            in->data[at] = (uint8_t)c4test_rand();
            break;
        case 2:
            memset(in->data + at, c4test_rand_below(2) ? 0xff : 0, in->bytes - at < 8 ? in->bytes - at : 8);
            break;
        default:
            in->bytes = at;
        }
    }
}

static void test_random_mutations(void)
{
    static input in;
    load_corpus();
    for (int run = 0; run < RUNS; run++) {
        if (nseeds > 0 && c4test_rand_below(4) > 0) {
            in = seeds[c4test_rand_below(nseeds)];
            mutate(&in);
        } else {
            in.bytes = (size_t)c4test_rand_below(512);
            for (size_t i = 0; i < in.bytes; i++)
                in.data[i] = (uint8_t)c4test_rand();
        }
        run_one(in.data, in.bytes);
    }
    CU_PASS("no crash");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(corpus), C4TEST_DEADLINE(random_mutations, 60), C4TEST_END};
    const char *slash = strrchr(argv[0], '/');
    target = slash ? slash + 1 : argv[0];
    return c4test_main(argc, argv, cases);
}
