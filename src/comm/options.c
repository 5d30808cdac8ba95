#include "comm/options.h"

static const c4_option_spec specs[] = {
    {"C4_TRANSPORTS", C4_OPTION_LIST, C4_OPTION_AGREE, "shm,verbs,tcp", NULL, NULL,
     "Transports to use, best first; see `c4info transports`. The default leaves out verbs where there is no RDMA "
     "device, "
     "and with C4_TLS=on."},
    {"C4_REQUIRE_TRANSPORT", C4_OPTION_STRING, C4_OPTION_AGREE, "", NULL, NULL,
     "Transport that all ranks must reach one another by: else set-up fails and says why. Where C4_TRANSPORTS is not "
     "set, "
     "the only one."},
    {"C4_MODULE_PATH", C4_OPTION_STRING, 0, "", NULL, NULL,
     "Directories (absolute, with colons between) where transports that are modules are looked for before c4/ beside "
     "libc4."},
    {"C4_ALGO", C4_OPTION_STRING, C4_OPTION_AGREE, "", NULL, "NCCL_ALGO",
     "Algorithm: a name for every collective that has it, or \"all_reduce:ring,broadcast:tree\"; empty: choose."},
    {"C4_CHUNK_BYTES", C4_OPTION_BYTES, C4_OPTION_AGREE, "0", "0..1G", NULL,
     "Chunk size of pipelined algorithms; 0: the algorithm's own."},
    {"C4_DETERMINISTIC", C4_OPTION_BOOL, C4_OPTION_AGREE, "0", NULL, NULL,
     "Reduce in rank order whatever the layout and transport: the same bits on any cluster, at the cost of speed."},
    {"C4_MAP", C4_OPTION_BOOL, C4_OPTION_AGREE, "1", NULL, NULL,
     "Let peers on this host read and write c4_mem_alloc memory directly."},
    {"C4_PROGRESS", C4_OPTION_ENUM, 0, "inline", "inline|thread", NULL,
     "Who moves operations that nobody waits for: calls into the library, or a thread of it."},
    {"C4_SPIN_POLLS", C4_OPTION_INT, 0, "-1", "-1..1000000000", NULL,
     "Rounds of polls (0.1 us each) before a waiting rank yields its core; -1: 20000 with a core per rank, else none."},
    {"C4_YIELD_US", C4_OPTION_INT, 0, "200", "0..1000000000", NULL,
     "Microseconds a waiting rank yields before it sleeps in the kernel."},
    {"C4_TIMEOUT_MS", C4_OPTION_MS, 0, "0", "0..86400000", "NCCL_TIMEOUT",
     "Deadline of every operation; 0: none, a slow peer is not a dead one."},
    {"C4_TUNING_FILE", C4_OPTION_STRING, 0, "", NULL, "NCCL_TUNER_CONFIG_FILE",
     "Table of algorithm choices as `c4perf --tune` writes it; must have the same content on all ranks."},
    {"C4_CPU", C4_OPTION_ENUM, 0, "auto", "auto|scalar|avx2|avx512", NULL,
     "Instruction set of reductions; every one gives the same bits."},
};

const c4_option_table c4_comm_option_table = {"comm", specs, sizeof specs / sizeof specs[0]};
