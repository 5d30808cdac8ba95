#include "wire/hmac.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/fork_lock.h"
#include "base/status.h"

typedef const void *(*sha256_fn)(void);
typedef unsigned char *(*hmac_fn)(const void *md, const void *key, int key_bytes, const unsigned char *data,
                                  size_t data_bytes, unsigned char *out, unsigned int *out_bytes);

/* Filled once, under the lock; a failure is tried again (file descriptors may have run out for a moment). */
static struct {
    pthread_mutex_t lock;
    sha256_fn sha256;
    hmac_fn hmac;
} crypto = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool open_library(char *reason, size_t bytes)
{
    void *library = dlopen("libcrypto.so.3", RTLD_LAZY | RTLD_LOCAL);
    if (!library) {
        snprintf(reason, bytes, "%s", dlerror());
        return false;
    }
    /* POSIX's way to turn dlsym's object pointer into a function pointer. */
    *(void **)&crypto.sha256 = dlsym(library, "EVP_sha256");
    *(void **)&crypto.hmac = dlsym(library, "HMAC");
    if (crypto.sha256 && crypto.hmac) {
        /* It sets itself up on first use (5 ms, it reads a file): now, and not while somebody waits for a tag. */
        unsigned char out[64];
        unsigned int out_bytes = 0;
        crypto.hmac(crypto.sha256(), "", 0, out, 0, out, &out_bytes);
        return true; /* stays open until the process ends */
    }
    snprintf(reason, bytes, "libcrypto has no HMAC or EVP_sha256");
    crypto.sha256 = NULL;
    crypto.hmac = NULL;
    dlclose(library);
    return false;
}

static bool ready(char *reason, size_t bytes)
{
    c4_fork_lock(&crypto.lock);
    bool good = crypto.hmac || open_library(reason, bytes);
    pthread_mutex_unlock(&crypto.lock);
    return good;
}

bool c4_hmac_available(void)
{
    char reason[256];
    return ready(reason, sizeof reason);
}

c4_status c4_hmac_sha256(const void *key, size_t key_bytes, const struct iovec *parts, size_t nparts,
                         unsigned char out[C4_HMAC_BYTES])
{
    char reason[256] = "";
    unsigned char input[C4_HMAC_MAX_INPUT_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < nparts; i++) {
        if (parts[i].iov_len > sizeof input - used || key_bytes > INT_MAX)
            return c4_fail(C4_ERR_COUNT, "HMAC over more than %u bytes", C4_HMAC_MAX_INPUT_BYTES);
        if (parts[i].iov_len)
            memcpy(input + used, parts[i].iov_base, parts[i].iov_len);
        used += parts[i].iov_len;
    }
    if (!ready(reason, sizeof reason))
        return c4_fail(C4_ERR_UNSUPPORTED, "a job with a key needs OpenSSL's libcrypto (Debian package libssl3): %s",
                       reason);
    unsigned char tag[64];
    unsigned int tag_bytes = 0;
    if (!crypto.hmac(crypto.sha256(), key, (int)key_bytes, input, used, tag, &tag_bytes) || tag_bytes != C4_HMAC_BYTES)
        return c4_fail(C4_ERR_MEMORY, "libcrypto's HMAC, which fails only without memory");
    memcpy(out, tag, C4_HMAC_BYTES);
    return C4_OK;
}

bool c4_equal_constant_time(const void *a, const void *b, size_t bytes)
{
    const volatile unsigned char *x = a;
    const volatile unsigned char *y = b;
    unsigned char difference = 0;
    for (size_t i = 0; i < bytes; i++)
        difference |= (unsigned char)(x[i] ^ y[i]);
    return difference == 0;
}
