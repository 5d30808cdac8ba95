#include "wire/option_card.h"

#include <string.h>

#include "wire/bytes.h"

#define HEADER_BYTES 8u
#define ITEM_BYTES   120u

_Static_assert(sizeof(uint64_t) + sizeof(((c4_option_item *)0)->name) + sizeof(((c4_option_item *)0)->value) ==
                   ITEM_BYTES,
               "layout");

void c4_option_card_pack(const c4_option_card *card, unsigned char out[C4_OPTION_CARD_BYTES])
{
    memset(out, 0, C4_OPTION_CARD_BYTES);
    out[0] = (unsigned char)card->count;
    for (unsigned i = 0; i < card->count; i++) {
        const c4_option_item *item = &card->items[i];
        unsigned char *at = out + HEADER_BYTES + (size_t)i * ITEM_BYTES;
        c4_put_u64(at, item->hash);
        memcpy(at + 8, item->name, strnlen(item->name, sizeof item->name - 1));
        memcpy(at + 8 + sizeof item->name, item->value, strnlen(item->value, sizeof item->value - 1));
    }
}

static bool is_name(const char *name, size_t bytes)
{
    size_t length = strnlen(name, bytes);
    return length > 0 && length < bytes && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == length;
}

c4_status c4_option_card_unpack(const unsigned char in[C4_OPTION_CARD_BYTES], c4_option_card *card)
{
    *card = (c4_option_card){.count = in[0]};
    if (card->count > C4_OPTION_CARD_ITEMS)
        return C4_ERR_PROTOCOL;
    for (unsigned i = 0; i < card->count; i++) {
        c4_option_item *item = &card->items[i];
        const unsigned char *at = in + HEADER_BYTES + (size_t)i * ITEM_BYTES;
        item->hash = c4_get_u64(at);
        memcpy(item->name, at + 8, sizeof item->name);
        memcpy(item->value, at + 8 + sizeof item->name, sizeof item->value);
        if (!is_name(item->name, sizeof item->name) || !memchr(item->value, '\0', sizeof item->value))
            return C4_ERR_PROTOCOL;
        for (char *c = item->value; *c; c++)
            *c = *c < ' ' || *c > '~' ? '?' : *c;
    }
    return C4_OK;
}

const c4_option_item *c4_option_card_find(const c4_option_card *card, const char *name)
{
    for (unsigned i = 0; i < card->count; i++)
        if (strcmp(card->items[i].name, name) == 0)
            return &card->items[i];
    return NULL;
}
