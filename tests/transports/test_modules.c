/* Transports that are modules: where they are looked for, and what is said when one cannot be had. The modules are made
 * here, each with one thing wrong. */
#include "tests/c4test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transports/modules.h"

static const char table_source[] =
    "#include <c4/transport.h>\n"
    "__attribute__((visibility(\"default\"))) const c4_transport_ops SYMBOL =\n"
    "    {.struct_size = sizeof(c4_transport_ops) + MORE, .abi = C4_TRANSPORT_ABI + NEWER, .name = NAME};\n";

static void run(const char *line)
{
    int status = system(line);
    CU_ASSERT_FATAL(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void write_source(const char *name, const char *text)
{
    FILE *file = fopen(c4test_path(name), "we");
    CU_ASSERT_FATAL(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* libc4_ucx.so in the case's directory, made with these definitions. */
static void make_module(const char *definitions, const char *libraries)
{
    char line[4096];
    const char *cc = getenv("C4_TEST_CC");
    write_source("module.c", table_source);
    snprintf(line, sizeof line, "cd '%s' && %s -std=gnu11 -fPIC -shared -I'%s/include' %s module.c -o libc4_ucx.so %s",
             c4test_dir(), cc != NULL ? cc : "cc", c4test_source_root(), definitions, libraries);
    run(line);
}

#define RIGHT "-DSYMBOL=c4_ucx_ops -DMORE=0 -DNEWER=0 -DNAME='\"ucx\"' "

static const c4_transport_entry entry = {
    .name = "ucx", .file = "libc4_ucx.so", .symbol = "c4_ucx_ops", .mend = "do this and that"};

static const char *load(const char *path)
{
    static char reason[1200];
    const c4_transport_ops *ops = NULL;
    reason[0] = '\0';
    c4_status status = c4_module_load(&entry, path, &ops, reason, sizeof reason);
    C4TEST_INT(status, reason[0] == '\0' ? C4_OK : C4_ERR_UNSUPPORTED);
    CU_ASSERT((status == C4_OK) == (ops != NULL));
    return reason;
}

static void test_not_installed(void)
{
    const char *reason = load(c4test_dir());
    CU_ASSERT(strncmp(reason, "libc4_ucx.so is not installed in /", 34) == 0);
    C4TEST_CONTAINS(reason, "/c4: do this and that");
}

static void test_loads(void)
{
    char path[2048];
    const c4_transport_ops *first = NULL, *again = NULL;
    char reason[512] = "";
    make_module(RIGHT, "");
    snprintf(path, sizeof path, "/nowhere::%s", c4test_dir());
    C4TEST_STRING(load(path), "");
    C4TEST_OK(c4_module_load(&entry, path, &first, reason, sizeof reason));
    C4TEST_OK(c4_module_load(&entry, path, &again, reason, sizeof reason));
    CU_ASSERT(first == again && strcmp(first->name, "ucx") == 0);
}

/* A module out of whatever directory a program happens to be in would be anybody's. */
static void test_relative_path(void)
{
    make_module(RIGHT, "");
    CU_ASSERT_FATAL(chdir(c4test_dir()) == 0);
    C4TEST_CONTAINS(load("."), "is not installed");
    C4TEST_CONTAINS(load(""), "is not installed");
}

static void test_missing_library(void)
{
    char line[2048];
    write_source("beneath.c", "int beneath(void) { return 1; }\n");
    snprintf(line, sizeof line,
             "cd '%s' && ${C4_TEST_CC:-cc} -fPIC -shared -Wl,-soname,libbeneath.so.7 beneath.c -o libbeneath.so",
             c4test_dir());
    run(line);
    make_module(RIGHT, "-Wl,--no-as-needed -L. -lbeneath");
    const char *reason = load(c4test_dir());
    C4TEST_CONTAINS(reason, "libbeneath.so.7: cannot open shared object file");
}

static void test_wrong_modules(void)
{
    static const struct {
        const char *definitions, *reason;
    } wrong[] = {
        {"-DSYMBOL=c4_usx_ops -DMORE=0 -DNEWER=0 -DNAME='\"ucx\"'", "libc4_ucx.so has no symbol c4_ucx_ops"},
        {"-DSYMBOL=c4_ucx_ops -DMORE=8 -DNEWER=0 -DNAME='\"ucx\"'",
         "libc4_ucx.so is of another version of C4 (table 1 of"},
        {"-DSYMBOL=c4_ucx_ops -DMORE=0 -DNEWER=1 -DNAME='\"ucx\"'",
         "libc4_ucx.so is of another version of C4 (table 2 of"},
        {"-DSYMBOL=c4_ucx_ops -DMORE=0 -DNEWER=0 -DNAME='\"dove\"'", "libc4_ucx.so holds the transport \"dove\""},
    };
    const unsigned *which = c4test_arg();
    make_module(wrong[*which].definitions, "");
    C4TEST_CONTAINS(load(c4test_dir()), wrong[*which].reason);
}

static void test_no_library_at_all(void)
{
    write_source("libc4_ucx.so", "text\n");
    const char *reason = load(c4test_dir());
    C4TEST_CONTAINS(reason, "libc4_ucx.so: ");
    CU_ASSERT(strstr(strstr(reason, "libc4_ucx.so") + 1, "libc4_ucx.so") == NULL); /* the file is named once */
}

/* What ranks tell one another: never another order. */
static void test_order(void)
{
    static const char *const names[] = {"loop", "shm", "verbs", "ucx", "tcp"};
    for (int i = 0; i < 5; i++) {
        C4TEST_INT(c4_transport_index(names[i]), i);
        C4TEST_STRING(c4_transports[i].name, names[i]);
    }
    C4TEST_INT(c4_transport_index("pigeon"), -1);
    CU_ASSERT_PTR_NULL(c4_transports[5].name);
    CU_ASSERT_PTR_NULL(c4_builtin_transport_find("ucx"));
}

int main(int argc, char **argv)
{
    static const unsigned which[] = {0, 1, 2, 3};
    static const c4test_case cases[] = {C4TEST(not_installed),
                                        C4TEST(loads),
                                        C4TEST(relative_path),
                                        C4TEST(missing_library),
                                        C4TEST_WITH("other_symbol", test_wrong_modules, 20, &which[0]),
                                        C4TEST_WITH("other_size", test_wrong_modules, 20, &which[1]),
                                        C4TEST_WITH("other_abi", test_wrong_modules, 20, &which[2]),
                                        C4TEST_WITH("other_name", test_wrong_modules, 20, &which[3]),
                                        C4TEST(no_library_at_all),
                                        C4TEST(order),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
