/* The one list of the option tables in libc4. */
#include <pthread.h>

#include "base/base_options.h"
#include "comm/options.h"
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
    tables[count++] = &c4_record_option_table;
    for (size_t i = 0; c4_builtin_transport_options[i] && count < TABLE_LIMIT; i++)
        tables[count++] = c4_builtin_transport_options[i];
    return count;
}

static pthread_once_t log_once = PTHREAD_ONCE_INIT;

static void configure_log(void)
{
    const c4_option_table *table = &c4_base_option_table;
    c4_options *options;
    if (c4_options_create(&table, 1, NULL, &options) < 0)
        return;
    c4_base_options_apply(options);
    c4_options_destroy(options);
}

c4_status c4_comm_options_load(const char *call, c4_options **options)
{
    const c4_option_table *tables[TABLE_LIMIT];
    size_t count = option_tables(tables);
    pthread_once(&log_once, configure_log);
    return c4_options_create(tables, count, call, options);
}
