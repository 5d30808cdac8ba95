#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/status.h"

c4_status c4_random_bytes(void *out, size_t bytes)
{
    unsigned char *p = out;
    while (bytes) {
        ssize_t got = getrandom(p, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return c4_fail_errno(C4_ERR_SYSTEM, errno, "getrandom");
        p += got;
        bytes -= (size_t)got;
    }
    return C4_OK;
}
