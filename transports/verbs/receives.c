#include "transports/verbs/receives.h"

#include <errno.h>

#include "transports/verbs/internal.h"

/* Posts what is spare, to the queue pair or (NULL) to the rail's SRQ. 0 or errno. */
static int post(const c4_verbs_rail *rail, struct ibv_qp *qp, c4_verbs_receives *receives)
{
    enum { AT_ONCE = 16 };
    if (rail->gone)
        return ENODEV; /* they may not be registered there */
    while (receives->nspare > 0) {
        struct ibv_recv_wr requests[AT_ONCE], *bad = NULL;
        struct ibv_sge pieces[AT_ONCE];
        c4_verbs_slot *slot = receives->spare;
        unsigned count = 0;
        for (; count < AT_ONCE && slot != NULL; count++, slot = slot->next) {
            pieces[count] = (struct ibv_sge){.addr = (uintptr_t)slot->wire,
                                             .length = rail->slot_bytes,
                                             .lkey = slot->region->mrs[rail->index]->lkey};
            requests[count] = (struct ibv_recv_wr){.wr_id = (uintptr_t)slot, .sg_list = &pieces[count], .num_sge = 1};
            if (count > 0)
                requests[count - 1].next = &requests[count];
        }
        int error = qp != NULL ? ibv_post_recv(qp, requests, &bad) : ibv_post_srq_recv(rail->srq, requests, &bad);
        unsigned taken = error == 0 ? count : (unsigned)(bad - requests);
        for (unsigned i = 0; i < taken; i++) {
            slot = receives->spare;
            receives->spare = slot->next;
            if (qp == NULL)
                continue;
            slot->next = NULL;
            *(receives->first != NULL ? &receives->last->next : &receives->first) = slot;
            receives->last = slot;
        }
        receives->nspare -= taken;
        receives->posted += taken;
        if (error != 0)
            return error;
    }
    return 0;
}

int c4_verbs_receives_refill(c4_verbs_rail *rail)
{
    return post(rail, NULL, &rail->receives);
}

static void put_spare(c4_verbs_receives *receives, c4_verbs_slot *slot)
{
    slot->next = receives->spare;
    receives->spare = slot;
    receives->nspare++;
}

/* ---- promises ---- */

/* Without an SRQ: all that the link has goes back among the free. */
static void give_back_own(c4_verbs_link *link)
{
    c4_verbs_slot *lists[] = {link->receives.first, link->receives.spare};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (c4_verbs_slot *slot = lists[i], *next; slot != NULL; slot = next) {
            next = slot->next;
            c4_verbs_slot_put(&link->module->slots, slot);
        }
    link->receives = (c4_verbs_receives){.posted = 0};
}

c4_status c4_verbs_receives_promise(c4_verbs_link *link, c4_verbs_rail *rail, unsigned count)
{
    c4_verbs_slots *slots = &link->module->slots;
    c4_verbs_receives *receives = rail->srq != NULL ? &rail->receives : &link->receives;
    unsigned wanted = (rail->srq != NULL ? rail->promised : 0) + count + C4_VERBS_REFILL_AT;
    rail->slot_bytes = (uint32_t)slots->slot_bytes;
    if (wanted > rail->max_posted)
        return c4_fail(
            C4_ERR_MEMORY, "verbs: %s:%u holds %u receive buffers%s and can hold no more: lower C4_VERBS_CREDITS",
            rail->port.device, rail->port.number, rail->max_posted, rail->srq != NULL ? "" : " for each queue pair");
    while (receives->posted + receives->nspare < wanted) {
        c4_verbs_slot *slot;
        c4_status status = c4_verbs_slot_get(slots, &slot);
        if (status < 0) {
            give_back_own(link);
            return status;
        }
        put_spare(receives, slot);
    }
    int error = rail->srq != NULL ? c4_verbs_receives_refill(rail) : 0;
    if (rail->gone) {
        give_back_own(link);
        return C4_IN_PROGRESS;
    }
    if (error != 0)
        return c4_fail_errno(C4_ERR_SYSTEM, error, "verbs: receive buffers of %s:%u", rail->port.device,
                             rail->port.number);
    rail->promised += count;
    return C4_OK;
}

int c4_verbs_receives_begin(c4_verbs_link *link, c4_verbs_rail *rail, struct ibv_qp *qp)
{
    return rail->srq != NULL ? 0 : post(rail, qp, &link->receives);
}

void c4_verbs_receives_end(c4_verbs_link *link, c4_verbs_rail *rail, unsigned count)
{
    rail->promised -= count;
    give_back_own(link);
}

/* ---- coming back ---- */

/* A queue pair gives them back in the order in which it got them. Too few to be posted again are as many as it had too many. */
static void back_own(c4_verbs_rail *rail, c4_verbs_link *link, c4_verbs_slot *slot)
{
    c4_verbs_receives *own = &link->receives;
    if (own->first != slot) {
        c4_verbs_link_break(link, EPROTO);
        return;
    }
    own->first = slot->next;
    own->posted--;
    put_spare(own, slot);
    if (own->nspare >= C4_VERBS_REFILL_AT && link->broken == 0)
        (void)post(rail, link->qp, own); /* what fails here breaks the queue pair, and shows there */
}

void c4_verbs_receives_back(c4_verbs_rail *rail, c4_verbs_link *link, c4_verbs_slot *slot)
{
    if (__builtin_expect(rail->srq != NULL, 1)) {
        put_spare(&rail->receives, slot);
        rail->receives.posted--;
    } else if (link != NULL) {
        back_own(rail, link, slot);
    }
}
