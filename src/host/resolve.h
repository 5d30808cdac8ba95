/* Host names to addresses. */
#ifndef C4_HOST_RESOLVE_H
#define C4_HOST_RESOLVE_H

#include <stddef.h>
#include <sys/socket.h>

/* Writes up to `limit` IPv4 and IPv6 addresses, without ports, as the system prefers them. 0, or what gai_strerror explains.
 * Blocks on a look-up, but for "localhost", which is 127.0.0.1 also where nothing can be looked up (RFC 6761, section 6.3):
 * minimal containers have no /etc/hosts. */
int c4_resolve(const char *host, struct sockaddr_storage *addresses, size_t limit, size_t *count);

#endif
