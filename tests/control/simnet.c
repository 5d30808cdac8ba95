#include "tests/control/simnet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All members share this list. */
static const int identity[SIM_MAX_RANKS] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                            32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                            48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

struct sim_event {
    uint64_t when_ns, order;
    sim_what what;
    int rank, other;
    c4_control_header header;
    unsigned char *payload;
};

enum { COMM = 7 };

/* ---- the heap ---- */

static bool is_before(const sim_event *a, const sim_event *b)
{
    return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->order < b->order;
}

static void push(simnet *net, sim_event event)
{
    event.order = net->order++;
    if (net->nevents == net->capacity) {
        net->capacity = net->capacity ? 2 * net->capacity : 1024;
        net->events = realloc(net->events, net->capacity * sizeof *net->events);
        if (!net->events)
            abort();
    }
    size_t at = net->nevents++;
    for (; at && is_before(&event, &net->events[(at - 1) / 2]); at = (at - 1) / 2)
        net->events[at] = net->events[(at - 1) / 2];
    net->events[at] = event;
}

static sim_event pop(simnet *net)
{
    sim_event first = net->events[0];
    sim_event last = net->events[--net->nevents];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= net->nevents)
            break;
        if (child + 1 < net->nevents && is_before(&net->events[child + 1], &net->events[child]))
            child++;
        if (!is_before(&net->events[child], &last))
            break;
        net->events[at] = net->events[child];
        at = child;
    }
    net->events[at] = last;
    return first;
}

void simnet_plan(simnet *net, uint64_t when_ns, sim_what what, int rank, int other)
{
    push(net, (sim_event){.when_ns = when_ns, .what = what, .rank = rank, .other = other});
}

/* ---- what the cores ask for ---- */

/* In order on each link, delayed by up to max_delay_ns. */
static uint64_t arrival(simnet *net, int from, int to)
{
    uint64_t when_ns = net->now_ns + SIM_MS / 10 + c4_rng_below(&net->rng, net->max_delay_ns);
    if (when_ns <= net->busy_until_ns[from][to])
        when_ns = net->busy_until_ns[from][to] + 1;
    net->busy_until_ns[from][to] = when_ns;
    return when_ns;
}

static void sim_send(void *shell, int neighbour, const c4_control_header *header, const void *payload)
{
    sim_rank *self = shell;
    simnet *net = self->net;
    net->sent++;
    net->heartbeats += header->kind == C4_CONTROL_HEARTBEAT;
    if (!net->linked[self->rank][neighbour] || net->quiet[self->rank][neighbour])
        return;
    sim_event event = {.what = SIM_DELIVER, .rank = neighbour, .other = self->rank, .header = *header};
    event.payload = malloc(header->bytes + 1u);
    if (!event.payload)
        abort();
    if (header->bytes)
        memcpy(event.payload, payload, header->bytes);
    event.when_ns = arrival(net, self->rank, neighbour);
    push(net, event);
}

static void sim_close(void *shell, int neighbour)
{
    sim_rank *self = shell;
    if (!self->net->linked[self->rank][neighbour])
        return;
    self->net->linked[self->rank][neighbour] = false;
    if (!self->net->quiet[self->rank][neighbour])
        simnet_plan(self->net, arrival(self->net, self->rank, neighbour), SIM_LINK_END, neighbour, self->rank);
}

static void sim_describe(void *shell, int rank, bool silent, char *text, size_t bytes)
{
    (void)shell, (void)rank;
    snprintf(text, bytes, "%s", silent ? "" : "it ended");
}

static void sim_name(void *shell, int rank, char *text, size_t bytes)
{
    (void)shell;
    snprintf(text, bytes, "rank %d", rank);
}

static void sim_say(void *shell, bool error, const char *text)
{
    sim_rank *self = shell;
    int rank = -1;
    (void)error;
    if (self->net->verbose)
        printf("%9.3f s rank %d: %s\n", (double)self->net->now_ns / 1e9, self->rank, text);
    if (sscanf(text, "rank %d", &rank) != 1 || rank < 0 || rank >= self->net->nranks)
        return;
    if (strstr(text, "is silent")) {
        self->news[rank].named++;
        self->news[rank].named_ns = self->net->now_ns;
    }
    self->news[rank].backs += strstr(text, "is back") != NULL;
}

static void sim_died(void *shell, int rank, const c4_control_fault *fault)
{
    sim_rank *self = shell;
    self->news[rank].deaths++;
    self->news[rank].status = fault->status;
    self->news[rank].death_ns = self->net->now_ns;
}

static void sim_left(void *shell, uint32_t comm, int rank)
{
    sim_rank *self = shell;
    self->news[rank].leaves += comm == 0;
}

static void sim_reported(void *shell, uint32_t comm, int rank, const c4_control_fault *fault)
{
    sim_rank *self = shell;
    (void)rank;
    self->reports += comm == COMM && fault->status == C4_ERR_MEMORY;
}

static c4_control_answer sim_question(void *shell, uint32_t comm, int asker, uint64_t sequence,
                                      const unsigned char *card, unsigned char *reply)
{
    sim_rank *self = shell;
    if (comm != COMM || sequence != (uint64_t)asker)
        return C4_ANSWER_UNKNOWN;
    memcpy(reply, card, C4_CONTROL_CARD_BYTES);
    reply[0] = (unsigned char)self->rank;
    return C4_ANSWER_SAME;
}

static void sim_answered(void *shell, uint32_t comm, int rank, uint64_t sequence, c4_control_answer answer,
                         const unsigned char *reply)
{
    sim_rank *self = shell;
    (void)comm, (void)sequence;
    self->answers += rank == self->asked;
    self->answer = answer;
    self->answered_ns = self->net->now_ns;
    memcpy(self->reply, reply, sizeof self->reply);
}

static void sim_decided(void *shell, c4_core_agree *agree)
{
    sim_rank *self = shell;
    const c4_core_proposal *decision = c4_core_agree_decision(agree);
    if (!decision)
        return;
    if (self->agreements++)
        return;
    self->decision = *decision;
    memcpy(self->decision_dead, decision->dead, ((size_t)self->net->nranks + 7) / 8);
}

static const c4_core_ops ops = {.send = sim_send,
                                .close = sim_close,
                                .describe = sim_describe,
                                .name = sim_name,
                                .say = sim_say,
                                .died = sim_died,
                                .left = sim_left,
                                .reported = sim_reported,
                                .question = sim_question,
                                .answered = sim_answered,
                                .decided = sim_decided};

/* ---- the world ---- */

bool simnet_has_edge(const simnet *net, int a, int b)
{
    if (net->graph == SIM_STAR)
        return a != b && (a == 0 || b == 0);
    int distance = (b - a + net->nranks) % net->nranks;
    int other = net->nranks - distance;
    return a != b && ((distance & (distance - 1)) == 0 || (other & (other - 1)) == 0);
}

bool simnet_same_host(const simnet *net, int a, int b)
{
    return a / net->ranks_per_host == b / net->ranks_per_host;
}

void simnet_open(simnet *net, sim_graph graph, int nranks, int ranks_per_host, uint64_t seed)
{
    memset(net, 0, sizeof *net);
    net->nranks = nranks;
    net->ranks_per_host = ranks_per_host;
    net->graph = graph;
    net->rng.state = seed;
    net->now_ns = SIM_S;
    net->max_delay_ns = (1 + c4_rng_below(&net->rng, 30)) * SIM_MS;
    for (int rank = 0; rank < nranks; rank++) {
        sim_rank *self = &net->ranks[rank];
        self->net = net;
        self->rank = rank;
        self->asked = -1;
        c4_core_spec spec = {.rank = rank,
                             .nranks = nranks,
                             .heartbeat_ns = 5 * SIM_S,
                             .silent_ns = 30 * SIM_S,
                             .ops = &ops,
                             .shell = self};
        if (c4_core_create(&spec, net->now_ns, &self->core) < 0)
            abort();
        for (int other = 0; other < nranks; other++) {
            net->linked[rank][other] = simnet_has_edge(net, rank, other);
            if (net->linked[rank][other])
                c4_core_link_up(self->core, other, net->now_ns);
        }
    }
}

static void discard(sim_rank *self)
{
    if (!self->core)
        return;
    c4_core_agree_destroy(self->core, self->agree);
    c4_core_destroy(self->core);
    self->core = NULL;
    self->agree = NULL;
}

void simnet_close(simnet *net)
{
    for (int rank = 0; rank < net->nranks; rank++)
        discard(&net->ranks[rank]);
    while (net->nevents)
        free(net->events[--net->nevents].payload);
    free(net->events);
}

/* Its links close behind what was sent on them; those on its host hear that the process has ended. What is still on its
 * way from one that is killed is lost on every other link: it may not have come to sending it. */
static void end_process(simnet *net, int rank)
{
    for (int other = 0; other < net->nranks; other++) {
        if (net->ranks[rank].killed && c4_rng_below(&net->rng, 2))
            net->lost_before[rank][other] = net->order;
        if (net->linked[rank][other])
            sim_close(&net->ranks[rank], other);
        if (other == rank || !simnet_same_host(net, rank, other))
            continue;
        uint64_t when_ns = net->now_ns + c4_rng_below(&net->rng, 5 * SIM_MS);
        if (when_ns <= net->busy_until_ns[rank][other]) /* on one host, what was sent is there before the end is seen */
            when_ns = net->busy_until_ns[rank][other] + 1;
        simnet_plan(net, when_ns, SIM_PROCESS_END, other, rank);
    }
    discard(&net->ranks[rank]);
}

static void begin_agreement(simnet *net, sim_rank *self)
{
    unsigned char blob = (unsigned char)self->rank;
    if (!self->agree && c4_core_agree_create(self->core, COMM, identity, net->nranks, &self->agree) < 0)
        abort();
    self->value = ~(1ull << (self->rank % 64));
    c4_control_proposal proposal = {.tag = 1,
                                    .value = self->value,
                                    .minimum = 1000 - (uint64_t)self->rank,
                                    .blob = &blob,
                                    .blob_bytes = 1,
                                    .timeout_ms = 1};
    c4_core_agree_begin(self->core, self->agree, &proposal, net->now_ns);
}

static void act(simnet *net, sim_rank *self, const sim_event *event)
{
    static const c4_control_fault fault = {C4_ERR_MEMORY, "no memory"};
    unsigned char card[C4_CONTROL_CARD_BYTES] = {0, 42};
    int other = event->other;
    switch (event->what) {
    case SIM_DELIVER:
        if (net->linked[self->rank][other] && event->order >= net->lost_before[other][self->rank] &&
            c4_core_message(self->core, other, &event->header, event->payload, net->now_ns) < 0)
            abort();
        break;
    case SIM_LINK_END:
    case SIM_LINK_BREAK:
        if (net->linked[self->rank][other] && event->order >= net->lost_before[other][self->rank]) {
            net->linked[self->rank][other] = false;
            c4_core_link_down(self->core, other, event->what == SIM_LINK_END ? C4_LOSS_END : C4_LOSS_BREAK,
                              simnet_same_host(net, self->rank, other), net->now_ns);
        }
        break;
    case SIM_UNANSWERED:
        c4_core_link_unanswered(self->core, other, net->now_ns);
        break;
    case SIM_PROCESS_END:
        c4_core_process_ended(self->core, other, net->ranks[other].killed ? C4_END_KILLED : C4_END_CLEAN, net->now_ns);
        break;
    case SIM_AGREE:
        begin_agreement(net, self);
        break;
    case SIM_ASK:
        self->asked = other;
        self->asked_ns = net->now_ns;
        if (c4_core_ask(self->core, COMM, other, (uint64_t)self->rank, card, net->now_ns) < 0)
            abort();
        break;
    case SIM_REPORT:
        c4_core_report(self->core, COMM, &fault);
        break;
    default:
        abort();
    }
}

/* A new connection; what was under way on the old one is lost. One end may not have noticed the loss. */
static void mend(simnet *net, int a, int b)
{
    sim_rank *ends[2] = {&net->ranks[a], &net->ranks[b]};
    if (!ends[0]->core || !ends[1]->core)
        return;
    if (ends[0]->stopped || ends[1]->stopped ||
        (!c4_core_wants_link(ends[0]->core, b) && !c4_core_wants_link(ends[1]->core, a))) {
        if (net->now_ns < 100 * SIM_S)
            simnet_plan(net, net->now_ns + 200 * SIM_MS, SIM_MEND, a, b);
        return;
    }
    net->quiet[a][b] = net->quiet[b][a] = false;
    for (int i = 0; i < 2; i++) {
        int other = i ? a : b;
        net->lost_before[other][ends[i]->rank] = net->order;
        if (net->linked[ends[i]->rank][other])
            c4_core_link_down(ends[i]->core, other, C4_LOSS_BREAK, simnet_same_host(net, a, b), net->now_ns);
    }
    net->linked[a][b] = net->linked[b][a] = true;
    for (int i = 0; i < 2; i++) {
        c4_core_link_up(ends[i]->core, i ? a : b, net->now_ns);
        ends[i]->tick_ns = net->now_ns;
    }
}

static void handle(simnet *net, sim_event *event)
{
    sim_rank *self = &net->ranks[event->rank];
    switch (event->what) {
    case SIM_KILL:
        self->killed = true;
        self->killed_ns = net->now_ns;
        end_process(net, event->rank);
        return;
    case SIM_LEAVE:
        self->left = true;
        self->left_ns = net->now_ns;
        c4_core_leave(self->core, 0, net->now_ns);
        end_process(net, event->rank);
        return;
    case SIM_STOP:
        self->stopped = true;
        self->stop_ns = net->now_ns;
        self->continue_ns = net->now_ns + (uint64_t)event->other * SIM_MS;
        simnet_plan(net, self->continue_ns, SIM_CONTINUE, event->rank, 0);
        return;
    case SIM_CONTINUE:
        self->stopped = false;
        return;
    case SIM_QUIET:
        net->quiet[event->rank][event->other] = net->quiet[event->other][event->rank] = true;
        return;
    case SIM_CUT: {
        int other = event->other;
        simnet_plan(net, arrival(net, other, event->rank), SIM_LINK_BREAK, event->rank, other);
        simnet_plan(net, arrival(net, event->rank, other), SIM_LINK_BREAK, other, event->rank);
        return;
    }
    case SIM_MEND:
        mend(net, event->rank, event->other);
        return;
    default:
        act(net, self, event);
        self->tick_ns = net->now_ns;
    }
}

/* Events for a stopped rank wait until it goes on. */
static void step(simnet *net)
{
    sim_event event = pop(net);
    sim_rank *self = &net->ranks[event.rank];
    net->now_ns = event.when_ns;
    bool of_world = event.what == SIM_CONTINUE || event.what == SIM_QUIET || event.what == SIM_CUT ||
                    event.what == SIM_KILL || event.what == SIM_MEND;
    if (!self->core && event.what != SIM_QUIET && event.what != SIM_MEND) {
        free(event.payload);
        return;
    }
    if (self->stopped && !of_world) {
        event.when_ns = self->continue_ns;
        push(net, event); /* behind those that wait already */
        return;
    }
    handle(net, &event);
    free(event.payload);
}

void simnet_run(simnet *net, uint64_t until_ns)
{
    for (;;) {
        uint64_t next_ns = net->nevents ? net->events[0].when_ns : UINT64_MAX;
        sim_rank *first = NULL;
        for (int rank = 0; rank < net->nranks; rank++) {
            sim_rank *self = &net->ranks[rank];
            if (self->core && !self->stopped && self->tick_ns < next_ns) {
                next_ns = self->tick_ns;
                first = self;
            }
        }
        if (next_ns > until_ns)
            break;
        if (first) {
            net->now_ns = next_ns > net->now_ns ? next_ns : net->now_ns;
            first->tick_ns = c4_core_tick(first->core, net->now_ns);
        } else {
            step(net);
        }
    }
    net->now_ns = until_ns;
}
