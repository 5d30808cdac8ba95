/* What verbs reads from the wire: messages of a queue pair, words of a greeting, cards in addresses. Byte 0 chooses the layout.
 * What unpacks must keep the limits that the transport relies on, and mean the same when it is packed again. */
#include <stdlib.h>
#include <string.h>

#include "transports/verbs/wire.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Of any length, as it is received. */
static void fuzz_message(const uint8_t *data, size_t size)
{
    c4_verbs_message message;
    unsigned char again[C4_VERBS_HEADER_BYTES];
    if (!c4_verbs_message_unpack(data, size, &message))
        return;
    require(message.kind >= C4_VERBS_FRAME && message.kind <= C4_VERBS_ACK && message.tag < C4_FRAME_TAG_LIMIT);
    require(size == C4_VERBS_HEADER_BYTES + (message.kind == C4_VERBS_FRAME ? message.frame.bytes : 0));
    c4_verbs_message_pack(&message, again);
    again[1] = data[1]; /* means nothing */
    require(memcmp(again, data, sizeof again) == 0);
}

/* Exactly `bytes`, of which the input fills the beginning. */
static void take(unsigned char *to, size_t bytes, const uint8_t *data, size_t size)
{
    memset(to, 0, bytes);
    if (size)
        memcpy(to, data, size < bytes ? size : bytes);
}

static void fuzz_words(const uint8_t *data, size_t size)
{
    c4_verbs_words words, back;
    unsigned char in[C4_VERBS_WORDS_BYTES], once[C4_VERBS_WORDS_BYTES], again[C4_VERBS_WORDS_BYTES];
    char text[C4_VERBS_GID_TEXT];
    take(in, sizeof in, data, size);
    if (!c4_verbs_words_unpack(in, &words))
        return;
    require(words.rail < C4_VERBS_MAX_RAILS && words.qpn < 1u << 24 && words.psn < 1u << 24);
    require(words.window >= C4_VERBS_LEAST_WINDOW && c4_verbs_mtu_bytes(c4_verbs_mtu_code(words.mtu)) <= words.mtu);
    require(strlen(c4_verbs_gid_text(&words.gid, text)) < sizeof text);
    c4_verbs_words_pack(&words, once);
    require(c4_verbs_words_unpack(once, &back));
    c4_verbs_words_pack(&back, again);
    require(memcmp(once, again, sizeof once) == 0);
}

static void fuzz_card(const uint8_t *data, size_t size)
{
    c4_verbs_card card, back;
    unsigned char in[C4_VERBS_EXTRA_BYTES], once[C4_VERBS_EXTRA_BYTES], again[C4_VERBS_EXTRA_BYTES];
    take(in, sizeof in, data, size);
    if (!c4_verbs_card_unpack(in, &card))
        return;
    require(card.nrails >= 1 && card.nrails <= C4_VERBS_MAX_RAILS);
    for (unsigned i = 0; i < card.nrails; i++)
        require(card.rails[i].gid_kind <= C4_VERBS_GID_ROCE_V2);
    require(c4_verbs_card_mismatch(&card, &card) == NULL);
    c4_verbs_card_pack(&card, once);
    require(c4_verbs_card_unpack(once, &back));
    c4_verbs_card_pack(&back, again);
    require(memcmp(once, again, sizeof once) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const layouts[])(const uint8_t *, size_t) = {fuzz_message, fuzz_words, fuzz_card};
    if (size)
        layouts[data[0] % (sizeof layouts / sizeof layouts[0])](data + 1, size - 1);
    return 0;
}
