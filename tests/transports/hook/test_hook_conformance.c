/* tcp through the hook layer: nothing changes without rules, and faults at chosen frames cost nothing but time. */
#include "tests/conformance/conformance.h"
#include "transports/hook/hook.h"
#include "transports/tcp/tcp.h"

int main(int argc, char **argv)
{
    static c4_option_spec specs[32];
    static c4_option_table table = {"tcp and hook", specs, 0};
    const c4_option_table *const parts[] = {&c4_tcp_option_table, &c4_hook_option_table};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < parts[i]->count && table.count < 32; k++)
            specs[table.count++] = parts[i]->specs[k];
    static c4_conformance fixture = {
        .overrides = "C4_HOOK=close=tcp@frame:7,truncate=tcp@frame:11,delay=tcp:200us@frame:13",
        .loses_sockets = true,
    };
    fixture.options = &table;
    fixture.ops = c4_hook_wrap(&c4_tcp_ops);
    return c4_conformance_main(argc, argv, &fixture);
}
