/* The options that must be equal on all ranks. Their hash is in every rank's card; what differs is asked for only once it
 * does: then all ranks see that it does, because each meets at least one hash that is not its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "comm/setup.h"
#include "wire/option_card.h"

_Static_assert((C4_OPTION_CARD_BYTES + C4_EXCHANGE_BYTES - 1) / C4_EXCHANGE_BYTES + 2 <= C4_SETUP_GATHERS,
               "hosts and cards come before");

c4_status c4_setup_hash_options(c4_setup *setup)
{
    c4_comm *comm = setup->comm;
    C4_TRY(c4_setup_read_tuning(comm->options, &comm->tuning, &setup->tuning_hash));
    setup->agree_hash = c4_options_agree_hash(comm->options);
    setup->agree_hash = c4_hash_bytes(setup->agree_hash, &setup->tuning_hash, sizeof setup->tuning_hash);
    return C4_OK;
}

static void fill_card(const c4_setup *setup, c4_option_card *card)
{
    const c4_options *options = setup->comm->options;
    *card = (c4_option_card){0};
    for (size_t i = 0; i < c4_options_count(options) && card->count < C4_OPTION_CARD_ITEMS; i++) {
        c4_option_view view = c4_options_view(options, i);
        bool tuning = strcmp(view.spec->name, "C4_TUNING_FILE") == 0; /* of which the content must agree */
        if (!tuning && !(view.spec->flags & C4_OPTION_AGREE))
            continue;
        c4_option_item *item = &card->items[card->count++];
        item->hash = tuning ? setup->tuning_hash : c4_option_hash(options, i);
        snprintf(item->name, sizeof item->name, "%s", view.spec->name);
        snprintf(item->value, sizeof item->value, "\"%.36s\" (%.36s)", view.value, view.source);
    }
}

/* "C4_TLS is "1" (environment) on rank 0 and "0" (default) on rank 3 and 4 others". Returns what is appended. */
static int tell_item(const c4_option_card *cards, int nranks, const c4_option_item *item, char *text, size_t size,
                     const char *separator)
{
    const c4_option_item *other = NULL;
    char more[48] = "";
    int first = -1, differ = 0;
    for (int i = 1; i < nranks; i++) {
        const c4_option_item *theirs = c4_option_card_find(&cards[i], item->name);
        if (!theirs || theirs->hash == item->hash)
            continue;
        if (differ++ == 0) {
            first = i;
            other = theirs;
        }
    }
    if (!other)
        return 0;
    if (differ > 1)
        snprintf(more, sizeof more, " (%d more differ from rank 0)", differ - 1);
    const char *content = strcmp(item->name, "C4_TUNING_FILE") == 0 ? ", which must have the same content," : "";
    return snprintf(text, size, "%s%s%s is %s on rank 0 and %s on rank %d%s", separator, item->name, content,
                    item->value, other->value, first, more);
}

static c4_status tell_differences(const c4_option_card *cards, int nranks)
{
    char text[C4_ERROR_TEXT_BYTES] = "";
    size_t used = 0;
    for (unsigned i = 0; i < cards[0].count && used < sizeof text; i++)
        used += (size_t)tell_item(cards, nranks, &cards[0].items[i], text + used, sizeof text - used, used ? "; " : "");
    /* Room for the status and its advice, which come behind. */
    return c4_fail(C4_ERR_OPTION, "options that must be equal on all ranks are not: %.400s; set them alike",
                   used ? text : "which, the cards do not say: compare `c4info options` on all hosts");
}

/* In parts, since exchanges are bounded. */
static c4_status gather_cards(const c4_setup *setup, const unsigned char *own, unsigned char *wire)
{
    const c4_exchange *exchange = setup->exchange;
    size_t n = (size_t)setup->comm->nranks;
    unsigned char *parts = calloc(n, C4_EXCHANGE_BYTES);
    if (!parts)
        return c4_fail(C4_ERR_MEMORY, "set-up of %zu ranks", n);
    c4_status status = C4_OK;
    for (size_t done = 0; status == C4_OK && done < C4_OPTION_CARD_BYTES; done += C4_EXCHANGE_BYTES) {
        size_t left = C4_OPTION_CARD_BYTES - done, bytes = left < C4_EXCHANGE_BYTES ? left : C4_EXCHANGE_BYTES;
        status = exchange->all_gather(exchange->context, own + done, bytes, parts);
        for (size_t i = 0; status == C4_OK && i < n; i++)
            memcpy(wire + i * C4_OPTION_CARD_BYTES + done, parts + i * bytes, bytes);
    }
    free(parts);
    return status;
}

static c4_status exchange_options(const c4_setup *setup, unsigned char *wire, c4_option_card *cards)
{
    int n = setup->comm->nranks;
    unsigned char own[C4_OPTION_CARD_BYTES];
    fill_card(setup, &cards[0]);
    c4_option_card_pack(&cards[0], own);
    C4_TRY(gather_cards(setup, own, wire));
    for (int i = 0; i < n; i++)
        if (c4_option_card_unpack(wire + (size_t)i * C4_OPTION_CARD_BYTES, &cards[i]) < 0)
            return c4_fail(C4_ERR_PROTOCOL, "set-up: the options that rank %d tells are malformed", i);
    return tell_differences(cards, n);
}

c4_status c4_setup_tell_options(const c4_setup *setup)
{
    size_t n = (size_t)setup->comm->nranks;
    unsigned char *wire = calloc(n, C4_OPTION_CARD_BYTES);
    c4_option_card *cards = calloc(n, sizeof *cards);
    c4_status status =
        wire && cards ? exchange_options(setup, wire, cards) : c4_fail(C4_ERR_MEMORY, "set-up of %zu ranks", n);
    free(wire);
    free(cards);
    return status;
}
