#include "host/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

int c4_resolve(const char *host, struct sockaddr_storage *addresses, size_t limit, size_t *count)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    *count = 0;
    if (strcasecmp(host, "localhost") == 0) {
        struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        memset(&addresses[0], 0, sizeof addresses[0]);
        memcpy(&addresses[0], &loopback, sizeof loopback);
        *count = 1;
        return 0;
    }
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error)
        return error;
    for (const struct addrinfo *one = found; one && *count < limit; one = one->ai_next) {
        if (one->ai_family != AF_INET && one->ai_family != AF_INET6)
            continue;
        memset(&addresses[*count], 0, sizeof addresses[*count]);
        memcpy(&addresses[(*count)++], one->ai_addr, one->ai_addrlen);
    }
    freeaddrinfo(found);
    return *count ? 0 : EAI_NONAME;
}
