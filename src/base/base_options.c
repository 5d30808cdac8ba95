#include "base/base_options.h"

#include "base/log.h"

/* "version" is there because NCCL_DEBUG=VERSION is common; c4_log_level_parse maps it. */
static const c4_option_spec specs[] = {
    {"C4_LOG", C4_OPTION_ENUM, 0, "warn", "none|error|warn|info|debug|trace|version", "NCCL_DEBUG",
     "How much is logged."},
    {"C4_LOG_FILE", C4_OPTION_STRING, 0, "", NULL, "NCCL_DEBUG_FILE",
     "File that receives the log instead of stderr; %h is the host's name, %p the process id."},
};

const c4_option_table c4_base_option_table = {"base", specs, sizeof specs / sizeof specs[0]};

void c4_base_options_apply(const c4_options *options)
{
    c4_log_level level = C4_LOG_WARN;
    c4_log_level_parse(c4_option_string(options, "C4_LOG"), &level);
    c4_log_configure(level, c4_option_string(options, "C4_LOG_FILE"));
}
