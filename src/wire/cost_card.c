#include "wire/cost_card.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "wire/bytes.h"

static void put_double(unsigned char *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    c4_put_u64(at, bits);
}

static double get_double(const unsigned char *at)
{
    uint64_t bits = c4_get_u64(at);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void pack_link(const c4_cost_card_link *link, unsigned char *out)
{
    put_double(out, link->latency_s);
    put_double(out + 8, link->seconds_per_byte);
    put_double(out + 16, link->reduce_seconds_per_byte);
    c4_put_u64(out + 24, link->flags);
    c4_put_u64(out + 32, link->max_readers);
    c4_put_u64(out + 40, link->max_frame_bytes);
}

static void unpack_link(const unsigned char *in, c4_cost_card_link *link)
{
    link->latency_s = get_double(in);
    link->seconds_per_byte = get_double(in + 8);
    link->reduce_seconds_per_byte = get_double(in + 16);
    link->flags = c4_get_u64(in + 24);
    link->max_readers = c4_get_u64(in + 32);
    link->max_frame_bytes = c4_get_u64(in + 40);
}

void c4_cost_card_pack(const c4_cost_card *card, unsigned char out[C4_COST_CARD_BYTES])
{
    memset(out, 0, C4_COST_CARD_BYTES);
    pack_link(&card->local, out);
    pack_link(&card->remote, out + 48);
    put_double(out + 96, card->step_s);
    put_double(out + 104, card->ranks_per_core);
    c4_put_u64(out + 112, card->cache_bytes);
}

static bool is_time(double value)
{
    return isfinite(value) && value >= 0;
}

static bool link_is_sane(const c4_cost_card_link *link)
{
    return is_time(link->latency_s) && is_time(link->seconds_per_byte) && is_time(link->reduce_seconds_per_byte) &&
           link->max_readers >= 1 && link->max_readers <= UINT32_MAX &&
           link->max_frame_bytes >= C4_COST_CARD_FRAME_MIN_BYTES;
}

c4_status c4_cost_card_unpack(const unsigned char in[C4_COST_CARD_BYTES], c4_cost_card *card)
{
    c4_cost_card made;
    unpack_link(in, &made.local);
    unpack_link(in + 48, &made.remote);
    made.step_s = get_double(in + 96);
    made.ranks_per_core = get_double(in + 104);
    made.cache_bytes = c4_get_u64(in + 112);
    if (!link_is_sane(&made.local) || !link_is_sane(&made.remote) || !is_time(made.step_s) ||
        !is_time(made.ranks_per_core) || made.ranks_per_core == 0)
        return C4_ERR_PROTOCOL;
    *card = made;
    return C4_OK;
}
