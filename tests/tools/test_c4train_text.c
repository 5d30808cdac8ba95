#include "tests/tools/test_c4train_text.h"

#include "tests/c4test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20 };

char *c4_text_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *text = calloc(1, MOST_BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    size_t got = fread(text, 1, MOST_BYTES - 1, file);
    fclose(file);
    if (size)
        *size = got;
    return text;
}

void c4_text_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(data, 1, size, file), size);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static int kept_stderr = -1;

void c4_text_catch(void)
{
    fflush(stderr);
    kept_stderr = dup(STDERR_FILENO);
    CU_ASSERT_PTR_NOT_NULL_FATAL(freopen(c4test_path("stderr"), "w", stderr));
}

char *c4_text_caught(void)
{
    fflush(stderr);
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    return c4_text_read(c4test_path("stderr"), NULL);
}
