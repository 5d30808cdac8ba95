/* The one list of the option tables in libc4. */
#include <pthread.h>

#include "base/base_options.h"
#include "base/fork_lock.h"
#include "base/status.h"
#include "comm/options.h"
#include "control/control_options.h"
#include "record/recorder.h"
#include "rendezvous/rendezvous_options.h"
#include "transports/builtin.h"

enum { TABLE_LIMIT = 16 };

static size_t option_tables(const c4_option_table **tables)
{
    size_t count = 0;
    tables[count++] = &c4_base_option_table;
    tables[count++] = &c4_comm_option_table;
    tables[count++] = &c4_rendezvous_option_table;
    tables[count++] = &c4_control_option_table;
    tables[count++] = &c4_record_option_table;
    for (size_t i = 0; c4_builtin_transport_options[i] && count < TABLE_LIMIT; i++)
        tables[count++] = c4_builtin_transport_options[i];
    return count;
}

/* The log is configured by the first options that are loaded, with all tables known: a partial list would take the
 * other modules' variables for unknown ones. */
static void configure_log_once(const c4_options *options)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static bool configured;
    c4_fork_lock(&lock);
    if (!configured)
        c4_base_options_apply(options);
    configured = true;
    pthread_mutex_unlock(&lock);
}

c4_status c4_comm_options_load(const char *call, c4_options **options)
{
    const c4_option_table *tables[TABLE_LIMIT];
    size_t count = option_tables(tables);
    C4_TRY(c4_options_create(tables, count, call, options));
    configure_log_once(*options);
    return C4_OK;
}
