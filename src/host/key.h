/* The job's key as text and as a file. */
#ifndef C4_HOST_KEY_H
#define C4_HOST_KEY_H

#include <c4/c4.h>
#include <stdbool.h>

/* The handshake's; where both headers are included the compiler sees to it that they agree. */
#define C4_KEY_BYTES 32u

/* 64 hexadecimal digits; false for anything else. */
bool c4_key_parse(const char *text, unsigned char key[C4_KEY_BYTES]);
/* Refuses a file that others can read: C4_ERR_OPTION with the mend. */
c4_status c4_key_read_file(const char *path, unsigned char key[C4_KEY_BYTES]);

#endif
