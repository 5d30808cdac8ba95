/* A job that lives long: random collectives, splits, deaths, shrinking and growing, for C4_SOAK_S seconds (20). Every result is
 * verified. Two processes, the elders, live from the first minute to the last and belong to one job after another: between two
 * of them they hold nothing more than in the beginning, and while one lasts they do not grow either. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/usage.h"
#include "tests/collectives/world.h"

enum {
    ELDERS = 2, /* ranks 0 and 1, never killed */
    MOST = 6,   /* ranks */
    SEATS = 16384,
    LIVES = 6, /* jobs, one after another */
    OPERATIONS = 30,
    MAX_COUNT = 20000,
    SETUP_MS = 10000,
    AGREE_MS = 20000,
    KILL_MS = 1000, /* at most so long until the next */
    SETTLED_GROWTHS = 3
};

typedef enum seat_state { SEAT_EMPTY, SEAT_WANTED, SEAT_TAKEN, SEAT_LEFT } seat_state;

/* Of one guest: a process that joins, and leaves with the job or is killed. */
typedef struct seat {
    _Atomic int state;
    pid_t pid;
    bool killed;
    c4_unique_id id;          /* by which it joins, as this rank of so many */
    int rank, nranks, deaths; /* deaths: before it was invited */
} seat;

typedef struct soak {
    _Atomic int end_life, lives, nseats, deaths, actions, grown, shrunk, split, wrong;
    _Atomic size_t settled_kib[ELDERS], kib[ELDERS]; /* in use: of this job's first growths, and after the last one */
    int elder_pipe[2];
    seat seats[SEATS];
} soak;

typedef struct member {
    soak *s;
    chaos_work work;
    chaos_count count;
    bool elder, dismissed;
    uint64_t random;            /* rank 0's own */
    int growths, communicators; /* of this job */
    int watched;                /* growths when memory was measured last */
    chaos_usage settled;        /* after SETTLED_GROWTHS */
} member;

typedef enum action { WORK, SPLIT, GROW, END } action;

static const char *const transports[] = {"shm", "tcp", "shm,tcp"};

/* A death ends operations; nothing else does. */
static c4_status tell(const c4_comm *comm, const char *what, c4_status status)
{
    if (status != C4_OK && status != C4_ERR_PEER_DEAD)
        world_fail("%s: %s: %s", what, c4_status_name(status), c4_last_error(comm));
    return status;
}

static c4_status some_work(chaos_work *w)
{
    c4_status status = C4_OK;
    for (uint64_t i = 0; i < OPERATIONS && status == C4_OK; i++)
        status = chaos_work_step(w, i);
    status = status == C4_OK ? chaos_work_end(w) : status;
    if (status != C4_OK)
        chaos_work_drain(w);
    return status;
}

/* Rank 0 starts all on one row of operations. It is an elder; a guest finds itself there when the elders have decided against
 * a growth that the guests took for done, and sends all home. */
static c4_status take_over(member *m, c4_comm *comm)
{
    uint64_t state = m->elder ? (uint64_t)chaos_now_ns() | 1 : 0;
    chaos_work_join(&m->work, comm, 0);
    c4_status status = c4_broadcast(&state, &state, 1, C4_UINT64, 0, comm, NULL);
    m->work.state = state;
    m->dismissed = status == C4_OK && state == 0;
    return status;
}

/* What comes of it is the parent's to say: whoever cannot split is missed there by all. */
static c4_status split(member *m)
{
    c4_comm *child = NULL;
    c4_status status = c4_comm_split(m->work.comm, m->work.rank % 2, m->work.rank, NULL, NULL, &child);
    if (status == C4_OK) {
        chaos_work w = m->work;
        chaos_work_join(&w, child, m->work.state);
        status = some_work(&w);
        c4_comm_destroy(child);
        m->communicators++;
    }
    c4_status parent = c4_barrier(m->work.comm, NULL);
    if (status != C4_OK && parent == C4_OK)
        world_fail("a split fails where nobody has died: %s", c4_status_name(status));
    m->s->split += m->work.rank == 0 && parent == C4_OK;
    return tell(m->work.comm, "the barrier after a split", parent);
}

/* All others have gone home. */
static bool left_alone(member *m, c4_status status)
{
    m->dismissed |= status == C4_ERR_EXCLUDED && !m->elder;
    return m->dismissed;
}

/* After every growth, and before anybody shrinks. A death may have ended the broadcast that announces a growth on some ranks and
 * not on others: the ones want to shrink, the others try to grow. Here they meet, and all do the same. */
static bool all_well(member *m, bool well)
{
    uint64_t all = 0;
    c4_status status = c4_comm_agree(m->work.comm, well, AGREE_MS, &all, NULL, NULL);
    if (!left_alone(m, status))
        WORLD_OK(status);
    return status == C4_OK && all == 1;
}

static c4_status shrink(member *m)
{
    c4_comm *smaller = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = AGREE_MS};
    c4_status status = c4_comm_shrink(m->work.comm, NULL, 0, &config, NULL, &smaller);
    if (left_alone(m, status))
        return status;
    if (status != C4_OK) {
        world_fail("shrink: %s: %s", c4_status_name(status), c4_last_error(m->work.comm));
        return status;
    }
    c4_comm_destroy(m->work.comm);
    m->communicators++;
    m->s->shrunk += m->work.rank == 0;
    return tell(smaller, "the first broadcast after a shrink", take_over(m, smaller));
}

/* Asks the parent for processes, which join by one id. */
static c4_unique_id invite(member *m, int nranks)
{
    soak *s = m->s;
    c4_unique_id id;
    memset(&id, 0, sizeof id);
    WORLD_OK(c4_comm_grow_id(m->work.comm, &id));
    for (int rank = m->work.nranks; rank < nranks; rank++) {
        seat *guest = &s->seats[s->nseats];
        guest->id = id;
        guest->rank = rank;
        guest->nranks = nranks;
        guest->deaths = s->deaths;
        atomic_store(&guest->state, SEAT_WANTED);
        s->nseats++;
    }
    return id;
}

/* All or none go on with the larger one: who dies in the last moment may have been seen by some only. */
static c4_status grow(member *m)
{
    c4_comm *old = m->work.comm, *larger = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = SETUP_MS};
    c4_unique_id id;
    int deaths = m->s->deaths;
    if (m->work.rank == 0)
        id = invite(m, MOST);
    c4_status status = c4_comm_grow(old, m->work.rank == 0 ? &id : NULL, MOST, 0, &config, NULL, &larger);
    char text[512];
    snprintf(text, sizeof text, "%s: %s", c4_status_name(status), c4_last_error(NULL));
    if (all_well(m, status == C4_OK)) {
        c4_comm_destroy(old);
        m->s->grown += m->work.rank == 0;
        m->growths++;
        m->communicators++;
        return tell(larger, "the first broadcast after a growth", take_over(m, larger));
    }
    if (status != C4_OK && m->s->deaths == deaths && c4_comm_status(old) == C4_OK)
        world_fail("growing fails where nobody has died: %s", text);
    c4_comm_destroy(larger);
    return m->dismissed || world_failures() ? C4_OK : shrink(m);
}

/* What comes next, from rank 0. */
static c4_status next_action(member *m, action *next)
{
    const soak *s = m->s;
    int32_t choice = WORK;
    if (m->work.rank == 0) {
        m->random = m->random * 6364136223846793005u + 1442695040888963407u;
        choice = m->random >> 33 & 3 ? WORK : SPLIT;
        if (m->work.nranks <= MOST / 2 && s->nseats + MOST < SEATS)
            choice = GROW;
        if (s->end_life)
            choice = END;
    }
    c4_status status = c4_broadcast(&choice, &choice, 1, C4_INT32, 0, m->work.comm, NULL);
    *next = (action)choice;
    return tell(m->work.comm, "a broadcast", status);
}

static c4_status one_action(member *m, action next)
{
    switch (next) {
    case WORK:
        return tell(m->work.comm, "an operation", some_work(&m->work));
    case SPLIT:
        return split(m);
    case GROW:
        return grow(m);
    default:
        return C4_OK;
    }
}

/* How much more may be held than before. While a job lasts: schedules and tables of peers fill caches (33 KiB in the first minute
 * and its thousand communicators, then none), 75 KiB come and go over tcp, and dead guests' connections have not all
 * been closed; so much is lost within 200 communicators that keep 1 KiB each. */
static const chaos_usage may_grow_in_a_job = {
    .files = 16, .threads = 2, .maps = 16, .heap_bytes = 192 * 1024, .private_kib = 2048, .shared_kib = 16384};
/* Between two of them there is no communicator. */
static const chaos_usage may_grow_between_jobs = {
    .maps = 4, .heap_bytes = 64 * 1024, .private_kib = 1024, .shared_kib = 512};

/* What a process keeps from one communicator to the next shows after a growth: the communicator is new, and all sizes are alike.
 * Never after a growth that was undone: a ring's pages are populated when its channel is opened, so that a communicator that has
 * worked maps up to 25 MiB where a new one maps 0.6 to 3. */
static void watch_memory(member *m)
{
    char text[320];
    if (m->growths == m->watched || m->growths < SETTLED_GROWTHS)
        return;
    m->watched = m->growths;
    chaos_usage now = chaos_usage_measure();
    if (m->growths == SETTLED_GROWTHS)
        m->settled = now;
    m->s->settled_kib[m->work.rank] = m->settled.heap_bytes / 1024;
    m->s->kib[m->work.rank] = now.heap_bytes / 1024;
    if (chaos_usage_has_grown(&m->settled, &now, &may_grow_in_a_job, text, sizeof text))
        world_fail("rank %d after %d growths and %d communicators: %s", m->work.rank, m->growths, m->communicators,
                   text);
}

/* Until rank 0 says that it is enough. */
static void live(member *m, c4_status status)
{
    action next = WORK;
    while (world_failures() == 0 && next != END && !m->dismissed) {
        if (status == C4_OK)
            status = next_action(m, &next);
        if (status == C4_OK)
            status = one_action(m, next);
        if (status == C4_OK)
            m->s->actions += m->work.rank == 0;
        else if (world_failures() == 0 && !all_well(m, false) && !m->dismissed)
            status = shrink(m);
        if (m->elder)
            watch_memory(m);
    }
    c4_comm_destroy(m->work.comm);
    chaos_work_fini(&m->work);
    m->s->wrong += m->count.wrong;
    if (m->count.wrong)
        world_fail("wrong results: %s", m->count.wrong_text);
}

static void begin(member *m, soak *s, bool elder)
{
    *m = (member){.s = s, .elder = elder, .random = c4test_rand()};
    m->work = (chaos_work){.window = 2, .max_count = MAX_COUNT, .count = &m->count};
    if (!chaos_work_init(&m->work, MOST))
        world_fail("no memory");
}

/* ---- processes ---- */

/* A death may have been counted before this guest was called, and be noticed while it joins. */
static bool tells_of_a_death(c4_status status, const c4_comm *comm)
{
    return status == C4_ERR_PEER_DEAD ||
           (status == C4_ERR_PEER_ERROR && strstr(c4_last_error(comm), "C4_ERR_PEER_DEAD"));
}

static void guest_main(soak *s, const seat *guest)
{
    static member m;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = SETUP_MS};
    c4_comm *comm = NULL;
    begin(&m, s, false);
    c4_status status = c4_comm_grow(NULL, &guest->id, guest->nranks, guest->rank, &config, NULL, &comm);
    if (status == C4_OK)
        status = take_over(&m, comm);
    /* When somebody has died the others may go on without it. */
    if (status != C4_OK && !tells_of_a_death(status, comm) && s->deaths == guest->deaths)
        world_fail("a guest cannot join: %s: %s", c4_status_name(status), c4_last_error(comm));
    if (comm && (status == C4_OK || status == C4_ERR_PEER_DEAD))
        live(&m, status);
    else
        c4_comm_destroy(comm);
}

static void one_life(soak *s, int elder, int number)
{
    static member m;
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .name = "soak", .timeout_ms = 60000};
    setenv("C4_TRANSPORTS", transports[number % 3], 1);
    begin(&m, s, true);
    if (elder == 0) {
        WORLD_OK(c4_unique_id_create(&id));
        WORLD_TRUE(write(s->elder_pipe[1], &id, sizeof id) == (ssize_t)sizeof id);
    } else {
        WORLD_TRUE(read(s->elder_pipe[0], &id, sizeof id) == (ssize_t)sizeof id);
    }
    WORLD_OK(c4_comm_create(&id, ELDERS, elder, &config, NULL, &comm));
    if (comm)
        live(&m, tell(comm, "the first broadcast", take_over(&m, comm)));
}

/* The guests' seats are shared memory of this process, too: 1.2 MiB of them by the end of an hour. Mapped now, they do not grow. */
static void map_seats(soak *s)
{
    for (int i = 0; i < SEATS; i++)
        atomic_load(&s->seats[i].state);
}

/* The first of each transport fill caches. */
static void elder_main(int elder, void *arg)
{
    soak *s = arg;
    chaos_usage first = {0};
    map_seats(s);
    char text[320];
    for (int number = 0; number < LIVES && world_failures() == 0; number++) {
        one_life(s, elder, number);
        chaos_usage now = chaos_usage_measure();
        if (number == 2)
            first = now;
        if (number > 2 && chaos_usage_has_grown(&first, &now, &may_grow_between_jobs, text, sizeof text))
            world_fail("elder %d after %d jobs: %s", elder, number + 1, text);
        if (elder == 0)
            atomic_store(&s->end_life, 0);
        if (elder == 0)
            s->lives++;
    }
    C4TEST_INT(world_failures(), 0);
}

/* ---- the parent ---- */

static void seat_guest(soak *s, seat *guest)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        setenv("C4_TRANSPORTS", transports[s->lives % 3], 1);
        guest_main(s, guest);
        _exit(world_failures() ? 1 : 0);
    }
    guest->pid = pid;
    atomic_store(&guest->state, SEAT_TAKEN);
}

/* Forks who is invited, collects who has left. */
static void attend(soak *s)
{
    int status;
    for (int i = 0; i < s->nseats; i++) {
        seat *guest = &s->seats[i];
        if (guest->state == SEAT_WANTED)
            seat_guest(s, guest);
        if (guest->state != SEAT_TAKEN || waitpid(guest->pid, &status, WNOHANG) != guest->pid)
            continue;
        atomic_store(&guest->state, SEAT_LEFT);
        if (!guest->killed && status != 0)
            fprintf(stderr, "guest %d (rank %d at first): status 0x%x\n", (int)guest->pid, guest->rank,
                    (unsigned)status);
        CU_ASSERT(guest->killed || status == 0);
    }
}

static void kill_one(soak *s)
{
    int taken = 0;
    for (int i = 0; i < s->nseats; i++)
        taken += s->seats[i].state == SEAT_TAKEN && !s->seats[i].killed;
    int chosen = taken ? (int)c4test_rand_below((uint64_t)taken) : -1;
    for (int i = 0; i < s->nseats && chosen >= 0; i++) {
        seat *guest = &s->seats[i];
        if (guest->state != SEAT_TAKEN || guest->killed || chosen-- > 0)
            continue;
        guest->killed = true;
        s->deaths++;
        kill(guest->pid, SIGKILL);
        return;
    }
}

static bool elders_live(c4test_team *team)
{
    bool live = true;
    for (int i = 0; i < ELDERS; i++) {
        siginfo_t info = {.si_pid = 0};
        live &= waitid(P_PID, (id_t)c4test_team_pid(team, i), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid;
    }
    return live;
}

/* One job: deaths for so long, then a rest until all that has died is known, then its end. */
static void attend_life(soak *s, c4test_team *team, int64_t life_ms)
{
    int64_t start = chaos_now_ns(), kill_ns = start;
    int number = s->lives, actions;
    while (chaos_now_ns() - start < life_ms * 1000000 && elders_live(team)) {
        attend(s);
        if (chaos_now_ns() >= kill_ns) {
            kill_one(s);
            kill_ns = chaos_now_ns() + (int64_t)c4test_rand_below(KILL_MS) * 1000000;
        }
        chaos_sleep_ms(5);
    }
    for (actions = s->actions; s->actions < actions + 4 && elders_live(team); chaos_sleep_ms(5))
        attend(s);
    atomic_store(&s->end_life, 1);
    for (; s->lives == number && elders_live(team); chaos_sleep_ms(5))
        attend(s);
}

static int soak_seconds = 20;

static void test_soak(void)
{
    soak *s = c4test_shared(sizeof *s);
    int statuses[ELDERS], seats_taken = 1;
    setenv("C4_LOG", "none", 0);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    C4TEST_INT_FATAL(pipe(s->elder_pipe), 0);
    int before = c4test_count_entries("/dev/shm");
    c4test_team *team = c4test_team_start(ELDERS, elder_main, s);
    for (int life = 0; life < LIVES && elders_live(team); life++) {
        attend_life(s, team, (int64_t)soak_seconds * 1000 / LIVES);
        fprintf(
            stderr,
            "job %d of %d: %d guests, %d deaths, %d shrunk, %d grown, %d split, %d actions; elders hold %zu and %zu "
            "KiB (soon after the start: %zu and %zu)\n",
            life + 1, LIVES, s->nseats, s->deaths, s->shrunk, s->grown, s->split, s->actions, s->kib[0], s->kib[1],
            s->settled_kib[0], s->settled_kib[1]);
    }
    c4test_team_wait(team, 60, statuses);
    for (int i = 0; i < ELDERS; i++)
        C4TEST_INT(statuses[i], 0);
    for (int64_t end = chaos_now_ns() + 10000000000; seats_taken && chaos_now_ns() < end; chaos_sleep_ms(5)) {
        attend(s);
        seats_taken = 0;
        for (int i = 0; i < s->nseats; i++)
            seats_taken += s->seats[i].state == SEAT_TAKEN;
    }
    C4TEST_INT(seats_taken, 0);
    C4TEST_INT(s->wrong, 0);
    CU_ASSERT(s->shrunk > 0 && s->grown > 0 && s->split > 0);
    C4TEST_INT(c4test_count_entries("/dev/shm") > before, 0);
}

int main(int argc, char **argv)
{
    const char *text = getenv("C4_SOAK_S");
    if (text && atoi(text) > 0)
        soak_seconds = atoi(text);
    const c4test_case cases[] = {C4TEST_DEADLINE(soak, 2 * soak_seconds + 300), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
