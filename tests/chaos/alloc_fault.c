#include "tests/chaos/alloc_fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_WAYS = 8192, STACK = 24 };

#define SHOWN __attribute__((visibility("default")))

/* glibc's own names of what is replaced here */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static atomic_long live, calls, fail_at;
static atomic_bool armed;
static void *stack[STACK];
static int depth;
static uint64_t ways[MAX_WAYS]; /* hash of the callers of each, while fail_at is 0 */

void alloc_fault_arm(long number)
{
    static bool warm;
    void *frames[2];
    if (!warm)
        warm = backtrace(frames, 2) >= 0; /* it allocates when first called */
    atomic_store(&calls, 0);
    atomic_store(&fail_at, number);
    atomic_store(&armed, true);
}

long alloc_fault_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&calls);
}

long alloc_fault_live(void)
{
    return atomic_load(&live);
}

bool alloc_fault_was_for(const char *name)
{
    Dl_info info;
    for (int i = 0; i < depth; i++)
        if (dladdr(stack[i], &info) && info.dli_fname && strstr(info.dli_fname, name))
            return true;
    return false;
}

void alloc_fault_show(void)
{
    backtrace_symbols_fd(stack, depth, STDERR_FILENO);
}

static void note_way(long number)
{
    void *frames[STACK];
    int n = backtrace(frames, STACK);
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < n; i++)
        hash = (hash ^ (uint64_t)(uintptr_t)frames[i]) * 1099511628211u;
    if (number < MAX_WAYS)
        ways[number] = hash;
}

bool alloc_fault_is_new(long number)
{
    for (long i = 1; i < number && i < MAX_WAYS; i++)
        if (number < MAX_WAYS && ways[i] == ways[number])
            return false;
    return true;
}

static bool refuse(void)
{
    static _Thread_local bool inside; /* backtrace may allocate */
    if (inside || !atomic_load_explicit(&armed, memory_order_relaxed))
        return false;
    long number = atomic_fetch_add(&calls, 1) + 1, wanted = atomic_load(&fail_at);
    inside = true;
    if (wanted == 0)
        note_way(number);
    else if (number == wanted)
        depth = backtrace(stack, STACK);
    inside = false;
    if (number != wanted)
        return false;
    errno = ENOMEM;
    return true;
}

static void *counted(void *memory)
{
    if (memory)
        atomic_fetch_add(&live, 1);
    return memory;
}

SHOWN void *malloc(size_t bytes)
{
    return refuse() ? NULL : counted(__libc_malloc(bytes));
}

SHOWN void *calloc(size_t count, size_t bytes)
{
    return refuse() ? NULL : counted(__libc_calloc(count, bytes));
}

SHOWN void *realloc(void *old, size_t bytes)
{
    if (refuse())
        return NULL;
    void *memory = __libc_realloc(old, bytes);
    return old ? memory : counted(memory);
}

SHOWN void *aligned_alloc(size_t alignment, size_t bytes)
{
    return refuse() ? NULL : counted(__libc_memalign(alignment, bytes));
}

SHOWN int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    void *made = refuse() ? NULL : counted(__libc_memalign(alignment, bytes));
    if (!made)
        return ENOMEM;
    *memory = made;
    return 0;
}

SHOWN void free(void *memory)
{
    if (memory)
        atomic_fetch_sub(&live, 1);
    __libc_free(memory);
}

SHOWN void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (refuse())
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}
