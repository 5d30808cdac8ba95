#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base_options.h"
#include "base/log.h"
#include "base/options_internal.h"
#include "base/status.h"
#include "tests/c4test.h"

static const c4_option_spec red_specs[] = {
    {"C4_RED_BYTES", C4_OPTION_BYTES, C4_OPTION_AGREE, "64K", "4K..1G", "NCCL_BUFFSIZE", "Ring size."},
    {"C4_RED_MODE", C4_OPTION_ENUM, 0, "inline", "inline|thread", NULL, "Who moves data."},
    {"C4_RED_NAME", C4_OPTION_STRING, 0, "", NULL, "NCCL_RED_NAME", "A name."},
};
static const c4_option_spec blue_specs[] = {
    {"C4_BLUE_MS", C4_OPTION_MS, 0, "60s", "1..", NULL, "A time."},
    {"C4_BLUE_ON", C4_OPTION_BOOL, C4_OPTION_AGREE, "off", NULL, NULL, "A switch."},
    {"C4_BLUE_COUNT", C4_OPTION_INT, 0, "-1", "-1..64", NULL, "A number."},
    {"C4_BLUE_LIST", C4_OPTION_LIST, 0, "shm,tcp", NULL, NULL, "A list."},
    {"C4_BLUE_SECRET", C4_OPTION_STRING, C4_OPTION_SECRET, "", NULL, NULL, "Not to be seen."},
};
static const c4_option_table red = {"red", red_specs, 3};
static const c4_option_table blue = {"blue", blue_specs, 5};
static const c4_option_table *const tables[] = {&red, &blue};

static c4_options *make(const char *call)
{
    c4_options *options = NULL;
    C4TEST_OK_FATAL(c4_options_create(tables, 2, call, &options));
    return options;
}

static void refuse(const char *call, const char *part)
{
    c4_options *options = NULL;
    C4TEST_INT(c4_options_create(tables, 2, call, &options), C4_ERR_OPTION);
    CU_ASSERT_PTR_NULL(options);
    C4TEST_CONTAINS(c4_fail_text(), part);
}

static const char *source_of(const c4_options *options, const char *name)
{
    for (size_t i = 0; i < c4_options_count(options); i++) {
        c4_option_view view = c4_options_view(options, i);
        if (strcmp(view.spec->name, name) == 0)
            return view.source;
    }
    return NULL;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void test_parse_bytes(void)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"64K", 65536},
                {"64k", 65536},
                {"2M", 2097152},
                {"1G", 1073741824},
                {"3KiB", 3072},
                {"7b", 7},
                {"1T", 1ull << 40},
                {"18446744073709551615", UINT64_MAX},
                {"16777215T", 16777215ull << 40}};
    static const char *const bad[] = {
        "", "K", "-1", "+1", " 1", "1 ", "1.5K", "1KK", "0x10", "18446744073709551616", "16777216T", "1e3", NULL};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t value = 99;
        CU_ASSERT(c4_parse_bytes(good[i].text, &value));
        C4TEST_INT(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t value = 99;
        CU_ASSERT_FALSE(c4_parse_bytes(bad[i], &value));
        C4TEST_INT(value, 99);
    }
}

static void test_port_range(void)
{
    static const char *const bad[] = {"0",     "65536", "70000-80000", "10-5", "5000-", "-5000",     "5000-5001-5002",
                                      "+5000", " 5000", "5000 ",       "x",    "5-x",   "5000-+5001"};
    uint16_t lo = 7, hi = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_FALSE(c4_parse_port_range(bad[i], &lo, &hi));
    C4TEST_INT(lo + hi, 14); /* as they were */
    CU_ASSERT(c4_parse_port_range("1-65535", &lo, &hi) && lo == 1 && hi == 65535);
    CU_ASSERT(c4_parse_port_range("5000", &lo, &hi) && lo == 5000 && hi == 5000);
    CU_ASSERT(c4_parse_port_range("", &lo, &hi) && lo == 0 && hi == 0);
    CU_ASSERT(c4_parse_port_range(NULL, &lo, &hi) && lo == 0 && hi == 0);
}

static void test_parse_others(void)
{
    int64_t value = 0;
    CU_ASSERT(c4_parse_int("-9223372036854775808", &value));
    CU_ASSERT_EQUAL(value, INT64_MIN);
    CU_ASSERT(c4_parse_int("9223372036854775807", &value));
    CU_ASSERT_EQUAL(value, INT64_MAX);
    CU_ASSERT_FALSE(c4_parse_int("9223372036854775808", &value));
    CU_ASSERT_FALSE(c4_parse_int("-9223372036854775809", &value));
    CU_ASSERT_FALSE(c4_parse_int("--1", &value));
    CU_ASSERT_FALSE(c4_parse_int("-", &value));
    CU_ASSERT_FALSE(c4_parse_int(NULL, &value));
    CU_ASSERT_FALSE(c4_parse_int("12x", &value));
    CU_ASSERT(c4_parse_ms("500ms", &value));
    C4TEST_INT(value, 500);
    CU_ASSERT(c4_parse_ms("30s", &value));
    C4TEST_INT(value, 30000);
    CU_ASSERT(c4_parse_ms("2m", &value));
    C4TEST_INT(value, 120000);
    CU_ASSERT(c4_parse_ms("7", &value));
    C4TEST_INT(value, 7);
    CU_ASSERT_FALSE(c4_parse_ms("9223372036854775808", &value));
    CU_ASSERT_FALSE(c4_parse_ms("1d", &value));
    bool truth = false;
    CU_ASSERT(c4_parse_bool("Yes", &truth) && truth);
    CU_ASSERT(c4_parse_bool("off", &truth) && !truth);
    CU_ASSERT_FALSE(c4_parse_bool("2", &truth));
    CU_ASSERT_FALSE(c4_parse_bool("", &truth));
}

static void test_defaults(void)
{
    c4_options *options = make(NULL);
    C4TEST_INT(c4_options_count(options), 8);
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 65536);
    C4TEST_INT(c4_option_int(options, "C4_RED_MODE"), 0);
    C4TEST_STRING(c4_option_string(options, "C4_RED_MODE"), "inline");
    C4TEST_INT(c4_option_int(options, "C4_BLUE_MS"), 60000);
    C4TEST_INT(c4_option_int(options, "C4_BLUE_COUNT"), -1);
    C4TEST_STRING(c4_option_string(options, "C4_BLUE_LIST"), "shm,tcp");
    C4TEST_STRING(source_of(options, "C4_BLUE_LIST"), "default");
    CU_ASSERT(c4_option_is_default(options, "C4_BLUE_ON"));
    C4TEST_INT(c4_option_int(options, "C4_NO_SUCH"), 0);
    C4TEST_STRING(c4_option_string(options, "C4_NO_SUCH"), "");
    C4TEST_INT(c4_option_int(options, "C4_RED_NAME"), 0);
    CU_ASSERT_PTR_NULL(c4_options_view(options, 8).spec);
    c4_options_destroy(options);
    c4_options_destroy(NULL);
}

static void test_precedence(void)
{
    write_file(c4test_path("named.conf"), "# comment\n\nC4_RED_BYTES = 8K # ring\n  C4_BLUE_MS=3s\r\nC4_BLUE_ON = yes\n"
                                          "C4_RED_NAME=a#b\nC4_BLUE_LIST = x");
    char home[600];
    snprintf(home, sizeof home, "%s/.config", c4test_dir());
    char command[1300];
    snprintf(command, sizeof command, "mkdir -p %s/c4", home);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    write_file(c4test_path(".config/c4/c4.conf"), "C4_RED_BYTES = 16K\nC4_BLUE_COUNT = 12\nC4_UNKNOWN_THING = 1\n");
    setenv("HOME", c4test_dir(), 1);
    setenv("C4_CONFIG_FILE", c4test_path("named.conf"), 1);
    setenv("C4_BLUE_MS", "4s", 1);
    setenv("C4_BLUE_ON", "", 1); /* empty: as if unset */
    setenv("C4_BLUE_LIST", "", 1);
    c4_options *options = make("C4_RED_MODE=THREAD  C4_BLUE_COUNT=3");
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 8192);
    C4TEST_INT(c4_option_int(options, "C4_BLUE_MS"), 4000);
    C4TEST_STRING(source_of(options, "C4_BLUE_MS"), "environment");
    C4TEST_INT(c4_option_int(options, "C4_BLUE_ON"), 1);
    C4TEST_INT(c4_option_int(options, "C4_BLUE_COUNT"), 3);
    C4TEST_STRING(source_of(options, "C4_BLUE_COUNT"), "call");
    C4TEST_INT(c4_option_int(options, "C4_RED_MODE"), 1);
    C4TEST_STRING(c4_option_string(options, "C4_RED_NAME"), "a#b");
    C4TEST_STRING(c4_option_string(options, "C4_BLUE_LIST"), "");
    C4TEST_CONTAINS(source_of(options, "C4_RED_BYTES"), "file /");
    C4TEST_CONTAINS(source_of(options, "C4_RED_BYTES"), "named.conf");
    CU_ASSERT_FALSE(c4_option_is_default(options, "C4_RED_BYTES"));
    c4_options_destroy(options);
}

static void test_alias(void)
{
    setenv("NCCL_BUFFSIZE", "32K", 1);
    c4_options *options = make(NULL);
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 32768);
    C4TEST_STRING(source_of(options, "C4_RED_BYTES"), "environment (NCCL_BUFFSIZE)");
    c4_options_destroy(options);
    setenv("C4_RED_BYTES", "16K", 1); /* the own name wins */
    options = make(NULL);
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 16384);
    c4_options_destroy(options);
    unsetenv("C4_RED_BYTES");
    setenv("NCCL_BUFFSIZE", "nonsense", 1); /* another library's variable cannot break C4 */
    options = make(NULL);
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 65536);
    c4_options_destroy(options);
    unsetenv("NCCL_BUFFSIZE");
    write_file(c4test_path("alias.conf"), "C4_RED_BYTES = 128K\nNCCL_BUFFSIZE = 256K\n");
    setenv("C4_CONFIG_FILE", c4test_path("alias.conf"), 1);
    options = make(NULL);
    C4TEST_INT(c4_option_int(options, "C4_RED_BYTES"), 131072);
    c4_options_destroy(options);
}

static void test_bad_values(void)
{
    refuse("C4_RED_BYTES=12q", "C4_RED_BYTES=12q (call): expected bytes such as 4096, 64K, 2M or 1G in 4K..1G");
    refuse("C4_RED_BYTES=1K", "in 4K..1G");
    refuse("C4_RED_BYTES=2G", "in 4K..1G");
    refuse("C4_BLUE_MS=0", "in 1..");
    refuse("C4_BLUE_COUNT=65", "a whole number in -1..64");
    refuse("C4_BLUE_ON=maybe", "yes/no");
    refuse("C4_RED_MODE=threads", "one of inline|thread");
    refuse("C4_RED_MODE=", "one of inline|thread");
    refuse("C4_RED_BYTE=8K", "unknown option C4_RED_BYTE; did you mean C4_RED_BYTES?");
    refuse("C4_ZZZZZZZZZZZZZZZZ=1", "unknown option C4_ZZZZZZZZZZZZZZZZ [");
    refuse("hello", "\"hello\" is not NAME=value");
    setenv("C4_BLUE_MS", "soon", 1);
    refuse(NULL, "C4_BLUE_MS=soon (environment)");
    unsetenv("C4_BLUE_MS");
    setenv("C4_CONFIG_FILE", c4test_path("missing.conf"), 1);
    refuse(NULL, "missing.conf: No such file");
    write_file(c4test_path("bad.conf"), "\nno equals sign\n");
    setenv("C4_CONFIG_FILE", c4test_path("bad.conf"), 1);
    refuse(NULL, "bad.conf:2: \"no equals sign\" is not NAME = value");
    setenv("C4_CONFIG_FILE", c4test_dir(), 1);
    refuse(NULL, "is not a regular file");
    char *big = calloc(1, 70001);
    CU_ASSERT_PTR_NOT_NULL_FATAL(big);
    memset(big, '\n', 70000);
    write_file(c4test_path("big.conf"), big);
    free(big);
    setenv("C4_CONFIG_FILE", c4test_path("big.conf"), 1);
    refuse(NULL, "is longer than 64 KiB");
}

static void test_unknown_variables(void)
{
    char log[600];
    snprintf(log, sizeof log, "%s", c4test_path("log"));
    c4_log_configure(C4_LOG_WARN, log);
    setenv("C4_RED_BITES", "8K", 1);
    setenv("C4_SOMETHING_VERY_DIFFERENT", "1", 1);
    setenv("C4_RANK", "3", 1);
    setenv("C4_TEST_SEED", "3", 1);
    c4_options_destroy(make(NULL));
    c4_options_destroy(make(NULL));
    char text[4096] = "";
    FILE *file = fopen(log, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    C4TEST_CONTAINS(text, "unknown variable C4_RED_BITES is ignored; did you mean C4_RED_BYTES?");
    C4TEST_CONTAINS(text, "C4_SOMETHING_VERY_DIFFERENT is ignored; `c4info options`");
    CU_ASSERT_PTR_NULL(strstr(text, "C4_RANK"));
    CU_ASSERT_PTR_NULL(strstr(text, "C4_TEST"));
    char *first = strstr(text, "C4_RED_BITES");
    CU_ASSERT(first && !strstr(first + 1, "C4_RED_BITES")); /* once per process */
}

static void test_agree_hash(void)
{
    c4_options *a = make("C4_RED_BYTES=64K");
    c4_options *b = make("C4_RED_BYTES=65536 C4_RED_MODE=thread C4_BLUE_ON=0");
    c4_options *c = make("C4_RED_BYTES=32K");
    c4_options *d = make("C4_BLUE_ON=1");
    CU_ASSERT_EQUAL(c4_options_agree_hash(a), c4_options_agree_hash(b));
    CU_ASSERT_NOT_EQUAL(c4_options_agree_hash(a), c4_options_agree_hash(c));
    CU_ASSERT_NOT_EQUAL(c4_options_agree_hash(a), c4_options_agree_hash(d));
    c4_options *e = NULL;
    static const c4_option_table *const turned[] = {&blue, &red};
    C4TEST_OK_FATAL(c4_options_create(turned, 2, NULL, &e));
    CU_ASSERT_EQUAL(c4_options_agree_hash(a), c4_options_agree_hash(e));
    c4_options_destroy(a);
    c4_options_destroy(b);
    c4_options_destroy(c);
    c4_options_destroy(d);
    c4_options_destroy(e);
}

static void test_secret(void)
{
    c4_options *options = make("C4_BLUE_SECRET=hush");
    C4TEST_STRING(c4_option_string(options, "C4_BLUE_SECRET"), "hush");
    bool seen = false;
    for (size_t i = 0; i < c4_options_count(options); i++)
        seen |= strcmp(c4_options_view(options, i).value, "(secret)") == 0;
    CU_ASSERT(seen);
    c4_options_destroy(options);
}

static void test_base_table(void)
{
    static const c4_option_table *const base[] = {&c4_base_option_table};
    static const c4_option_table *const twice[] = {&c4_base_option_table, &c4_base_option_table};
    c4_options *options = NULL;
    setenv("NCCL_DEBUG", "VERSION", 1);
    setenv("C4_LOG_FILE", c4test_path("base.log"), 1);
    C4TEST_OK_FATAL(c4_options_create(base, 1, NULL, &options));
    c4_base_options_apply(options);
    CU_ASSERT(c4_log_enabled(C4_LOG_WARN));
    CU_ASSERT_FALSE(c4_log_enabled(C4_LOG_INFO));
    CU_ASSERT_EQUAL(access(c4test_path("base.log"), F_OK), 0);
    c4_options_destroy(options);
    C4TEST_INT(c4_options_create(twice, 2, NULL, &options), C4_ERR_INTERNAL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(parse_bytes), C4TEST(parse_others),      C4TEST(port_range),
                                        C4TEST(defaults),    C4TEST(precedence),        C4TEST(alias),
                                        C4TEST(bad_values),  C4TEST(unknown_variables), C4TEST(agree_hash),
                                        C4TEST(secret),      C4TEST(base_table),        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
