#include "tests/comm/bad_days.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"

void bad_days_list(const char *path, char *text, size_t bytes)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' && strlen(text) + strlen(entries[i]->d_name) + 2 < bytes)
            strcat(strcat(text, entries[i]->d_name), " ");
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

void bad_days_get_id(const int *pipes, int rank, int nranks, c4_unique_id *id)
{
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_unique_id_create(id));
        for (int i = 1; i < nranks; i++)
            CU_ASSERT_FATAL(write(pipes[1], id, sizeof *id) == (ssize_t)sizeof *id);
    } else {
        CU_ASSERT_FATAL(read(pipes[0], id, sizeof *id) == (ssize_t)sizeof *id);
    }
}

char *bad_days_options(const char *options)
{
    static char text[4][512];
    static unsigned next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof text[0], "%s C4_RECORD_DIR=%s", options, c4test_path("records"));
    return out;
}
