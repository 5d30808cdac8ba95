#include "tests/sim/memory.h"

#include <stdio.h>
#include <stdlib.h>

static unsigned countdown;
static bool failed;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static bool fails(void)
{
    if (countdown == 0 || --countdown)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __real_realloc(old, bytes);
}

void sim_memory_fail(unsigned nth)
{
    countdown = nth;
    failed = false;
}

bool sim_memory_failed(void)
{
    return failed;
}

void *sim_memory_get(void *old, size_t bytes)
{
    void *memory = __real_realloc(old, bytes);
    if (!memory) {
        fprintf(stderr, "simulation: out of memory\n");
        abort();
    }
    return memory;
}
