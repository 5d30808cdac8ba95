/* Writes JSON text into memory of its own, up to a limit. Commas are its business; nesting is the caller's. After a failure
 * (memory, limit) nothing more is written, so that only the end needs to be checked. */
#ifndef C4_BASE_JSON_H
#define C4_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct c4_json {
    char *text; /* with its end; NULL: nothing yet */
    size_t bytes, capacity, limit;
    bool comma;  /* the next value needs one before it */
    bool failed; /* out of memory, or more than `limit` bytes */
} c4_json;

void c4_json_init(c4_json *json, size_t limit);
void c4_json_fini(c4_json *json);

/* `name`: of the member; NULL inside an array and for the whole. `kind`: '{' or '['. */
void c4_json_open(c4_json *json, const char *name, char kind);
void c4_json_close(c4_json *json, char kind); /* the kind that was opened */

/* Bytes that are no UTF-8 become '?'. NULL is written as null. */
void c4_json_string(c4_json *json, const char *name, const char *text);
/* At most 1023 bytes. */
void c4_json_format(c4_json *json, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void c4_json_int(c4_json *json, const char *name, int64_t value);
void c4_json_uint(c4_json *json, const char *name, uint64_t value);
void c4_json_real(c4_json *json, const char *name, double value); /* three decimals; null when not finite */
void c4_json_bool(c4_json *json, const char *name, bool value);
void c4_json_null(c4_json *json, const char *name);

#endif
