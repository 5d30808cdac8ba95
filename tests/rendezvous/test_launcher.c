#include "rendezvous/launcher.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "comm/options.h"
#include "rendezvous/launcher_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/node_list.h"
#include "rendezvous/process.h"
#include "rendezvous/rank_list.h"
#include "rendezvous/rendezvous_options.h"
#include "tests/c4test.h"

static const char hex_key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

static c4_status detect(c4_launch *launch)
{
    static const c4_option_table *const tables[] = {&c4_rendezvous_option_table, &c4_comm_option_table};
    c4_options *options = NULL;
    C4TEST_OK_FATAL(c4_options_create(tables, 2, NULL, &options));
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
    C4TEST_STRING(launch.file, "");
    setenv("C4_RENDEZVOUS", "file:///shared/meet", 1);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_STRING(launch.file, "///shared/meet");
    C4TEST_INT(launch.naddresses, 0);
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
    refuse("C4_RENDEZVOUS", "file:here", C4_ERR_OPTION,
           "C4_RENDEZVOUS=file:here: expected file:/PATH, an absolute path");
    refuse("C4_RENDEZVOUS", "file:", C4_ERR_OPTION, "an absolute path");
    refuse("C4_RENDEZVOUS", ":80", C4_ERR_OPTION, "expected HOST:PORT");
    refuse("C4_RENDEZVOUS", "host:0", C4_ERR_OPTION, "expected HOST:PORT");
    refuse("C4_RENDEZVOUS", "::1:80", C4_ERR_OPTION, "[IPv6]:PORT or file:/PATH");
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
    char number[16], address[C4_NET_ADDRESS_TEXT_BYTES];
    int fd = -1;
    C4TEST_OK_FATAL(c4_listener_open(&spec, &fd, &bound));
    fcntl(fd, F_SETFD, 0);
    set_all();
    setenv("C4_RENDEZVOUS", c4_net_address_format(&bound, address), 1);
    snprintf(number, sizeof number, "%d", fd);
    setenv("C4_RENDEZVOUS_FD", number, 1);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.listen_fd, -1); /* rank 1 */
    setenv("C4_RANK", "0", 1);
    C4TEST_OK_FATAL(detect(&launch));
    CU_ASSERT_FATAL(launch.listen_fd >= 0);
    C4TEST_INT(fcntl(launch.listen_fd, F_GETFD), FD_CLOEXEC);
    C4TEST_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(launch.listen_fd);
    C4TEST_OK_FATAL(detect(&launch)); /* for the next communicator */
    CU_ASSERT(launch.listen_fd >= 0 && launch.listen_fd != fd);
    close(launch.listen_fd);
    int again = -1, other = -1; /* what has the number later is not the listener */
    C4TEST_OK_FATAL(c4_listener_open(&spec, &other, &bound));
    again = other == fd ? fd : dup2(other, fd);
    C4TEST_INT(again, fd);
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

static void *tell_state(void *told)
{
    c4_process *process = told;
    char state[64] = "";
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    while (!strstr(state, ") Z ")) { /* until the main thread is gone */
        FILE *file = fopen(path, "re");
        if (!file || !fgets(state, sizeof state, file))
            _exit(2);
        fclose(file);
    }
    _exit(c4_process_is_alive(process) ? 0 : 1);
}

/* Ended and not reaped is dead; a process whose main thread alone has ended is not. */
static void test_zombie(void)
{
    c4_process *child = c4test_shared(sizeof *child);
    siginfo_t info;
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        c4_process_self(child);
        _exit(0);
    }
    CU_ASSERT_EQUAL_FATAL(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    C4TEST_INT(c4_process_start_ticks((uint32_t)pid), child->start_ticks);
    CU_ASSERT_FALSE(c4_process_is_alive(child));
    waitpid(pid, NULL, 0);
    pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        pthread_t thread;
        c4_process_self(child);
        if (pthread_create(&thread, NULL, tell_state, child) == 0)
            pthread_exit(NULL);
        _exit(3);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    C4TEST_INT(status, 0);
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

/* ---- launchers ---- */

/* "NAME=VALUE NAME=VALUE" */
static void set_words(const char *words)
{
    char copy[1024];
    char *rest = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        setenv(word, equals + 1, 1);
    }
}

static void unset_words(const char *words)
{
    char copy[1024];
    char *rest = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        *strchr(word, '=') = '\0';
        unsetenv(word);
    }
}

#define TORCH \
    "TORCHELASTIC_RUN_ID=none RANK=1 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=h MASTER_PORT=29500"
#define OMPI                                                                                                   \
    "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=2 OMPI_COMM_WORLD_LOCAL_SIZE=4 " \
    "PMIX_NAMESPACE=384827393 PMIX_RANK=2"
#define HYDRA "PMI_RANK=3 PMI_SIZE=4 MPI_LOCALNRANKS=4 MPI_LOCALRANKID=3 C4_JOB_ID=a"
#define FLUX \
    "FLUX_TASK_RANK=1 FLUX_JOB_SIZE=4 FLUX_TASK_LOCAL_ID=1 FLUX_JOB_NNODES=1 FLUX_JOB_ID=f2 PMI_RANK=1 PMI_SIZE=4"
#define SLURM                                                                                                     \
    "SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=4 SLURM_LOCALID=2 SLURM_STEP_NUM_NODES=1 SLURM_JOB_ID=7 " \
    "SLURM_STEP_ID=0 SLURM_STEP_NODELIST=n[1-2]"
#define PALS "PALS_RANKID=3 PALS_APID=p PMI_RANK=3 PMI_SIZE=4 PALS_LOCAL_SIZE=4 PALS_LOCAL_RANKID=3"
#define PMI  "PMI_RANK=1 PMI_SIZE=4 PMI_LOCAL_RANK=1 PMI_LOCAL_SIZE=4 PMI_JOBID=9"

/* Each launcher alone, and inside of those that may have started it. */
static void test_launchers(void)
{
    static const struct {
        const char *words, *outer, *name;
        int rank;
    } rows[] = {
        {TORCH, "", "torchrun", 1},
        {OMPI, "", "Open MPI", 2},
        {HYDRA, "", "Hydra", 3},
        {FLUX, "", "Flux", 1},
        {SLURM, "", "Slurm", 2},
        {PALS, "", "PALS", 3},
        {PMI, "", "PMI", 1},
        {TORCH, SLURM, "torchrun", 1},
        {OMPI, SLURM, "Open MPI", 2},
        {HYDRA, SLURM, "Hydra", 3},
        {FLUX, SLURM, "Flux", 1},
        {TORCH, OMPI, "torchrun", 1},
        {SLURM, PMI, "Slurm", 2},
        {OMPI, FLUX, "Open MPI", 2},
        {"RANK=3 WORLD_SIZE=4 LOCAL_WORLD_SIZE=4 MASTER_ADDR=h MASTER_PORT=29500", SLURM, "a launcher like torchrun",
         3},
        {"C4_RANK=0 C4_NRANKS=4 C4_RENDEZVOUS=127.0.0.1:4711", TORCH, "c4run", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        c4_launch launch = {.launcher = ""};
        set_words(rows[i].outer);
        set_words(rows[i].words);
        C4TEST_OK(detect(&launch));
        C4TEST_STRING(launch.launcher, rows[i].name);
        C4TEST_INT(launch.rank, rows[i].rank);
        C4TEST_INT(launch.nranks, 4);
        CU_ASSERT(launch.rank == 0 || launch.local_rank == launch.rank || i == 14);
        unset_words(rows[i].outer);
        unset_words(rows[i].words);
    }
}

/* The same job gives the same ports, another one others, and C4's variables win. */
static void test_derived(void)
{
    c4_launch one;
    c4_launch two;
    set_words(SLURM);
    C4TEST_OK_FATAL(detect(&one));
    C4TEST_INT(one.nhosts, 1);
    C4TEST_INT(one.guessed, 1);
    C4TEST_INT(one.naddresses, 3);
    C4TEST_INT(one.listen_fd, -1);
    CU_ASSERT(c4_net_address_is_loopback(&one.addresses[0]));
    CU_ASSERT(one.addresses[0].port >= 61440);
    C4TEST_INT(one.addresses[2].port, one.addresses[0].port + 2);
    setenv("SLURM_PROCID", "3", 1);
    C4TEST_OK_FATAL(detect(&two));
    CU_ASSERT(two.job_id == one.job_id && two.addresses[0].port == one.addresses[0].port);
    setenv("SLURM_STEP_ID", "1", 1);
    C4TEST_OK_FATAL(detect(&two));
    CU_ASSERT(two.job_id != one.job_id);
    setenv("C4_RENDEZVOUS_PORT", "4711", 1);
    C4TEST_OK_FATAL(detect(&two));
    C4TEST_INT(two.naddresses, 1);
    C4TEST_INT(two.addresses[0].port, 4711);
    setenv("C4_RENDEZVOUS", "127.0.0.1:4712", 1);
    C4TEST_OK_FATAL(detect(&two));
    C4TEST_INT(two.addresses[0].port, 4712);
    C4TEST_INT(two.guessed, 0);
    unsetenv("C4_RENDEZVOUS");
    unsetenv("C4_RENDEZVOUS_PORT");
    setenv("SLURM_STEP_ID", "4294967291", 1); /* an sbatch script */
    C4TEST_INT(detect(&two), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "no launcher found");
    set_words("SLURM_STEP_ID=0 SLURM_STEP_NUM_NODES=2 C4_INSECURE=1");
    refuse("SLURM_STEP_NODELIST", "n[1", C4_ERR_OPTION,
           "SLURM_STEP_NODELIST=n[1: expected a list of hosts like node[01-16,20]");
    refuse("SLURM_PROCID", "4", C4_ERR_OPTION, "SLURM_PROCID=4: expected a whole number in 0..3");
    refuse("SLURM_STEP_NODELIST", "localhost", C4_ERR_UNREACHABLE,
           "here that is this host itself, and the job has several");
    setenv("C4_SETUP_TIMEOUT_MS", "100", 1);
    refuse("SLURM_STEP_NODELIST", "no-such-host.invalid", C4_ERR_UNREACHABLE,
           "Slurm says that rank 0 is on no-such-host.invalid, which cannot be resolved");
    refuse("C4_INSECURE", "0", C4_ERR_OPTION,
           "Slurm runs this job on several hosts, which need a key: make one with (umask 077;");
}

/* Rank 0 takes what is free behind MASTER_PORT, and says what to do when nothing is. */
static void test_taken_ports(void)
{
    c4_listen_spec spec = {.bind = {.family = 4, .bytes = {127, 0, 0, 1}}};
    c4_net_address bound;
    c4_launch launch;
    int held[3] = {-1, -1, -1};
    unsigned master = 0;
    for (unsigned port = 21000 + (unsigned)getpid() % 9000; !master; port++) { /* three in a row that are free */
        master = port;
        for (unsigned i = 0; i < 3 && master; i++) {
            spec.bind.port = (uint16_t)(port + 1 + i);
            if (c4_listener_open(&spec, &held[i], &bound) < 0) {
                while (i-- > 0)
                    close(held[i]);
                master = 0;
                break;
            }
        }
    }
    char text[16];
    snprintf(text, sizeof text, "%u", master);
    set_words(TORCH);
    setenv("RANK", "0", 1);
    setenv("LOCAL_RANK", "0", 1);
    setenv("MASTER_PORT", text, 1);
    C4TEST_INT(detect(&launch), C4_ERR_PORTS);
    C4TEST_CONTAINS(c4_fail_text(), "all ports of this job (one for all ranks may be set: C4_RENDEZVOUS_PORT)=");
    close(held[1]);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.addresses[0].port, master + 2);
    C4TEST_INT(launch.guessed, 0);
    CU_ASSERT(launch.listen_fd >= 0);
    close(launch.listen_fd);
    close(held[0]);
    close(held[2]);
    setenv("RANK", "1", 1);
    setenv("MASTER_PORT", "65533", 1);
    C4TEST_OK_FATAL(detect(&launch));
    C4TEST_INT(launch.addresses[0].port, 65530);
    refuse("MASTER_PORT", "0", C4_ERR_OPTION, "MASTER_PORT=0: expected a port, 1..65535");
    refuse("MASTER_PORT", "x", C4_ERR_OPTION, "MASTER_PORT=x: expected a port");
}

/* Without an id from the launcher: who holds the other end of PMI_FD. */
static void test_pmi_server(void)
{
    c4_launch launch;
    char number[16];
    int pair[2];
    set_words(HYDRA);
    unsetenv("C4_JOB_ID");
    refuse("PMI_FD", NULL, C4_ERR_OPTION,
           "Hydra does not tell this job from others: give all ranks the same C4_JOB_ID");
    refuse("PMI_FD", "99", C4_ERR_OPTION, "does not tell this job from others");
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(number, sizeof number, "%d", pair[1]);
    setenv("PMI_FD", number, 1);
    C4TEST_OK_FATAL(detect(&launch));
    uint64_t job = launch.job_id;
    C4TEST_OK_FATAL(detect(&launch));
    CU_ASSERT_EQUAL(launch.job_id, job);
    setenv("MPI_LOCALNRANKS", "2", 1);
    setenv("MPI_LOCALRANKID", "1", 1);
    C4TEST_INT(detect(&launch), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(),
                    "Hydra runs this job on several hosts and does not tell where rank 0 is: give all ranks "
                    "C4_RENDEZVOUS=HOST:PORT");
    C4TEST_CONTAINS(c4_fail_text(), "(mpiexec -genv NAME VALUE)");
    close(pair[0]);
    close(pair[1]);
}

static void test_node_list(void)
{
    static const struct {
        const char *list, *first; /* NULL: refused */
    } rows[] = {
        {"node7", "node7"},
        {"n[1-2]", "n1"},
        {"node[001-016,20]", "node001"},
        {"node[20,001-016],other", "node20"},
        {"a,b", "a"},
        {"rack[0-1]n[03-4]-ib.example.org", "rack0n03-ib.example.org"},
        {"[7-9]", "7"},
        {"x[5]y,z", "x5y"},
        {"", NULL},
        {",a", NULL},
        {"n[", NULL},
        {"n[]", NULL},
        {"n[1", NULL},
        {"n[1-]", NULL},
        {"n[-1]", NULL},
        {"n[1,]", NULL},
        {"n[1]]", NULL},
        {"n]1", NULL},
        {"n[a]", NULL},
        {"n 1", NULL},
        {"n[1 2]", NULL},
        {"$(id)", NULL},
    };
    char host[32];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(host, sizeof host, "kept");
        C4TEST_INT(c4_node_list_first(rows[i].list, host, sizeof host), rows[i].first != NULL);
        C4TEST_STRING(host, rows[i].first ? rows[i].first : "kept");
    }
    CU_ASSERT_FALSE(c4_node_list_first("12345678", host, 8));
    CU_ASSERT_TRUE(c4_node_list_first("1234567", host, 8));
}

static void test_kubernetes(void)
{
    char host[64];
    CU_ASSERT_TRUE(c4_kubernetes_first("train-7", "7", "svc", host, sizeof host));
    C4TEST_STRING(host, "train-0.svc");
    CU_ASSERT_TRUE(c4_kubernetes_first("my-train-12.svc.ns.svc.cluster.local", "12", "", host, sizeof host));
    C4TEST_STRING(host, "my-train-0.svc.ns.svc.cluster.local");
    CU_ASSERT_FALSE(c4_kubernetes_first("train-7", "7", "", host, sizeof host)); /* no service */
    CU_ASSERT_FALSE(c4_kubernetes_first("train-7", "8", "svc", host, sizeof host));
    CU_ASSERT_FALSE(c4_kubernetes_first("train17", "7", "svc", host, sizeof host));
    CU_ASSERT_FALSE(c4_kubernetes_first("7", "7", "svc", host, sizeof host));
    CU_ASSERT_FALSE(c4_kubernetes_first("train-7", "7", "svc", host, 8));
    set_words("JOB_COMPLETION_INDEX=3 C4_KEY_FILE=x");
    unsetenv("C4_KEY_FILE");
    refuse("C4_NRANKS", NULL, C4_ERR_OPTION, "C4_NRANKS is not set");
    setenv("C4_NRANKS", "4", 1);
    refuse("C4_INSECURE", "1", C4_ERR_OPTION, "cannot tell the name of pod 0; give the pod template a `subdomain`");
    refuse("C4_INSECURE", "0", C4_ERR_OPTION, "(NAME=VALUE in the env of the pod template)");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(good),       C4TEST(bad),         C4TEST(key_file),   C4TEST(inherited_listener),
        C4TEST(process),    C4TEST(zombie),      C4TEST(rank_list),  C4TEST(launchers),
        C4TEST(derived),    C4TEST(taken_ports), C4TEST(pmi_server), C4TEST(node_list),
        C4TEST(kubernetes), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
