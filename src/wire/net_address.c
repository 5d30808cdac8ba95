#include "wire/net_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "wire/bytes.h"

static size_t address_bytes(const c4_net_address *address)
{
    return address->family == 4 ? 4 : 16;
}

void c4_net_address_pack(const c4_net_address *address, unsigned char out[C4_NET_ADDRESS_BYTES])
{
    out[0] = address->family;
    out[1] = 0;
    c4_put_u16(out + 2, address->port);
    memcpy(out + 4, address->bytes, 16);
}

c4_status c4_net_address_unpack(const unsigned char in[C4_NET_ADDRESS_BYTES], c4_net_address *address)
{
    static const unsigned char zeros[16];
    c4_net_address made = {.family = in[0], .port = c4_get_u16(in + 2)};
    if ((made.family != 4 && made.family != 6) || in[1] != 0)
        return C4_ERR_PROTOCOL;
    memcpy(made.bytes, in + 4, 16);
    size_t used = address_bytes(&made);
    if (memcmp(made.bytes + used, zeros, 16 - used) != 0)
        return C4_ERR_PROTOCOL;
    *address = made;
    return C4_OK;
}

const char *c4_net_address_format(const c4_net_address *address, char text[C4_NET_ADDRESS_TEXT_BYTES])
{
    char number[INET6_ADDRSTRLEN] = "?";
    inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, number, sizeof number);
    snprintf(text, C4_NET_ADDRESS_TEXT_BYTES, address->family == 4 ? "%s:%u" : "[%s]:%u", number, address->port);
    return text;
}

bool c4_net_address_parse(const char *text, c4_net_address *address)
{
    char number[C4_NET_ADDRESS_TEXT_BYTES];
    c4_net_address made = {.family = text[0] == '[' ? 6 : 4};
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof number)
        return false;
    size_t length = (size_t)(colon - text);
    if (made.family == 6) {
        if (length < 3 || text[length - 1] != ']')
            return false;
        text++;
        length -= 2;
    }
    memcpy(number, text, length);
    number[length] = '\0';
    int64_t port = 0;
    if (!c4_parse_int(colon + 1, &port) || port < 0 || port > UINT16_MAX)
        return false;
    made.port = (uint16_t)port;
    if (inet_pton(made.family == 4 ? AF_INET : AF_INET6, number, made.bytes) != 1)
        return false;
    *address = made;
    return true;
}

bool c4_net_address_from_sockaddr(const struct sockaddr *from, c4_net_address *address)
{
    c4_net_address made = {.family = 0};
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        made.family = 4;
        made.port = ntohs(in->sin_port);
        memcpy(made.bytes, &in->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        made.family = 6;
        made.port = ntohs(in->sin6_port);
        memcpy(made.bytes, &in->sin6_addr, 16);
    } else {
        return false;
    }
    *address = made;
    return true;
}

socklen_t c4_net_address_to_sockaddr(const c4_net_address *address, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof *to);
    if (address->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)to;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->bytes, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)to;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(address->port);
    memcpy(&in->sin6_addr, address->bytes, 16);
    return sizeof *in;
}

bool c4_net_address_is_loopback(const c4_net_address *address)
{
    static const unsigned char one[16] = {[15] = 1};
    return address->family == 4 ? address->bytes[0] == 127 : memcmp(address->bytes, one, 16) == 0;
}
