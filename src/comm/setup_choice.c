/* What the user says about the choice of algorithm: C4_ALGO and C4_TUNING_FILE. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "comm/setup.h"

c4_status c4_setup_forced_algorithm(const c4_options *options, int *algorithm, uint32_t *kinds)
{
    char copy[256];
    char *save = NULL;
    *algorithm = -1;
    *kinds = 0;
    snprintf(copy, sizeof copy, "%s", c4_option_string(options, "C4_ALGO"));
    for (char *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
        char *colon = strchr(word, ':');
        uint32_t mask = ~0u;
        if (colon) {
            *colon = '\0';
            mask = 0;
            for (int kind = 0; kind < C4_NKINDS; kind++)
                if (strcmp(c4_kind_name((c4_kind)kind), word) == 0)
                    mask = 1u << kind;
            if (!mask)
                return c4_fail(C4_ERR_OPTION, "C4_ALGO names the collective \"%s\"; try all_reduce, broadcast, ...",
                               word);
            word = colon + 1;
        }
        int found = c4_algorithm_find(word);
        if (found < 0)
            return c4_fail(C4_ERR_OPTION, "C4_ALGO names \"%s\"; `c4info algorithms` lists them", word);
        if (*algorithm >= 0 && found != *algorithm)
            return c4_fail(C4_ERR_OPTION, "C4_ALGO names two algorithms; use C4_TUNING_FILE for that");
        *algorithm = found;
        *kinds |= mask;
    }
    return C4_OK;
}

c4_status c4_setup_read_tuning(const c4_options *options, c4_tuning *tuning, uint64_t *hash)
{
    const char *name = c4_option_string(options, "C4_TUNING_FILE");
    if (hash)
        *hash = 0;
    if (!*name)
        return C4_OK;
    FILE *file = fopen(name, "re");
    if (!file)
        return c4_fail_errno(C4_ERR_OPTION, errno, "C4_TUNING_FILE=%s cannot be opened", name);
    enum { LIMIT = 1 << 20 };
    char *text = malloc(LIMIT + 1);
    size_t got = text ? fread(text, 1, LIMIT, file) : 0;
    bool whole = text && !ferror(file) && (got < LIMIT || fgetc(file) == EOF);
    fclose(file);
    if (!text)
        return c4_fail(C4_ERR_MEMORY, "tuning file");
    text[got] = '\0';
    if (hash)
        *hash = c4_hash_bytes(C4_HASH_INIT, text, got);
    c4_status status = whole ? c4_tuning_parse(text, name, tuning)
                             : c4_fail(C4_ERR_OPTION, "C4_TUNING_FILE %s cannot be read or is longer than 1 MiB", name);
    free(text);
    return status;
}
