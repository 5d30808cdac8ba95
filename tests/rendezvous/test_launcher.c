#include "rendezvous/launcher.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "rendezvous/listener.h"
#include "rendezvous/process.h"
#include "rendezvous/rank_list.h"
#include "rendezvous/rendezvous_options.h"
#include "tests/c4test.h"

static const char hex_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

static c4_status detect(c4_launch *launch)
{
    static const c4_option_table *const tables[] = {&c4_rendezvous_option_table};
    c4_options *options = NULL;
    C4TEST_OK_FATAL(c4_options_create(tables, 1, NULL, &options));
    c4_status status = c4_launch_detect(options, launch);
    c4_options_destroy(options);
    return status;
}

static void refuse(const char *name, const char *value, c4_status status, const char *part)
{
    c4_launch launch;
    char kept[256] = "";
    const char *old = getenv(name);
    if (old)
        snprintf(kept, sizeof kept, "%s", old);
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
    C4TEST_INT(detect(&launch), status);
    C4TEST_CONTAINS(c4_fail_text(), part);
    if (old)
        setenv(name, kept, 1);
    else
        unsetenv(name);
}

static void set_all(void)
{
    setenv("C4_RANK", "1", 1);
    setenv("C4_NRANKS", "4", 1);
    setenv("C4_RENDEZVOUS", "127.0.0.1:4711", 1);
}

static void test_good(void)
{
    c4_launch launch;
    set_all();
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_STRING(launch.launcher, "c4run");
    C4TEST_INT(launch.rank, 1);
    C4TEST_INT(launch.nranks, 4);
    C4TEST_INT(launch.local_rank, -1);
    C4TEST_INT(launch.local_nranks, -1);
    C4TEST_INT(launch.has_key, 0);
    C4TEST_INT(launch.listen_fd, -1);
    C4TEST_INT(launch.naddresses, 1);
    C4TEST_INT(launch.addresses[0].port, 4711);
    uint64_t job = launch.job_id;
    setenv("C4_JOB_ID", "other", 1);
    setenv("C4_LOCAL_RANK", "0", 1);
    setenv("C4_LOCAL_NRANKS", "2", 1);
    setenv("C4_KEY", hex_key, 1);
    setenv("C4_RENDEZVOUS", "[::1]:80", 1);
    C4TEST_OK_FATAL(detect(&launch));
    CU_ASSERT_NOT_EQUAL(launch.job_id, job);
    C4TEST_INT(launch.local_rank, 0);
    C4TEST_INT(launch.local_nranks, 2);
    C4TEST_INT(launch.has_key, 1);
    for (int i = 0; i < 32; i++)
        C4TEST_INT(launch.key[i], i);
    C4TEST_INT(launch.addresses[0].family, 6);
    setenv("C4_RENDEZVOUS", "localhost:81", 1);
    C4TEST_OK_FATAL(detect(&launch));
    CU_ASSERT(launch.naddresses >= 1 && c4_net_address_is_loopback(&launch.addresses[0]));
    C4TEST_INT(launch.addresses[0].port, 81);
    unsetenv("C4_RENDEZVOUS");
    setenv("C4_RANK", "0", 1);
    setenv("C4_NRANKS", "1", 1);
    unsetenv("C4_LOCAL_NRANKS");
    C4TEST_OK_FATAL(detect(&launch)); /* alone: nobody to meet */
    C4TEST_INT(launch.naddresses, 0);
}

static void test_bad(void)
{
    refuse("C4_RANK", NULL, C4_ERR_OPTION,
           "no launcher found (C4_RANK is not set): start the program with `c4run -n N");
    set_all();
    refuse("C4_NRANKS", NULL, C4_ERR_OPTION, "C4_NRANKS is not set: start the program with");
    refuse("C4_NRANKS", "0", C4_ERR_OPTION, "C4_NRANKS=0: expected a whole number in 1..65536");
    refuse("C4_NRANKS", "99999999999999999999", C4_ERR_OPTION, "C4_NRANKS=99999999999999999999");
    refuse("C4_RANK", "4", C4_ERR_OPTION, "C4_RANK=4: expected a whole number in 0..3");
    refuse("C4_RANK", "-1", C4_ERR_OPTION, "C4_RANK=-1");
    refuse("C4_LOCAL_RANK", "x", C4_ERR_OPTION, "C4_LOCAL_RANK=x");
    refuse("C4_RENDEZVOUS", NULL, C4_ERR_OPTION, "C4_RENDEZVOUS is not set");
    refuse("C4_RENDEZVOUS", "host", C4_ERR_OPTION, "expected HOST:PORT");
    refuse("C4_RENDEZVOUS", ":80", C4_ERR_OPTION, "expected HOST:PORT");
    refuse("C4_RENDEZVOUS", "host:0", C4_ERR_OPTION, "expected HOST:PORT");
    refuse("C4_RENDEZVOUS", "::1:80", C4_ERR_OPTION, "[IPv6]:PORT");
    refuse("C4_RENDEZVOUS", "no-such-host.invalid:80", C4_ERR_UNREACHABLE, "cannot resolve no-such-host.invalid");
    refuse("C4_KEY", "1234", C4_ERR_OPTION, "C4_KEY must be 64 hexadecimal digits");
    refuse("C4_KEY_FILE", "/nonexistent/key", C4_ERR_OPTION, "C4_KEY_FILE: cannot open /nonexistent/key");
}

static void write_key(const char *path, const char *text, size_t bytes, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, bytes), (ssize_t)bytes);
    CU_ASSERT_EQUAL_FATAL(fchmod(fd, mode), 0);
    close(fd);
}

static void test_key_file(void)
{
    unsigned char key[C4_KEY_BYTES];
    char path[512];
    char text[80];
    snprintf(path, sizeof path, "%s", c4test_path("key"));
    snprintf(text, sizeof text, "%s\n", hex_key);
    write_key(path, text, 65, 0600);
    C4TEST_OK(c4_key_read_file(path, key));
    C4TEST_INT(key[31], 31);
    write_key(path, "0123456789abcdef0123456789abcdef", 32, 0400);
    C4TEST_OK(c4_key_read_file(path, key));
    C4TEST_INT(key[0], '0');
    write_key(path, text, 65, 0640);
    C4TEST_INT(c4_key_read_file(path, key), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "has mode 0640, so others can use the key: chmod 600 /");
    write_key(path, text, 60, 0600);
    C4TEST_INT(c4_key_read_file(path, key), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "must hold 64 hexadecimal digits or 32 bytes");
    C4TEST_INT(c4_key_read_file(c4test_dir(), key), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "not a regular file");
    if (geteuid() == 0) {
        write_key(path, text, 65, 0600);
        CU_ASSERT_EQUAL_FATAL(chown(path, 12345, 0), 0);
        C4TEST_INT(c4_key_read_file(path, key), C4_ERR_OPTION);
        C4TEST_CONTAINS(c4_fail_text(), "belongs to user 12345");
    }
    c4_launch launch;
    set_all();
    write_key(path, text, 65, 0600);
    setenv("C4_KEY_FILE", path, 1);
    C4TEST_OK_FATAL(detect(&launch));
    CU_ASSERT(launch.has_key && launch.key[31] == 31);
}

static void test_inherited_listener(void)
{
    c4_listen_spec spec = {.bind = {.family = 4, .bytes = {127, 0, 0, 1}}};
    c4_net_address bound;
    c4_launch launch;
    char number[16];
    int fd = -1;
    C4TEST_OK_FATAL(c4_listener_open(&spec, &fd, &bound));
    fcntl(fd, F_SETFD, 0);
    set_all();
    snprintf(number, sizeof number, "%d", fd);
    setenv("C4_RENDEZVOUS_FD", number, 1);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.listen_fd, -1); /* rank 1 */
    setenv("C4_RANK", "0", 1);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.listen_fd, fd);
    C4TEST_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.listen_fd, -1);
}

static void test_process(void)
{
    c4_process self;
    c4_process again;
    c4_process other;
    unsigned char bytes[C4_PROCESS_BYTES];
    c4_process_self(&self);
    C4TEST_INT(self.pid, getpid());
    CU_ASSERT(self.start_ticks > 0 && self.pid_namespace > 0 && self.host[0]);
    CU_ASSERT(c4_process_is_alive(&self));
    c4_process_pack(&self, bytes);
    C4TEST_OK(c4_process_unpack(bytes, sizeof bytes, &again));
    CU_ASSERT_EQUAL(memcmp(&self, &again, sizeof self), 0);
    CU_ASSERT(c4_process_same_kernel(&self, &again));
    other = self;
    other.start_ticks++; /* the pid has been given to another process */
    CU_ASSERT_FALSE(c4_process_is_alive(&other));
    other = self;
    other.boot_id[3] ^= 1;
    CU_ASSERT_FALSE(c4_process_same_kernel(&self, &other));
    other = self;
    other.pid_namespace++;
    CU_ASSERT_FALSE(c4_process_same_kernel(&self, &other));
}

static bool in_mask(const void *context, int rank)
{
    return *(const uint64_t *)context >> rank & 1;
}

static void test_rank_list(void)
{
    static const struct {
        uint64_t mask;
        const char *text;
    } rows[] = {{0x8, "rank 3 has"},
                {0x388, "ranks 3, 7-9 have"},
                {0x18, "ranks 3, 4 have"},
                {0xf000000000000001, "ranks 0, 60-63 have"}};
    char text[64];
    for (size_t i = 0; i < 4; i++) {
        C4TEST_INT(c4_rank_list(64, in_mask, &rows[i].mask, text, sizeof text), __builtin_popcountll(rows[i].mask));
        C4TEST_STRING(text, rows[i].text);
    }
    char small[40];
    C4TEST_INT(c4_rank_list(64, in_mask, &(uint64_t){0x5555555555555555}, small, sizeof small), 32);
    C4TEST_CONTAINS(small, ", ... have");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(good),    C4TEST(bad),       C4TEST(key_file), C4TEST(inherited_listener),
        C4TEST(process), C4TEST(rank_list), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
