#include "tests/chaos/usage.h"

#include <malloc.h>
#include <stdio.h>

#include "tests/c4test.h"

chaos_usage chaos_usage_measure(void)
{
    chaos_usage u = {.files = c4test_count_entries("/proc/self/fd"),
                     .threads = c4test_count_entries("/proc/self/task")};
    char line[512];
    malloc_trim(0);
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(line, sizeof line, file))
        u.maps++;
    if (file)
        fclose(file);
    file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "RssAnon: %ld", &u.private_kib);
        sscanf(line, "RssShmem: %ld", &u.shared_kib);
    }
    if (file)
        fclose(file);
    struct mallinfo2 heap = mallinfo2();
    u.heap_bytes = heap.uordblks + heap.hblkhd; /* the second: blocks that are mappings of their own */
    return u;
}

bool chaos_usage_has_grown(const chaos_usage *first, const chaos_usage *now, const chaos_usage *may, char *text,
                           size_t bytes)
{
    snprintf(text, bytes,
             "%d files (before: %d), %d threads (%d), %d mappings (%d), %zu bytes in use (%zu), %ld KiB private (%ld), "
             "%ld KiB shared (%ld)",
             now->files, first->files, now->threads, first->threads, now->maps, first->maps, now->heap_bytes,
             first->heap_bytes, now->private_kib, first->private_kib, now->shared_kib, first->shared_kib);
    return now->files > first->files + may->files || now->threads > first->threads + may->threads ||
           now->maps > first->maps + may->maps || now->heap_bytes > first->heap_bytes + may->heap_bytes ||
           now->private_kib > first->private_kib + may->private_kib ||
           now->shared_kib > first->shared_kib + may->shared_kib;
}
