/* What a launcher has told this process through its environment: rank, rank count, where rank 0 is, the key.
 *
 * C4's own variables are for every launcher, and what they say always wins:
 *
 *     C4_RANK, C4_NRANKS              who this process is; c4run sets both
 *     C4_LOCAL_RANK, C4_LOCAL_NRANKS  on this host; -1 when not told
 *     C4_RENDEZVOUS=HOST:PORT         where rank 0 listens
 *     C4_RENDEZVOUS=file:/PATH        a file that all ranks can reach and no two jobs share: rank 0 writes there where it listens
 *     C4_RENDEZVOUS_FD                rank 0 under c4run: a socket that listens there already
 *     C4_RENDEZVOUS_PORT              the port alone, where the launcher tells the host
 *     C4_KEY (64 hexadecimal digits), or the file named by C4_KEY_FILE
 *     C4_JOB_ID                       any text; tells jobs apart
 *
 * Otherwise the first of these whose variables are set: launchers that other launchers start come before these. (In an
 * allocation of Slurm, for example, what mpirun starts has Slurm's variables, too, but for its own daemons.)
 *
 *     launcher    known by                             rank, rank count                 host of rank 0, on several hosts
 *     c4run       C4_RANK                              C4_RANK C4_NRANKS                C4_RENDEZVOUS
 *     torchrun    TORCHELASTIC_RUN_ID RANK WORLD_SIZE  RANK WORLD_SIZE                  MASTER_ADDR
 *     Open MPI    OMPI_COMM_WORLD_RANK                 OMPI_COMM_WORLD_{RANK,SIZE}      PMIx
 *     Hydra       PMI_RANK PMI_SIZE MPI_LOCALNRANKS    PMI_RANK PMI_SIZE                C4_RENDEZVOUS
 *     like torch  RANK WORLD_SIZE MASTER_ADDR          RANK WORLD_SIZE                  MASTER_ADDR
 *                 MASTER_PORT
 *     Flux        FLUX_TASK_RANK FLUX_JOB_SIZE         FLUX_TASK_RANK FLUX_JOB_SIZE     PMIx (-o pmi=pmix), C4_RENDEZVOUS
 *     Slurm       SLURM_PROCID SLURM_STEP_ID           SLURM_PROCID SLURM_STEP_NUM_TASKS  first of SLURM_STEP_NODELIST
 *     PALS        PALS_RANKID PALS_APID                PALS_RANKID PALS_SIZE, PMI_SIZE  C4_RENDEZVOUS
 *     PMIx        PMIX_RANK PMIX_NAMESPACE             from the PMIx server             PMIx
 *     PMI         PMI_RANK PMI_SIZE                    PMI_RANK PMI_SIZE                C4_RENDEZVOUS
 *     Kubernetes  JOB_COMPLETION_INDEX                 that, and C4_NRANKS              pod 0 of this pod's job
 *
 * A job that its launcher says is on one host meets at 127.0.0.1, or, without a key, at a same-user socket. Ports: one of
 * the three from MASTER_PORT + 1 on where there is a MASTER_PORT (it is torch's own store that holds MASTER_PORT), else
 * of the three from 61440 + hash of the job's id % 4094 on. Rank 0 takes one that is free; the others try all three,
 * and the job's id tells them when they have met another job. C4_RENDEZVOUS_PORT is one port instead.
 *
 * PMIx: rank 0 listens on any free port and puts its address and a fresh key, and the others get them; a key of the
 * user's is used instead. libpmix is opened at run time, when the table says so and C4_RENDEZVOUS is not set.
 *
 * Jobs of several hosts need a key: C4_KEY_FILE, or PMIx's. */
#ifndef C4_RENDEZVOUS_LAUNCHER_H
#define C4_RENDEZVOUS_LAUNCHER_H

#include <c4/c4.h>
#include <stdbool.h>

#include "base/options.h"
#include "host/key.h"
#include "wire/unique_id.h"

typedef struct c4_launch {
    const char *launcher; /* "c4run"; static */
    int rank, nranks;
    int local_rank, local_nranks;
    int nhosts; /* 1; 2: two or more; 0: not told */
    uint64_t job_id;
    bool has_key;
    unsigned char key[C4_KEY_BYTES];
    size_t naddresses;
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
    char file[1024]; /* "/PATH" of C4_RENDEZVOUS=file:/PATH, and then no addresses; "": none */
    bool guessed;    /* see c4_bootstrap_spec */
    int listen_fd;   /* -1: none */
} c4_launch;

/* C4_ERR_OPTION, saying which variable is missing or wrong and how to start the program; C4_ERR_UNREACHABLE when the
 * host of rank 0 cannot be resolved; C4_ERR_PORTS when its ports are taken; C4_ERR_PEER_ERROR when the PMIx server does
 * not answer. `options` must hold the tables of rendezvous and comm (C4_SOCKET_IFNAME, C4_SETUP_TIMEOUT_MS). Blocks on a
 * name look-up when the host is a name, and with PMIx until rank 0 has come, for C4_SETUP_TIMEOUT_MS at most. The caller
 * owns listen_fd. */
c4_status c4_launch_detect(const c4_options *options, c4_launch *launch);

#endif
