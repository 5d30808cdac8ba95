/* From a seed to a job and what goes wrong in it. Pure. */
#include <stdio.h>
#include <string.h>

#include "tests/chaos/chaos.h"
#include "tests/collectives/pattern.h"

/* Limits: a death is named within 1 s, silence within 1 s after C4_SILENT_MS (1.5 s in these jobs); dropped frames end by the
 * deadline of operations. */
const chaos_kind_info chaos_kinds[CHAOS_NKINDS] = {
    [CHAOS_KILL] = {"kill", CHAOS_DEATH, 1000, false, false, false, false, NULL, 0},
    [CHAOS_STOP_SHORT] = {"stop-short", CHAOS_SURVIVES, 0, false, false, false, false, NULL, 0},
    [CHAOS_STOP_LONG] = {"stop-long", CHAOS_SILENCE, 2500, false, false, false, true, NULL, 0},
    [CHAOS_DATA_SOCKET] = {"data-socket", CHAOS_SURVIVES, 0, true, false, false, false, NULL, 0},
    [CHAOS_CONTROL_SOCKET] = {"control-socket", CHAOS_SURVIVES, 0, false, false, false, false, NULL, 700},
    [CHAOS_CLOSE] = {"close", CHAOS_SURVIVES, 0, true, true, false, false, "close=tcp@frame:%d#%d", 0},
    [CHAOS_TRUNCATE] = {"truncate", CHAOS_SURVIVES, 0, true, true, false, false, "truncate=tcp@frame:%d#%d", 0},
    [CHAOS_DROP] = {"drop", CHAOS_ENDS, 10000, true, true, false, false, "drop=tcp@frame:%d#%d", 0},
    [CHAOS_FAIL] = {"fail", CHAOS_ENDS, 6000, true, true, false, false, "fail=tcp@frame:%d#%d", 0},
    [CHAOS_LINK_BLINK] = {"link-blink", CHAOS_SURVIVES, 0, true, false, true, false, NULL, 0},
    [CHAOS_LINK_SLOW] = {"link-slow", CHAOS_SURVIVES, 0, true, false, true, false, NULL, 0},
    [CHAOS_LINK_DOWN] = {"link-down", CHAOS_SPLIT, 2500, true, false, true, true, NULL, 0},
    [CHAOS_PARTITION] = {"partition", CHAOS_SPLIT, 2500, true, false, true, true, NULL, 0},
};

const char *const chaos_transport_names[CHAOS_NTRANSPORTS] = {"shm", "tcp", "shm,tcp"};

/* How often each kind comes; the bread and butter of a cluster more often. */
static const int weights[CHAOS_NKINDS] = {
    [CHAOS_KILL] = 8,           [CHAOS_STOP_SHORT] = 4, [CHAOS_STOP_LONG] = 4, [CHAOS_DATA_SOCKET] = 5,
    [CHAOS_CONTROL_SOCKET] = 3, [CHAOS_CLOSE] = 3,      [CHAOS_TRUNCATE] = 3,  [CHAOS_DROP] = 1,
    [CHAOS_FAIL] = 2,           [CHAOS_LINK_BLINK] = 3, [CHAOS_LINK_SLOW] = 2, [CHAOS_LINK_DOWN] = 2,
    [CHAOS_PARTITION] = 2,
};

static int below(uint64_t *state, int limit)
{
    return (int)(pattern_random(state) % (uint64_t)limit);
}

static bool possible(chaos_kind kind, const chaos_abilities *abilities)
{
    const chaos_kind_info *info = &chaos_kinds[kind];
    bool socket = kind == CHAOS_DATA_SOCKET || kind == CHAOS_CONTROL_SOCKET;
    if (abilities->only && strcmp(abilities->only, info->name) != 0)
        return false;
    return !(info->net && !abilities->net) && !(socket && !abilities->sockets);
}

static int divisor(int a, int b)
{
    return b ? divisor(b, a % b) : a;
}

/* Seeds in a row take turns, so that few of them see every kind in its proportion: a step of about the golden section,
 * without a common divisor, goes through all shares. */
static chaos_kind pick_kind(uint64_t seed, const chaos_abilities *abilities)
{
    int total = 0;
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        total += possible((chaos_kind)kind, abilities) ? weights[kind] : 0;
    if (total == 0)
        return CHAOS_KILL;
    int step = total * 5 / 8 + 1;
    while (divisor(step, total) != 1)
        step++;
    int at = (int)(seed % (uint64_t)total * (uint64_t)step % (uint64_t)total);
    for (int kind = 0; kind < CHAOS_NKINDS; kind++) {
        if (!possible((chaos_kind)kind, abilities))
            continue;
        at -= weights[kind];
        if (at < 0)
            return (chaos_kind)kind;
    }
    return CHAOS_KILL;
}

/* Where ranks live and what joins them. */
static void pick_place(uint64_t *state, const chaos_abilities *abilities, const chaos_kind_info *info, chaos_plan *plan)
{
    plan->nranks = 2 + below(state, CHAOS_MAX_RANKS - 1);
    plan->nhosts = 1;
    plan->transport = below(state, 2) ? CHAOS_SHM : CHAOS_TCP;
    plan->backend = below(state, 4) ? "auto" : "file";
    if (info->tcp)
        plan->transport = CHAOS_TCP;
    if (abilities->name_spaces && below(state, 3) == 0) {
        plan->nhosts = 2;
        plan->transport = CHAOS_BOTH;
    }
    if (info->net) {
        plan->transport = CHAOS_BOTH;
        plan->nhosts = 2 + below(state, plan->nranks - 1);
        if (plan->nhosts > 4)
            plan->nhosts = 4;
    }
}

static void pick_fault(uint64_t *state, const chaos_plan *plan, chaos_kind kind, chaos_fault *fault)
{
    fault->kind = kind;
    fault->rank = below(state, plan->nranks);
    fault->after_ms = below(state, plan->setup ? 40 : 120);
    fault->number = chaos_kinds[kind].hook ? 1 + below(state, 200) : below(state, 64);
    if (kind == CHAOS_STOP_SHORT)
        fault->lasts_ms = 20 + below(state, 400);
    if (kind == CHAOS_STOP_LONG)
        fault->lasts_ms = 4000 + below(state, 1000);
    if (kind == CHAOS_LINK_BLINK)
        fault->lasts_ms = 50 + below(state, 500);
    if (kind == CHAOS_LINK_SLOW)
        fault->lasts_ms = 200 + below(state, 500);
}

void chaos_plan_make(uint64_t seed, const chaos_abilities *abilities, chaos_plan *plan)
{
    static const int windows[] = {1, 1, 2, 4};
    static const size_t counts[] = {64, 2000, 20000, 200000};
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    chaos_kind kind = pick_kind(seed, abilities);
    const chaos_kind_info *info = &chaos_kinds[kind];
    memset(plan, 0, sizeof *plan);
    plan->seed = seed;
    pick_place(&state, abilities, info, plan);
    plan->window = windows[below(&state, 4)];
    plan->max_count = counts[below(&state, 4)];
    plan->leave_at_once = below(&state, 2);
    plan->thread = below(&state, 4) == 0;
    plan->shrink = kind == CHAOS_KILL && below(&state, 4) > 0;
    plan->setup = (kind == CHAOS_KILL || kind == CHAOS_STOP_SHORT) && below(&state, 4) == 0;
    plan->shrink &= !plan->setup;
    plan->leave_at_once &= !plan->shrink;
    /* Several at once where that does not change what must come of it. */
    bool several =
        (info->outcome == CHAOS_SURVIVES || kind == CHAOS_KILL) && !info->net && kind != CHAOS_CONTROL_SOCKET;
    plan->nfaults = several ? 1 + below(&state, CHAOS_MAX_FAULTS) : 1;
    if (kind == CHAOS_KILL && plan->nfaults >= plan->nranks)
        plan->nfaults = plan->nranks - 1;
    for (int i = 0; i < plan->nfaults; i++)
        pick_fault(&state, plan, kind, &plan->faults[i]);
}

void chaos_plan_print(const chaos_plan *plan)
{
    fprintf(stderr, "seed %llu: %d ranks on %d hosts, %s (%s), window %d, up to %zu elements%s%s%s%s;",
            (unsigned long long)plan->seed, plan->nranks, plan->nhosts, chaos_transport_names[plan->transport],
            plan->backend, plan->window, plan->max_count, plan->thread ? ", progress thread" : "",
            plan->setup ? ", during set-up" : "", plan->leave_at_once ? ", survivors leave at once" : "",
            plan->shrink ? ", survivors shrink" : "");
    for (int i = 0; i < plan->nfaults; i++)
        fprintf(stderr, " %s of rank %d after %d ms (%d ms, number %d)", chaos_kinds[plan->faults[i].kind].name,
                plan->faults[i].rank, plan->faults[i].after_ms, plan->faults[i].lasts_ms, plan->faults[i].number);
    fprintf(stderr, "\n");
}
