/* Two doctors: keys that agree and keys that do not, strangers, a path that loses large packets; and the command line. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/tools/test_c4train_text.h"
#include "tools/c4info/doctor.h"
#include "tools/c4info/reach.h"

static const c4_netif loopback = {.name = "lo", .family = 4, .ip = {127, 0, 0, 1}, .loopback = true, .running = true};
static const unsigned char key[32] = "the one key";
static const unsigned char other_key[32] = "another key";

static int accept_on(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    poll(&poller, 1, -1);
    return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* A doctor that serves one connection with `own`; its exit status is the stage that it came to. */
static pid_t serve_one(const unsigned char *own, struct sockaddr_storage *address)
{
    int port;
    c4info_reach result;
    int fd = c4info_listen_at(&loopback, 0, 0, &port);
    CU_ASSERT_FATAL(fd >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        c4info_reach_serve(accept_on(fd), own, c4test_seconds(10) * 1000, &result);
        _exit((int)result.stage);
    }
    close(fd);
    c4info_netif_sockaddr(&loopback, port, address);
    return pid;
}

static int end_of(pid_t pid)
{
    int status;
    CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static c4info_reach talk(const unsigned char *server, const unsigned char *client, int *server_stage)
{
    struct sockaddr_storage address;
    c4info_reach result;
    pid_t pid = serve_one(server, &address);
    c4info_reach_run(&address, client, c4test_seconds(10) * 1000, &result);
    *server_stage = end_of(pid);
    return result;
}

static void test_keys(void)
{
    int server;
    c4info_reach result = talk(key, key, &server);
    C4TEST_INT(result.stage, C4INFO_REACH_DONE);
    C4TEST_INT(server, C4INFO_REACH_DONE);
    C4TEST_STRING(result.local, "127.0.0.1");
    result = talk(NULL, NULL, &server); /* C4_INSECURE=1 on both */
    CU_ASSERT(result.stage == C4INFO_REACH_DONE && server == C4INFO_REACH_DONE);
    static const unsigned char *const pairs[][2] = {{key, other_key}, {key, NULL}, {NULL, key}};
    for (int i = 0; i < 3; i++) {
        result = talk(pairs[i][0], pairs[i][1], &server);
        C4TEST_INT(result.stage, C4INFO_REACH_HANDSHAKE);
        CU_ASSERT(server == C4INFO_REACH_HANDSHAKE && result.reason[0] != '\0');
    }
}

static void test_nobody_listens(void)
{
    struct sockaddr_storage address;
    c4info_reach result;
    int port, fd = c4info_listen_at(&loopback, 0, 0, &port);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    c4info_netif_sockaddr(&loopback, port, &address);
    c4info_reach_run(&address, key, 5000, &result);
    CU_ASSERT(result.stage == C4INFO_REACH_CONNECT && result.error == ECONNREFUSED);
}

/* A listener that never says anything: the kernel takes the connection. */
static void test_silent_listener(void)
{
    struct sockaddr_storage address;
    c4info_reach result;
    int port, fd = c4info_listen_at(&loopback, 0, 0, &port);
    CU_ASSERT_FATAL(fd >= 0);
    c4info_netif_sockaddr(&loopback, port, &address);
    c4info_reach_run(&address, key, 200, &result);
    CU_ASSERT(result.stage == C4INFO_REACH_HANDSHAKE && result.error == ETIMEDOUT && !result.refused);
    close(fd);
}

static void test_ports_taken(void)
{
    int port, other, fd = c4info_listen_at(&loopback, 0, 0, &port);
    CU_ASSERT_FATAL(fd >= 0);
    C4TEST_INT(c4info_listen_at(&loopback, port, port, &other), -1);
    C4TEST_INT(errno, EADDRINUSE);
    close(fd);
    c4_netif foreign = loopback;
    memcpy(foreign.ip, (const unsigned char[]){203, 0, 113, 7}, 4);
    C4TEST_INT(c4info_listen_at(&foreign, 0, 0, &other), -1);
    C4TEST_INT(errno, EADDRNOTAVAIL);
}

/* ---- a path with a wrong MTU: what is small passes, the rest vanishes ---- */

static void forward(int from, int to, size_t *total)
{
    char data[4096];
    ssize_t got = recv(from, data, sizeof data, 0);
    if (got <= 0)
        _exit(0);
    *total += (size_t)got;
    if (*total <= 1000 && send(to, data, (size_t)got, MSG_NOSIGNAL) != got)
        _exit(1);
}

static pid_t lossy_path(const struct sockaddr_storage *to, struct sockaddr_storage *address)
{
    int port, fd = c4info_listen_at(&loopback, 0, 0, &port);
    CU_ASSERT_FATAL(fd >= 0);
    c4info_netif_sockaddr(&loopback, port, address);
    pid_t pid = fork();
    if (pid == 0) {
        size_t up = 0, down = 0;
        struct pollfd pollers[2] = {{.events = POLLIN}, {.events = POLLIN}};
        pollers[0].fd = accept_on(fd);
        pollers[1].fd = c4info_connect(to, 5000);
        for (;;) {
            poll(pollers, 2, -1);
            if (pollers[0].revents)
                forward(pollers[0].fd, pollers[1].fd, &up);
            if (pollers[1].revents)
                forward(pollers[1].fd, pollers[0].fd, &down);
        }
    }
    close(fd);
    return pid;
}

static void test_large_packets_vanish(void)
{
    struct sockaddr_storage server, path;
    c4info_reach result;
    pid_t doctor = serve_one(key, &server), proxy = lossy_path(&server, &path);
    c4info_reach_run(&path, key, 2000, &result);
    C4TEST_INT(result.stage, C4INFO_REACH_DATA);
    C4TEST_INT(result.error, ETIMEDOUT);
    CU_ASSERT(end_of(doctor) == C4INFO_REACH_DATA);
    end_of(proxy);
}

/* ---- the command ---- */

static const char *program(void)
{
    static char path[PATH_MAX];
    char name[4096];
    snprintf(name, sizeof name, "%s/tools/c4info/c4info", c4test_build_root());
    if (!realpath(name, path))
        C4TEST_SKIP("%s is not built", name);
    return path;
}

/* Exit status; output in the files out and err. */
static int info(const char *arguments)
{
    char line[9000];
    snprintf(line, sizeof line, "cd '%s' && '%s' %s >out 2>err </dev/null", c4test_dir(), program(), arguments);
    int status = system(line);
    CU_ASSERT_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void assert_said(const char *file, const char *part)
{
    char *text = c4_text_read(c4test_path(file), NULL);
    C4TEST_CONTAINS(text, part);
    free(text);
}

static void set_key(const char *digit)
{
    char text[65];
    memset(text, *digit, 64);
    text[64] = '\0';
    setenv("C4_KEY", text, 1);
}

/* `c4info doctor --listen` in the background; returns the port that it says. */
static FILE *start_listener(const char *more, int *port)
{
    char line[9000], said[512] = "";
    snprintf(line, sizeof line, "exec '%s' doctor --listen %s 2>&1", program(), more);
    FILE *pipe = popen(line, "re");
    CU_ASSERT_FATAL(pipe != NULL && fgets(said, sizeof said, pipe) != NULL);
    const char *at = strstr(said, ", port ");
    CU_ASSERT_FATAL(at != NULL && sscanf(at, ", port %d", port) == 1);
    C4TEST_CONTAINS(said, "on the other host: c4info doctor --peers 127.0.0.1:");
    return pipe;
}

static int end_listener(FILE *pipe, const char *part)
{
    char text[4096];
    size_t got = fread(text, 1, sizeof text - 1, pipe);
    text[got] = '\0';
    C4TEST_CONTAINS(text, part);
    int status = pclose(pipe);
    CU_ASSERT_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void quiet_machine(void)
{
    setenv("C4_SOCKET_IFNAME", "lo", 1);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
}

static void test_two_doctors(void)
{
    char arguments[128];
    int port;
    quiet_machine();
    set_key("a");
    FILE *listener = start_listener("--count 1 --seconds 100", &port);
    snprintf(arguments, sizeof arguments, "doctor --all --peers 127.0.0.1:%d", port);
    info(arguments);
    snprintf(arguments, sizeof arguments, "127.0.0.1:%d is reached", port);
    assert_said("out", arguments);
    C4TEST_INT(end_listener(listener, "127.0.0.1: reached this host"), 0);

    listener = start_listener("--count 1 --seconds 100", &port);
    set_key("b");
    snprintf(arguments, sizeof arguments, "doctor --peers localhost --port %d", port);
    C4TEST_INT(info(arguments), 1);
    assert_said("out", "fix: the same key file (C4_KEY_FILE)");
    C4TEST_INT(end_listener(listener, "the handshake failed"), 1);
}

static void test_listening_ends(void)
{
    int port;
    quiet_machine();
    set_key("a");
    FILE *listener = start_listener("--seconds 1", &port);
    C4TEST_INT(end_listener(listener, "0 reached this host"), 1);
}

static void test_command_line(void)
{
    static const struct {
        const char *arguments, *message;
    } cases[] = {
        {"doctor --listen", "need the same key"},
        {"doctor --peers x:1", "need the same key"},
        {"host --all", "--all, --peers, --listen and --port are for `c4info doctor`"},
        {"doctor --seconds 3", "--seconds and --count are for `c4info doctor --listen`"},
        {"doctor --listen --json", "--listen goes without"},
        {"doctor --dry-run", "--dry-run and --older-than are for `c4info clean`"},
        {"clean --older-than x", "--older-than 'x': expected a time"},
        {"doctor --port 70000", "--port '70000': expected a whole number in 1..65535"},
        {"doctor --peesr x", "did you mean --peers?"},
    };
    quiet_machine();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        C4TEST_INT(info(cases[i].arguments), 2);
        assert_said("err", cases[i].message);
    }
    setenv("C4_INSECURE", "1", 1);
    static const char *const wrong[] = {"x", ":4711", "h:0", "h:99999", "'[::1'", "'[::1]x'", "h:4x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "doctor --peers %s", wrong[i]);
        C4TEST_INT(info(arguments), 2);
        assert_said("err", "expected HOST:PORT");
    }
    C4TEST_INT(info("doctor --peers [::1]:1,127.0.0.1:1"), 1);
    assert_said("out", "[::1]:1");
    assert_said("out", "127.0.0.1:1 refused the connection");
}

static void test_doctor_output(void)
{
    quiet_machine();
    setenv("C4_TCP_SOKETS", "1", 1);
    C4TEST_INT(info("doctor --no-color"), 1);
    assert_said("out", "warn  variables");
    assert_said("out", "fix: set C4_TCP_SOCKETS instead");
    assert_said("out", "(--all shows these, too)");
    char *text = c4_text_read(c4test_path("out"), NULL);
    CU_ASSERT(strstr(text, "\nok ") == NULL && strchr(text, '\033') == NULL);
    free(text);
    C4TEST_INT(info("doctor --all"), 1);
    assert_said("out", "ok    listen");
}

static void test_clean_command(void)
{
    quiet_machine();
    C4TEST_INT(info("clean --dry-run"), 0);
    assert_said("out", "nothing was removed: --dry-run");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(keys),
        C4TEST(nobody_listens),
        C4TEST(silent_listener),
        C4TEST(ports_taken),
        C4TEST(large_packets_vanish),
        C4TEST_DEADLINE(two_doctors, 60),
        C4TEST(listening_ends),
        C4TEST_DEADLINE(command_line, 60),
        C4TEST(doctor_output),
        C4TEST(clean_command),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
