/* Set-up: transports are opened, addresses exchanged, and for every pair of ranks the first transport of C4_TRANSPORTS
 * by which *both* reach the other is taken. Five all-gathers, whatever the number of ranks. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "comm/internal.h"
#include "comm/lend.h"
#include "comm/port.h"
#include "comm/setup.h"
#include "rendezvous/process.h"
#include "rendezvous/rank_list.h"
#include "transports/builtin.h"
#include "wire/rank_card.h"

/* ---- what the library lends to transports ---- */

static void lend(c4_comm *comm)
{
    c4_transport_host *host = &comm->host;
    *host = c4_lend(comm->options);
    host->key = comm->has_key ? comm->key : NULL;
    host->job_id = comm->job_id;
    host->rank = comm->rank;
    host->nranks = comm->nranks;
    host->epoch = comm->epoch;
    host->local_rank = comm->roster.local_rank;
    host->local_nranks = comm->roster.local_nranks;
    host->port = c4_comm_port_lend(comm);
}

/* ---- phase 1: who shares a kernel with whom, and the epoch, which ranks that join do not know yet ---- */

typedef struct host_card {
    uint64_t host;
    uint64_t epoch;
} host_card;

static c4_status find_hosts(c4_setup *setup)
{
    c4_comm *comm = setup->comm;
    const c4_exchange *exchange = setup->exchange;
    c4_process self;
    c4_process_self(&self);
    host_card own = {c4_hash_bytes(C4_HASH_INIT, self.boot_id, sizeof self.boot_id), comm->epoch};
    host_card *cards = calloc((size_t)comm->nranks, sizeof *cards);
    if (!cards)
        return c4_fail(C4_ERR_MEMORY, "set-up of %d ranks", comm->nranks);
    c4_status status = exchange->all_gather(exchange->context, &own, sizeof own, cards);
    comm->roster.local_rank = comm->roster.local_nranks = 0;
    for (int i = 0; status == C4_OK && i < comm->nranks; i++) {
        bool same = cards[i].host == own.host;
        setup->here[i] = same;
        comm->roster.local_nranks += same;
        comm->roster.local_rank += same && i < comm->rank;
        if (cards[i].epoch > comm->epoch)
            comm->epoch = (uint16_t)cards[i].epoch;
    }
    free(cards);
    return status;
}

/* ---- phase 3: addresses ---- */

static c4_status fill_card(c4_setup *setup, unsigned char blob[C4_RANK_CARD_BYTES])
{
    c4_rank_card card = {.options_hash = setup->agree_hash, .version = C4_VERSION_MAJOR << 16 | C4_VERSION_MINOR << 8};
    for (int i = 0; i < setup->nrails; i++) {
        const c4_rail *rail = &setup->rails[i];
        int index = c4_transport_index(rail->ops->name);
        size_t bytes = C4_ADDRESS_MAX_BYTES;
        C4_TRY(rail->ops->address(rail->module, card.transports[index].address, &bytes));
        card.transports[index].bytes = (uint16_t)bytes;
    }
    return c4_rank_card_pack(&card, blob);
}

static c4_status check_version(int peer, const c4_rank_card *card)
{
    if (card->version != (C4_VERSION_MAJOR << 16 | C4_VERSION_MINOR << 8))
        return c4_fail(C4_ERR_PROTOCOL, "rank %d runs C4 %u.%u, this rank %d.%d", peer, card->version >> 16,
                       card->version >> 8 & 255, C4_VERSION_MAJOR, C4_VERSION_MINOR);
    return C4_OK;
}

/* Bit i: builtin transport i of this rank reaches the peer. By builtin index, because ranks may differ in rails. */
static uint8_t reach_peer(c4_setup *setup, int peer, const c4_rank_card *card, char *reasons, size_t size)
{
    uint8_t mask = 0;
    size_t used = 0;
    for (int i = 0; i < setup->nrails; i++) {
        const c4_rail *rail = &setup->rails[i];
        int index = c4_transport_index(rail->ops->name);
        char reason[192] = "the peer does not have it";
        bool wanted = i > 0 || setup->use_loop || peer == setup->comm->rank;
        c4_status status = C4_ERR_UNREACHABLE;
        if (wanted && card->transports[index].bytes)
            status = rail->ops->add_peer(rail->module, peer, card->transports[index].address,
                                         card->transports[index].bytes, reason, sizeof reason);
        if (status == C4_ERR_SHM)
            c4_setup_lack_room(setup, rail->ops->name, reason);
        if (status == C4_OK)
            mask |= (uint8_t)(1u << index);
        else if (wanted && used < size)
            used +=
                (size_t)snprintf(reasons + used, size - used, "%s%s: %s", used ? "; " : "", rail->ops->name, reason);
        /* That a peer is on another host is no fault; that another transport does not reach it may be. */
        if (wanted && peer != setup->comm->rank && !(mask >> index & 1) && !(rail->caps.flags & C4_CAP_SAME_HOST) &&
            setup->fallback[0] == '\0')
            snprintf(setup->fallback, sizeof setup->fallback, "%s does not reach rank %d: %s", rail->ops->name, peer,
                     reason);
    }
    return mask;
}

/* Every rank comes to the same end here, because all read the same cards. */
static c4_status check_cards(const c4_setup *setup, const unsigned char *wire)
{
    bool equal = true;
    for (int peer = 0; peer < setup->comm->nranks; peer++) {
        c4_rank_card card;
        if (c4_rank_card_unpack(wire + (size_t)peer * C4_RANK_CARD_BYTES, &card) < 0)
            return c4_fail(C4_ERR_PROTOCOL, "set-up: the addresses that rank %d tells are malformed", peer);
        C4_TRY(check_version(peer, &card));
        equal &= card.options_hash == setup->agree_hash;
    }
    return equal ? C4_OK : c4_setup_tell_options(setup);
}

static c4_status reach_all(c4_setup *setup, const unsigned char *wire)
{
    for (int peer = 0; peer < setup->comm->nranks; peer++) {
        c4_rank_card card;
        char reasons[384] = "";
        C4_TRY(c4_rank_card_unpack(wire + (size_t)peer * C4_RANK_CARD_BYTES, &card));
        uint8_t mask = reach_peer(setup, peer, &card, reasons, sizeof reasons);
        if (peer != setup->comm->rank)
            setup->reach[peer] = mask;
        if (mask == 0)
            return c4_fail(C4_ERR_UNREACHABLE, "rank %d: no transport reaches rank %d (C4_TRANSPORTS=%.40s; %s%s)",
                           setup->comm->rank, peer, c4_option_string(setup->comm->options, "C4_TRANSPORTS"), reasons,
                           setup->left_out);
        C4_TRY(c4_setup_check_required_reach(setup, peer, reasons));
    }
    if (setup->fallback[0] != '\0')
        c4_log(C4_LOG_WARN, "another transport is used instead: %s", setup->fallback);
    return C4_OK;
}

static c4_status exchange_cards(c4_setup *setup)
{
    size_t n = (size_t)setup->comm->nranks;
    unsigned char own[C4_RANK_CARD_BYTES];
    C4_TRY(fill_card(setup, own));
    unsigned char *wire = calloc(n, C4_RANK_CARD_BYTES);
    if (!wire)
        return c4_fail(C4_ERR_MEMORY, "set-up of %zu ranks", n);
    c4_status status = setup->exchange->all_gather(setup->exchange->context, own, sizeof own, wire);
    if (status == C4_OK)
        status = check_cards(setup, wire);
    if (status == C4_OK)
        status = reach_all(setup, wire);
    free(wire);
    return status;
}

/* ---- phase 4: both directions ---- */

/* What all ranks tell of one another (`all`, a row for each), seen for one transport. */
typedef struct shortage {
    const c4_setup *setup;
    const uint8_t *all;
    uint8_t bit;
} shortage;

static bool lacks_room(const void *context, int rank)
{
    const shortage *s = context;
    return s->setup->here[rank] && s->all[(size_t)rank * (size_t)s->setup->comm->nranks + (size_t)rank] & s->bit;
}

/* The lowest of the ranks that lack room warns for this host. */
static void tell_shortage(const c4_setup *setup, const shortage *s, int lowest, const char *name)
{
    char ranks[128];
    if (lowest != setup->comm->rank)
        return;
    c4_rank_list(setup->comm->nranks, lacks_room, s, ranks, sizeof ranks);
    c4_log(C4_LOG_WARN, "transport %s is left out by the %d ranks of this host, of which %s no room for it: %s", name,
           setup->comm->roster.local_nranks, ranks, setup->no_room);
}

/* The transports that no rank of this host is to use, since one of them has no room for it. The others would be left with
 * what they have got by then, and with an operation that ends with the next thing that does not fit. */
static uint8_t find_shortages(const c4_setup *setup, const uint8_t *all)
{
    uint8_t mask = 0;
    for (int index = 0; c4_transports[index].name; index++) {
        shortage s = {setup, all, (uint8_t)(1u << index)};
        int lowest = 0;
        while (lowest < setup->comm->nranks && !lacks_room(&s, lowest))
            lowest++;
        if (lowest == setup->comm->nranks)
            continue;
        mask |= s.bit;
        tell_shortage(setup, &s, lowest, c4_transports[index].name);
    }
    return mask;
}

static c4_status choose_rails(c4_setup *setup)
{
    int n = setup->comm->nranks, self = setup->comm->rank;
    uint8_t *all = calloc((size_t)n, (size_t)n);
    if (!all)
        return c4_fail(C4_ERR_MEMORY, "set-up of %d ranks", n);
    c4_status status = setup->exchange->all_gather(setup->exchange->context, setup->reach, (size_t)n, all);
    uint8_t shortages = status == C4_OK ? find_shortages(setup, all) : 0;
    for (int peer = 0; status == C4_OK && peer < n; peer++) {
        uint8_t mutual = setup->reach[peer] & all[(size_t)peer * (size_t)n + (size_t)self];
        if (setup->here[peer])
            mutual &= (uint8_t)~shortages;
        int rail = peer == self ? 0 : setup->nrails;
        for (int i = setup->use_loop ? 0 : 1; peer != self && i < setup->nrails; i++)
            if (i < rail && mutual >> c4_transport_index(setup->rails[i].ops->name) & 1)
                rail = i;
        if (rail == setup->nrails)
            status = c4_fail(C4_ERR_UNREACHABLE, "ranks %d and %d do not reach one another by any common transport%s",
                             self, peer,
                             shortages ? "; ranks of this host have no room for shared memory: raise the size of "
                                         "/dev/shm (docker: --shm-size), or let C4_TRANSPORTS name tcp too"
                                       : "");
        else
            status = c4_setup_check_required_rail(setup, peer, rail, mutual);
        setup->rail_of[peer] = (uint8_t)rail;
    }
    free(all);
    return status;
}

/* A transport that no pair has chosen is closed again: no port, no polling. */
static void drop_unused_rails(c4_setup *setup)
{
    uint8_t renumbered[C4_ENGINE_MAX_RAILS] = {0};
    int kept = 1; /* loop stays */
    for (int i = 1; i < setup->nrails; i++) {
        bool used = false;
        for (int peer = 0; peer < setup->comm->nranks; peer++)
            used |= setup->rail_of[peer] == i;
        if (used) {
            renumbered[i] = (uint8_t)kept;
            setup->rails[kept++] = setup->rails[i];
        } else {
            setup->rails[i].ops->close(setup->rails[i].module);
        }
    }
    for (int peer = 0; peer < setup->comm->nranks; peer++)
        setup->rail_of[peer] = renumbered[setup->rail_of[peer]];
    setup->nrails = kept;
}

/* Hosts as schedules see them: ranks joined by a same-host transport. Every rank must compute the same numbers, so
 * the rails of all pairs would have to be known; a rank's host is told by the lowest rank it shares one with. */
static c4_status number_hosts(c4_setup *setup)
{
    c4_comm *comm = setup->comm;
    int n = comm->nranks, lowest = comm->rank;
    for (int i = n - 1; i >= 0; i--)
        if (i != comm->rank && (setup->rails[setup->rail_of[i]].caps.flags & C4_CAP_SAME_HOST) && i < lowest)
            lowest = i;
    int *leaders = calloc((uint32_t)n, sizeof *leaders);
    if (!leaders)
        return c4_fail(C4_ERR_MEMORY, "set-up of %d ranks", n);
    c4_status status = setup->exchange->all_gather(setup->exchange->context, &lowest, sizeof lowest, leaders);
    int hosts = 0;
    for (int i = 0; status == C4_OK && i < n; i++) {
        int leader = leaders[i];
        if (leader < 0 || leader > i)
            leader = i;
        comm->roster.host_of[i] = leader == i ? hosts++ : comm->roster.host_of[leader];
    }
    comm->roster.layout = (c4_layout){.nranks = n, .host_of = comm->roster.host_of, .nhosts = hosts};
    free(leaders);
    return status;
}

c4_status c4_setup_engine(c4_comm *comm, const c4_exchange *exchange)
{
    c4_setup setup = {.comm = comm, .exchange = exchange};
    c4_status status = C4_OK;
    setup.reach = calloc((size_t)comm->nranks, 1);
    setup.rail_of = calloc((size_t)comm->nranks, 1);
    setup.here = calloc((size_t)comm->nranks, sizeof *setup.here);
    comm->roster.host_of = calloc((size_t)comm->nranks, sizeof *comm->roster.host_of);
    if (!setup.reach || !setup.rail_of || !setup.here || !comm->roster.host_of) {
        status = c4_fail(C4_ERR_MEMORY, "set-up of %d ranks", comm->nranks);
        goto out;
    }
    C4_TRY_GOTO(c4_setup_hash_options(&setup), out);
    C4_TRY_GOTO(find_hosts(&setup), out);
    lend(comm);
    C4_TRY_GOTO(c4_setup_open_rails(&setup), out);
    C4_TRY_GOTO(exchange_cards(&setup), out);
    C4_TRY_GOTO(choose_rails(&setup), out);
    drop_unused_rails(&setup);
    C4_TRY_GOTO(number_hosts(&setup), out);
    C4_TRY_GOTO(c4_setup_start_engine(&setup), out);
out:
    for (int i = 0; status < 0 && i < setup.nrails; i++)
        setup.rails[i].ops->close(setup.rails[i].module);
    free(setup.reach);
    free(setup.rail_of);
    free(setup.here);
    return status;
}
