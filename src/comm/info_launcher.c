/* c4_info_get_launcher and c4_info_get_launch: who has started this process, and what follows from it. */
#include "base/export.h"
#include "comm/info.h"
#include "rendezvous/launcher_explain.h"

C4_API c4_status c4_info_get_launcher(size_t index, c4_info_launcher *launcher)
{
    const char *name, *reason;
    bool used;
    C4_TRY(c4_info_check(launcher, launcher ? launcher->struct_size : 0, sizeof *launcher));
    if (!c4_launch_row(index, &name, &used, &reason))
        return C4_ERR_COUNT;
    *launcher = (c4_info_launcher){.struct_size = launcher->struct_size, .name = name, .used = used, .reason = reason};
    return C4_OK;
}

C4_API c4_status c4_info_get_launch(size_t index, c4_info_launch *fact)
{
    static __thread c4_launch_fact facts[C4_LAUNCH_FACTS];
    static __thread size_t count;
    c4_info *info;
    C4_TRY(c4_info_check(fact, fact ? fact->struct_size : 0, sizeof *fact));
    C4_TRY(c4_info_open(index == 0, &info));
    if (index == 0 || count == 0)
        count = c4_launch_explain(info->options, facts);
    if (index >= count)
        return C4_ERR_COUNT;
    *fact = (c4_info_launch){.struct_size = fact->struct_size,
                             .what = facts[index].what,
                             .value = facts[index].value,
                             .source = facts[index].source};
    return C4_OK;
}
