/* What a rank tells the others of its options once they are known to differ, so that everybody can name which and how.
 *
 *     0  options 1   8  per option, 120 bytes: hash of its value 8, name 32, value and where it comes from 80
 *
 * Little endian, texts filled up with zeros, the rest zero. Values too long are cut: the hash is compared. */
#ifndef C4_WIRE_OPTION_CARD_H
#define C4_WIRE_OPTION_CARD_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define C4_OPTION_CARD_ITEMS 24u
#define C4_OPTION_CARD_BYTES (8u + C4_OPTION_CARD_ITEMS * 120u)

typedef struct c4_option_item {
    uint64_t hash;
    char name[32];
    char value[80]; /* for people: "1 (environment)" */
} c4_option_item;

typedef struct c4_option_card {
    unsigned count;
    c4_option_item items[C4_OPTION_CARD_ITEMS];
} c4_option_card;

void c4_option_card_pack(const c4_option_card *card, unsigned char out[C4_OPTION_CARD_BYTES]);
/* C4_ERR_PROTOCOL (not logged): too many, a text without an end, a name that no option can have. What cannot be printed in
 * a value becomes '?'. */
c4_status c4_option_card_unpack(const unsigned char in[C4_OPTION_CARD_BYTES], c4_option_card *card);
/* NULL: it has none of that name. */
const c4_option_item *c4_option_card_find(const c4_option_card *card, const char *name);

#endif
