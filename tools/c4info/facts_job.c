/* Facts about the job: options, variables, interfaces, and what dead jobs have left. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/status.h"
#include "host/key.h"
#include "host/resolve.h"
#include "host/segment.h"
#include "record/clean.h"
#include "record/place.h"
#include "tools/c4info/doctor.h"

/* ---- options ---- */

/* The values that the checks need, as text; the defaults stand in when the real ones do not parse. */
enum {
    TRANSPORTS,
    SHM_BACKEND,
    SHM_BUDGET,
    RECORD,
    RECORD_BYTES,
    RECORD_DIR,
    TCP_SOCKETS,
    TCP_BUFFER,
    PORTS,
    IFNAME,
    FAMILY,
    KEY_FILE,
    INSECURE,
    NVALUES
};

static const struct {
    const char *name, *fallback;
} wanted[NVALUES] = {
    [TRANSPORTS] = {"C4_TRANSPORTS", "shm,verbs,tcp"},
    [SHM_BACKEND] = {"C4_SHM_BACKEND", "auto"},
    [SHM_BUDGET] = {"C4_SHM_BUDGET_BYTES", "512M"},
    [RECORD] = {"C4_RECORD", "1"},
    [RECORD_BYTES] = {"C4_RECORD_BYTES", "1M"},
    [RECORD_DIR] = {"C4_RECORD_DIR", "/dev/shm/c4-%u"},
    [TCP_SOCKETS] = {"C4_TCP_SOCKETS", "2"},
    [TCP_BUFFER] = {"C4_TCP_BUFFER_BYTES", "0"},
    [PORTS] = {"C4_PORT_RANGE", ""},
    [IFNAME] = {"C4_SOCKET_IFNAME", ""},
    [FAMILY] = {"C4_SOCKET_FAMILY", "auto"},
    [KEY_FILE] = {"C4_KEY_FILE", ""},
    [INSECURE] = {"C4_INSECURE", "0"},
};

typedef struct values {
    char text[NVALUES][512];
    bool is_default[NVALUES];
} values;

/* Also collects the names that variables may have. */
static void read_values(c4info_job_facts *job, values *read)
{
    c4_info_option option = {.struct_size = sizeof option};
    c4_status status;
    for (int i = 0; i < NVALUES; i++) {
        snprintf(read->text[i], sizeof read->text[i], "%s", wanted[i].fallback);
        read->is_default[i] = true;
    }
    for (size_t index = 0; (status = c4_info_get_option(index, &option)) == C4_OK; index++)
        for (int i = 0; i < NVALUES; i++)
            if (strcmp(option.name, wanted[i].name) == 0) {
                snprintf(read->text[i], sizeof read->text[i], "%s", option.value);
                read->is_default[i] = strcmp(option.value_source, "default") == 0;
            }
    if (status != C4_ERR_COUNT)
        snprintf(job->option_error, sizeof job->option_error, "%.255s", c4_last_error(NULL));
}

static int64_t bytes_of(const char *text)
{
    uint64_t bytes = 0;
    return c4_parse_bytes(text, &bytes) ? (int64_t)bytes : 0;
}

static bool truth_of(const char *text)
{
    bool truth = false;
    return c4_parse_bool(text, &truth) && truth;
}

static bool lists(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at; at += strspn(at, ", ")) {
        size_t bytes = strcspn(at, ", ");
        if (bytes == length && strncmp(at, word, length) == 0)
            return true;
        at += bytes;
    }
    return false;
}

static void fill_job(c4info_facts *facts, const values *read)
{
    c4info_job_facts *job = &facts->job;
    char top[C4_RECORD_TOP_BYTES];
    uint16_t lo = 0, hi = 0;
    int64_t sockets = 1;
    job->wants_tcp = lists(read->text[TRANSPORTS], "tcp");
    job->wants_verbs = !read->is_default[TRANSPORTS] && /* which does without, where there are no devices */
                       (lists(read->text[TRANSPORTS], "verbs") || lists(read->text[TRANSPORTS], "ucx"));
    job->shm_named = strcmp(read->text[SHM_BACKEND], "file") == 0;
    job->shm_budget_bytes = bytes_of(read->text[SHM_BUDGET]);
    job->record = truth_of(read->text[RECORD]);
    job->record_bytes = bytes_of(read->text[RECORD_BYTES]);
    if (read->is_default[RECORD_BYTES] && job->local_nranks > 64) /* as communicators do */
        job->record_bytes /= 4;
    bool fits = c4_record_expand_top(read->text[RECORD_DIR], top);
    snprintf(job->record_top, sizeof job->record_top, "%.255s", fits ? top : read->text[RECORD_DIR]);
    job->tcp_sockets = c4_parse_int(read->text[TCP_SOCKETS], &sockets) ? sockets : 1;
    job->tcp_buffer_bytes = bytes_of(read->text[TCP_BUFFER]);
    snprintf(job->ports, sizeof job->ports, "%.31s", read->text[PORTS]);
    if (c4_parse_port_range(read->text[PORTS], &lo, &hi)) {
        job->port_lo = lo;
        job->port_hi = hi;
    } else {
        snprintf(job->option_error, sizeof job->option_error,
                 "C4_PORT_RANGE=%.31s is not a range lo-hi of ports 1..65535", read->text[PORTS]);
    }
    snprintf(job->ifname, sizeof job->ifname, "%.127s", read->text[IFNAME]);
    snprintf(job->key_file, sizeof job->key_file, "%.255s", read->text[KEY_FILE]);
    job->insecure = truth_of(read->text[INSECURE]);
    const char *family = read->text[FAMILY];
    facts->wish = (c4_netif_wish){.spec = job->ifname,
                                  .family = strcmp(family, "ipv6") == 0   ? 6
                                            : strcmp(family, "ipv4") == 0 ? 4
                                                                          : 0,
                                  .all_local = job->nranks <= job->local_nranks};
}

bool c4info_read_key(const c4info_job_facts *job, unsigned char key[C4_KEY_BYTES])
{
    const char *text = c4_env_get("C4_KEY");
    if (text)
        return c4_key_parse(text, key);
    return job->key_file[0] && c4_key_read_file(job->key_file, key) == C4_OK;
}

static void read_key(c4info_job_facts *job)
{
    unsigned char key[C4_KEY_BYTES];
    job->has_key = c4info_read_key(job, key);
    explicit_bzero(key, sizeof key);
    if (job->has_key)
        return;
    if (c4_env_get("C4_KEY"))
        snprintf(job->key_error, sizeof job->key_error, "C4_KEY is not 64 hexadecimal digits");
    else if (job->key_file[0])
        snprintf(job->key_error, sizeof job->key_error, "%.255s", c4_fail_text());
}

/* ---- variables ---- */

/* True when C4 knows the variable; else `nearest` is the option with the nearest name, "" when none is near. */
static bool is_known(const char *name, char nearest[C4INFO_SYSTEM_BYTES])
{
    c4_info_option option = {.struct_size = sizeof option};
    size_t best = strlen(name) / 3 + 1;
    nearest[0] = '\0';
    if (c4_env_is_other(name))
        return true;
    for (size_t i = 0; c4_info_get_option(i, &option) == C4_OK; i++) {
        size_t distance = c4_edit_distance(name, option.name);
        if (distance == 0)
            return true;
        if (distance < best) {
            best = distance;
            snprintf(nearest, C4INFO_SYSTEM_BYTES, "%.63s", option.name);
        }
    }
    return false;
}

static void read_variables(c4info_job_facts *job)
{
    if (job->option_error[0]) /* then the names cannot be listed */
        return;
    for (char **variable = environ; *variable && job->nunknown < C4INFO_MAX_NAMES; variable++) {
        c4info_name *unknown = &job->unknown[job->nunknown];
        if (strncmp(*variable, "C4_", 3) != 0)
            continue;
        snprintf(unknown->name, sizeof unknown->name, "%.*s", (int)strcspn(*variable, "="), *variable);
        if (!is_known(unknown->name, unknown->nearest))
            job->nunknown++;
    }
}

/* ---- interfaces ---- */

static c4_status read_interfaces(c4info_facts *facts)
{
    static c4_netif list[C4INFO_MAX_NETIFS];
    size_t count = C4INFO_MAX_NETIFS;
    const c4_netif *chosen = NULL;
    C4_TRY(c4_netif_list(list, &count));
    if (c4_netif_candidates(list, count, &facts->wish, &chosen, 1) == 0) {
        c4_netif_choose(list, count, &facts->wish, &chosen);
        snprintf(facts->job.ifname_error, sizeof facts->job.ifname_error, "%.399s", c4_fail_text());
        chosen = NULL;
    }
    for (size_t i = 0; i < count; i++) {
        facts->netifs[i].netif = list[i];
        facts->netifs[i].chosen = &list[i] == chosen;
        c4info_facts_read_netif("", &facts->netifs[i]);
    }
    facts->nnetifs = count;
    return C4_OK;
}

static void read_name(c4info_system_facts *facts)
{
    struct sockaddr_storage address;
    size_t count = 0;
    if (gethostname(facts->name, sizeof facts->name - 1) != 0 || c4_resolve(facts->name, &address, 1, &count) != 0 ||
        count == 0)
        return;
    getnameinfo((const struct sockaddr *)&address, sizeof address, facts->name_address, sizeof facts->name_address,
                NULL, 0, NI_NUMERICHOST);
    const struct sockaddr_in *in = (const void *)&address;
    const struct sockaddr_in6 *in6 = (const void *)&address;
    facts->name_is_loopback =
        address.ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* ---- leftovers ---- */

static void count_segment(void *context, const char *name, uint64_t bytes, bool removed)
{
    c4info_system_facts *facts = context;
    (void)name;
    (void)removed;
    facts->stale_segments++;
    facts->stale_segment_bytes += bytes;
}

static void read_leftovers(c4info_facts *facts)
{
    c4info_system_facts *system = &facts->system;
    c4_record_dead_job *jobs = NULL;
    c4_record_reason reason = {""};
    snprintf(system->segment_directory, sizeof system->segment_directory, "%s", C4_SEGMENT_DIRECTORY);
    c4_segments_stale(C4_SEGMENT_DIRECTORY, false, count_segment, system);
    int top = c4_record_open_top(facts->job.record_top, false, &reason);
    if (top < 0) {
        if (errno != ENOENT) /* it is made when the first job starts */
            snprintf(facts->job.record_error, sizeof facts->job.record_error, "%.255s", reason.text);
        return;
    }
    size_t count = c4_record_dead_jobs(top, &jobs);
    for (size_t i = 0; i < count; i++) {
        system->stale_jobs += jobs[i].bytes > 0;
        system->stale_job_bytes += jobs[i].bytes;
    }
    free(jobs);
    close(top);
}

c4_status c4info_facts_read(int nranks, int local_nranks, c4info_facts *facts)
{
    c4info_machine machine;
    values *read = calloc(1, sizeof *read);
    if (!read)
        return C4_ERR_MEMORY;
    memset(facts, 0, sizeof *facts);
    c4_status status = c4info_machine_init(&machine);
    if (status < 0) {
        free(read);
        return status;
    }
    c4info_facts_read_system("", &facts->system);
    facts->system.cores = (int64_t)machine.topology.ncores;
    facts->system.cpus = (int64_t)machine.topology.ncpus;
    facts->system.numa_nodes = (int64_t)machine.topology.nnuma;
    bool rdma = false;
    for (size_t i = 0; i < machine.nnics; i++)
        rdma |= machine.nics[i].rdma[0] != '\0';
    c4info_machine_fini(&machine);
    facts->job.local_nranks = local_nranks;
    facts->job.nranks = nranks;
    read_values(&facts->job, read);
    fill_job(facts, read);
    free(read);
    facts->job.wants_verbs |= rdma;
    read_key(&facts->job);
    read_variables(&facts->job);
    read_name(&facts->system);
    read_leftovers(facts);
    return read_interfaces(facts);
}
