/* Which transports a communicator opens, and what C4_REQUIRE_TRANSPORT makes of the rest. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "comm/setup.h"
#include "transports/builtin.h"

/* For the message, when no other transport reaches a peer either. */
static void leave_out(c4_setup *setup, const char *name, const char *reason)
{
    size_t used = strlen(setup->left_out);
    snprintf(setup->left_out + used, sizeof setup->left_out - used, "; %s is left out: %s", name, reason);
}

void c4_setup_lack_room(c4_setup *setup, const char *name, const char *reason)
{
    setup->reach[setup->comm->rank] |= (uint8_t)(1u << c4_transport_index(name));
    snprintf(setup->no_room, sizeof setup->no_room, "%s", reason);
}

/* Where the default names a transport and not the user. */
static bool is_unasked(const c4_setup *setup, const c4_transport_entry *entry)
{
    const c4_options *options = setup->comm->options;
    return (entry->devices != NULL || entry->file != NULL) && c4_option_is_default(options, "C4_TRANSPORTS") &&
           *setup->required == '\0';
}

/* Nobody misses a transport that nobody has asked for and that this machine has not; none that does not encrypt takes the
 * place of one that would. */
static bool pass_over(const c4_setup *setup, const c4_transport_entry *entry)
{
    char reason[320] = "it does not encrypt, and C4_TLS=on: C4_TRANSPORTS may name it all the same";
    const c4_options *options = setup->comm->options;
    if (!is_unasked(setup, entry))
        return false;
    if (!(entry->unprotected && c4_option_int(options, "C4_TLS") != 0) &&
        !c4_transport_is_absent(entry, c4_option_string(options, "C4_MODULE_PATH"), reason, sizeof reason))
        return false;
    c4_log(C4_LOG_INFO, "transport %s is left out: %s", entry->name, reason);
    return true;
}

/* What is there and cannot be used is worth a warning even where nobody has asked for it: one on each host, once. */
static void do_without_unasked(c4_setup *setup, const char *name, const char *reason)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    bool tell = setup->comm->roster.local_rank == 0 && !atomic_flag_test_and_set(&told);
    c4_log(tell ? C4_LOG_WARN : C4_LOG_INFO,
           "transport %s is left out: %s (this machine has devices for it; C4_TRANSPORTS=shm,tcp does without)", name,
           reason);
    leave_out(setup, name, reason);
}

static void do_without(c4_setup *setup, c4_status status, const c4_transport_entry *entry, const char *what,
                       const char *reason)
{
    const char *name = entry->name;
    if (is_unasked(setup, entry)) {
        do_without_unasked(setup, name, reason);
        return;
    }
    if (status == C4_ERR_SHM)
        c4_setup_lack_room(setup, name, reason);
    c4_log(status == C4_ERR_SHM ? C4_LOG_INFO : C4_LOG_WARN, "transport %s is %s: %s", name, what, reason);
    leave_out(setup, name, reason);
}

/* Other transports may take the place of one that cannot be had, but not that of loop. */
static c4_status open_rail(c4_setup *setup, const c4_transport_entry *entry, bool needed)
{
    char reason[320] = "";
    const c4_options *options = setup->comm->options;
    c4_rail *rail = &setup->rails[setup->nrails];
    const c4_transport_ops *ops;
    if (pass_over(setup, entry))
        return C4_OK;
    c4_status status =
        c4_transport_get(entry, c4_option_string(options, "C4_MODULE_PATH"), &ops, reason, sizeof reason);
    if (status < 0) {
        do_without(setup, status, entry, "not available", reason);
        return C4_OK;
    }
    rail->ops = ops = c4_builtin_transport_hooked(ops, c4_option_string(options, "C4_HOOK"));
    rail->caps.struct_size = sizeof rail->caps;
    status = ops->probe(&setup->comm->host, &rail->caps, reason, sizeof reason);
    if (status < 0) {
        do_without(setup, status, entry, "not available", reason);
        return C4_OK;
    }
    status = ops->open(&setup->comm->host, &rail->module);
    if (status < 0) {
        do_without(setup, status, entry, "left out", c4_fail_text());
        return needed ? status : C4_OK;
    }
    setup->nrails++; /* counted first: from here on setup_fini closes it */
    return ops->caps(rail->module, &rail->caps);
}

static c4_status open_named(c4_setup *setup, const char *name)
{
    int index = c4_transport_index(name);
    if (index < 0)
        return c4_fail(C4_ERR_OPTION, "C4_TRANSPORTS names \"%s\", which this build does not have", name);
    if (strcmp(name, "loop") == 0)
        setup->use_loop = true;
    else if (setup->nrails == C4_ENGINE_MAX_RAILS)
        return c4_fail(C4_ERR_OPTION, "C4_TRANSPORTS names more than %d transports", C4_ENGINE_MAX_RAILS - 1);
    else
        return open_rail(setup, &c4_transports[index], false);
    return C4_OK;
}

const char *c4_setup_transports(const c4_options *options)
{
    const char *required = c4_option_string(options, "C4_REQUIRE_TRANSPORT");
    bool alone = *required != '\0' && c4_option_is_default(options, "C4_TRANSPORTS");
    return alone ? required : c4_option_string(options, "C4_TRANSPORTS");
}

c4_status c4_setup_open_rails(c4_setup *setup)
{
    char names[256];
    char *save = NULL;
    const c4_options *options = setup->comm->options;
    setup->required = c4_option_string(options, "C4_REQUIRE_TRANSPORT");
    if (*setup->required != '\0' && c4_transport_index(setup->required) < 0)
        return c4_fail(C4_ERR_OPTION, "C4_REQUIRE_TRANSPORT names \"%s\", which this build does not have",
                       setup->required);
    snprintf(names, sizeof names, "%s", c4_setup_transports(options));
    C4_TRY(open_rail(setup, &c4_transports[c4_transport_index("loop")], true)); /* a rank's messages to itself */
    for (char *name = strtok_r(names, ", ", &save); name; name = strtok_r(NULL, ", ", &save))
        C4_TRY(open_named(setup, name));
    return C4_OK;
}

/* ---- C4_REQUIRE_TRANSPORT ---- */

c4_status c4_setup_check_required_reach(const c4_setup *setup, int peer, const char *reasons)
{
    int self = setup->comm->rank, index = c4_transport_index(setup->required);
    if (index < 0 || peer == self || setup->reach[peer] >> index & 1)
        return C4_OK;
    bool named = *reasons != '\0' || setup->left_out[0] != '\0';
    return c4_fail(C4_ERR_UNREACHABLE,
                   "rank %d: C4_REQUIRE_TRANSPORT=%s, and it cannot be used between this rank and rank %d (%s%s)", self,
                   setup->required, peer,
                   *reasons ? reasons
                   : named  ? ""
                            : "C4_TRANSPORTS does not name it",
                   *reasons || !named ? setup->left_out : setup->left_out + strlen("; "));
}

c4_status c4_setup_check_required_rail(const c4_setup *setup, int peer, int rail, uint8_t mutual)
{
    const char *chosen = setup->rails[rail].ops->name;
    int self = setup->comm->rank, index = c4_transport_index(setup->required);
    if (index < 0 || peer == self || strcmp(chosen, setup->required) == 0)
        return C4_OK;
    if (mutual >> index & 1)
        return c4_fail(C4_ERR_UNREACHABLE,
                       "ranks %d and %d would use %s, and C4_REQUIRE_TRANSPORT=%s: C4_TRANSPORTS=%.60s names %s first",
                       self, peer, chosen, setup->required, c4_setup_transports(setup->comm->options), chosen);
    return c4_fail(
        C4_ERR_UNREACHABLE,
        "ranks %d and %d would use %s, and C4_REQUIRE_TRANSPORT=%s: by that rank %d does not reach rank %d, and "
        "says why",
        self, peer, chosen, setup->required, peer, self);
}
