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
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &u.resident_kib) == 1)
            break;
    if (file)
        fclose(file);
    u.heap_bytes = mallinfo2().uordblks;
    return u;
}
