/* c4_info_get_option: every option with its value and where that came from. */
#include "base/export.h"
#include "comm/info.h"

static const char *type_name(c4_option_type type)
{
    static const char *const names[] = {
        [C4_OPTION_BOOL] = "bool", [C4_OPTION_INT] = "int",       [C4_OPTION_BYTES] = "bytes", [C4_OPTION_MS] = "ms",
        [C4_OPTION_ENUM] = "enum", [C4_OPTION_STRING] = "string", [C4_OPTION_LIST] = "list",
    };
    return names[type];
}

C4_API c4_status c4_info_get_option(size_t index, c4_info_option *option)
{
    c4_info *info;
    C4_TRY(c4_info_check(option, option ? option->struct_size : 0, sizeof *option));
    C4_TRY(c4_info_open(index == 0, &info));
    if (index >= c4_options_count(info->options))
        return C4_ERR_COUNT; /* how the caller finds the end of the list: nothing to log */
    c4_option_view view = c4_options_view(info->options, index);
    bool hide = (view.spec->flags & C4_OPTION_SECRET) && *view.value;
    *option = (c4_info_option){.struct_size = option->struct_size,
                               .name = view.spec->name,
                               .type = type_name(view.spec->type),
                               .value = hide ? "(secret)" : view.value,
                               .value_source = view.source,
                               .default_value = view.spec->def,
                               .help = view.spec->help};
    return C4_OK;
}
