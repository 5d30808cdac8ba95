/* HMAC-SHA-256 (RFC 2104, FIPS 180-4) from OpenSSL's libcrypto, which is opened when the first tag is needed, so that
 * libc4 itself does not depend on it. First use: about 5 ms and 0.5 MiB; then 1 us a tag. */
#ifndef C4_WIRE_HMAC_H
#define C4_WIRE_HMAC_H

#include <c4/c4.h>
#include <stdbool.h>
#include <sys/uio.h>

#define C4_HMAC_BYTES           32u
#define C4_HMAC_MAX_INPUT_BYTES 512u

/* Can tags be made on this machine? Opens the library; logs nothing. */
bool c4_hmac_available(void);

/* out = HMAC(key, parts joined). The parts hold at most C4_HMAC_MAX_INPUT_BYTES together (C4_ERR_COUNT).
 * C4_ERR_UNSUPPORTED, naming the package, when libcrypto is missing. Any thread. */
c4_status c4_hmac_sha256(const void *key, size_t key_bytes, const struct iovec *parts, size_t nparts,
                         unsigned char out[C4_HMAC_BYTES]);

/* Compares in time that does not depend on the contents. */
bool c4_equal_constant_time(const void *a, const void *b, size_t bytes);

#endif
