/* Text that users write: tuning file, options file, options of a call, values, topology, interface patterns, C4_HOOK, keys
 * and port ranges. Byte 0 chooses the grammar. What is accepted must be within its limits and read the same again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base_options.h"
#include "base/log.h"
#include "base/options_internal.h"
#include "comm/options.h"
#include "host/netif.h"
#include "host/topology.h"
#include "record/recorder.h"
#include "rendezvous/launcher.h"
#include "rendezvous/launcher_internal.h"
#include "rendezvous/node_list.h"
#include "rendezvous/rendezvous_options.h"
#include "schedule/algorithms.h"
#include "transports/builtin.h"
#include "transports/hook/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void fuzz_tuning(const char *text)
{
    c4_tuning tuning;
    if (c4_tuning_parse(text, "fuzz", &tuning) < 0)
        return;
    for (size_t i = 0; i < tuning.nrows; i++) {
        const c4_tuning_row *row = &tuning.rows[i];
        require(row->kind >= 0 && row->kind < C4_NKINDS && row->algorithm >= 0 && row->algorithm < c4_nalgorithms);
        require(c4_algorithms[row->algorithm].kinds >> row->kind & 1);
        require(row->nranks >= 0 && row->ranks_per_host >= 0 && row->min_bytes <= row->max_bytes && row->lanes <= 64);
    }
    c4_tuning_fini(&tuning);
}

/* ---- options ---- */

static c4_status load(const char *call, c4_options **options)
{
    const c4_option_table *tables[16] = {&c4_base_option_table, &c4_comm_option_table, &c4_rendezvous_option_table,
                                         &c4_record_option_table};
    size_t count = 4;
    for (size_t i = 0; c4_builtin_transport_options[i]; i++)
        tables[count++] = c4_builtin_transport_options[i];
    return c4_options_create(tables, count, call, options);
}

/* Every value that was taken fits its spec. */
static void check_options(c4_options *options)
{
    char expected[128];
    int64_t number;
    for (size_t i = 0; i < c4_options_count(options); i++) {
        c4_option_view view = c4_options_view(options, i);
        require(c4_option_value_parse(view.spec, view.value, &number, expected, sizeof expected) ||
                (view.spec->flags & C4_OPTION_SECRET));
    }
    c4_options_destroy(options);
}

static void fuzz_options_call(const char *text)
{
    c4_options *options;
    if (load(text, &options) == C4_OK)
        check_options(options);
}

static void fuzz_options_file(const char *text)
{
    static int file = -1;
    char path[64];
    c4_options *options;
    if (file < 0) {
        file = memfd_create("fuzz", MFD_CLOEXEC);
        require(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        setenv("HOME", "/nonexistent", 1);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    require(ftruncate(file, 0) == 0 && pwrite(file, text, strlen(text), 0) == (ssize_t)strlen(text));
    setenv("C4_CONFIG_FILE", path, 1);
    if (load(NULL, &options) == C4_OK)
        check_options(options);
    unsetenv("C4_CONFIG_FILE");
}

static void fuzz_values(const char *text)
{
    char decimal[32];
    uint64_t bytes, bytes_again;
    int64_t number, number_again;
    bool truth;
    uint16_t lo, hi;
    unsigned char key[C4_KEY_BYTES];
    if (c4_parse_bytes(text, &bytes)) {
        snprintf(decimal, sizeof decimal, "%llu", (unsigned long long)bytes);
        require(c4_parse_bytes(decimal, &bytes_again) && bytes_again == bytes);
    }
    if (c4_parse_int(text, &number)) {
        snprintf(decimal, sizeof decimal, "%lld", (long long)number);
        require(c4_parse_int(decimal, &number_again) && number_again == number);
    }
    require(!c4_parse_ms(text, &number) || number >= 0);
    c4_parse_bool(text, &truth);
    if (c4_parse_port_range(text, &lo, &hi))
        require(*text ? lo >= 1 && lo <= hi : lo == 0 && hi == 0);
    require(!c4_key_parse(text, key) || strlen(text) == 2 * C4_KEY_BYTES);
    c4_edit_distance(text, "C4_SOCKET_IFNAME");
}

/* ---- the machine ---- */

static void fuzz_topology(const char *text)
{
    c4_topology topology, again;
    if (c4_topology_parse(text, &topology) < 0)
        return;
    for (size_t i = 0; i < topology.ncores; i++) {
        const c4_topology_core *core = &topology.cores[i];
        require(core->package >= -1 && core->numa >= -1 && core->ncpus >= 1);
        require(core->first_cpu + core->ncpus <= topology.ncpus);
    }
    char *line = c4_topology_format(&topology);
    require(line && c4_topology_parse(line, &again) == C4_OK && again.ncpus == topology.ncpus);
    char *second = c4_topology_format(&again);
    require(second && strcmp(line, second) == 0);
    free(line);
    free(second);
    c4_topology_fini(&topology);
    c4_topology_fini(&again);
}

/* With and without the '^' in front, an interface is in exactly one of the two. */
static void fuzz_interfaces(const char *text)
{
    static const c4_netif interfaces[] = {
        {.name = "eth0", .family = 4, .ip = {10, 0, 0, 5}, .running = true, .has_default_route = true},
        {.name = "eth0", .family = 6, .ip = {0xfe, 0x80, [15] = 1}, .link_local = true, .running = true},
        {.name = "lo", .family = 4, .ip = {127, 0, 0, 1}, .loopback = true, .running = true},
    };
    enum { COUNT = sizeof interfaces / sizeof interfaces[0] };
    c4_netif_wish wish = {.spec = text};
    const c4_netif *chosen = NULL;
    bool excludes = *text == '^';
    for (size_t i = 0; i < COUNT && excludes; i++)
        require(c4_netif_matches(&interfaces[i], text) != c4_netif_matches(&interfaces[i], text + 1) ||
                strchr(text + 1, '^'));
    if (c4_netif_choose(interfaces, COUNT, &wish, &chosen) == C4_OK)
        require(!*text || c4_netif_matches(chosen, text));
}

static void fuzz_hook(const char *text)
{
    c4_hook_rules rules;
    if (c4_hook_rules_parse(text, "tcp", 0, &rules) < 0)
        return;
    require(rules.count <= C4_HOOK_MAX_RULES);
    for (unsigned i = 0; i < rules.count; i++)
        require((rules.rules[i].action == C4_HOOK_DELAY) == (rules.rules[i].duration_ns != 0));
}

/* ---- what launchers say ---- */

/* What is found is a plain name, and its own first. */
static void fuzz_node_list(const char *text)
{
    char host[64], again[64];
    if (!c4_node_list_first(text, host, sizeof host))
        return;
    require(*host && strlen(host) < sizeof host && !strpbrk(host, "[], "));
    require(c4_node_list_first(host, again, sizeof again) && strcmp(host, again) == 0);
}

/* "POD INDEX SERVICE": pod 0 of the job of pod 0 is itself. */
static void fuzz_kubernetes(const char *text)
{
    char copy[256], host[128], again[128];
    char *rest = copy;
    snprintf(copy, sizeof copy, "%s", text);
    const char *pod = strsep(&rest, " "), *index = strsep(&rest, " ");
    if (!index || !c4_kubernetes_first(pod, index, rest ? rest : "", host, sizeof host))
        return;
    require(strlen(host) < sizeof host);
    require(!*index || (c4_kubernetes_first(host, "0", "", again, sizeof again) && strcmp(host, again) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const grammars[])(const char *) = {fuzz_tuning, fuzz_options_call, fuzz_options_file,
                                                     fuzz_values, fuzz_topology,     fuzz_interfaces,
                                                     fuzz_hook,   fuzz_node_list,    fuzz_kubernetes};
    c4_log_configure(C4_LOG_NONE, NULL);
    char *text = size ? malloc(size) : NULL;
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    grammars[data[0] % (sizeof grammars / sizeof grammars[0])](text);
    free(text);
    return 0;
}
