/* The launchers, inner ones first, and who of them has started this process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "rendezvous/launcher_internal.h"
#include "rendezvous/process.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const c4_launcher launchers[] = {
    {.name = "c4run",
     .detect = {"C4_RANK"},
     .rank = {"C4_RANK"},
     .nranks = {"C4_NRANKS"},
     .local_rank = {"C4_LOCAL_RANK"},
     .local_nranks = {"C4_LOCAL_NRANKS"}},
    {.name = "torchrun",
     .detect = {"TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "MASTER_ADDR"},
     .rank = {"RANK"},
     .nranks = {"WORLD_SIZE"},
     .local_rank = {"LOCAL_RANK"},
     .local_nranks = {"LOCAL_WORLD_SIZE"},
     .job = {"TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT"},
     .host = C4_HOST_MASTER,
     .set = "export NAME=VALUE before torchrun on every host"},
    {.name = "Open MPI",
     .detect = {"OMPI_COMM_WORLD_RANK"},
     .rank = {"OMPI_COMM_WORLD_RANK"},
     .nranks = {"OMPI_COMM_WORLD_SIZE"},
     .local_rank = {"OMPI_COMM_WORLD_LOCAL_RANK"},
     .local_nranks = {"OMPI_COMM_WORLD_LOCAL_SIZE"},
     .job = {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_hnp_uri"},
     .set = "mpirun -x NAME=VALUE"},
    {.name = "Hydra",
     .detect = {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"},
     .rank = {"PMI_RANK"},
     .nranks = {"PMI_SIZE"},
     .local_rank = {"MPI_LOCALRANKID"},
     .local_nranks = {"MPI_LOCALNRANKS"},
     .set = "mpiexec -genv NAME VALUE"},
    {.name = "a launcher like torchrun",
     .detect = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"},
     .rank = {"RANK"},
     .nranks = {"WORLD_SIZE"},
     .local_rank = {"LOCAL_RANK"},
     .local_nranks = {"LOCAL_WORLD_SIZE"},
     .job = {"MASTER_PORT"},
     .host = C4_HOST_MASTER,
     .set = "NAME=VALUE in the environment of every rank"},
    {.name = "Flux",
     .detect = {"FLUX_TASK_RANK", "FLUX_JOB_SIZE"},
     .rank = {"FLUX_TASK_RANK"},
     .nranks = {"FLUX_JOB_SIZE"},
     .local_rank = {"FLUX_TASK_LOCAL_ID"},
     .nhosts = {"FLUX_JOB_NNODES"},
     .job = {"FLUX_JOB_ID"},
     .set = "flux run --env=NAME=VALUE"},
    {.name = "Slurm",
     .detect = {"SLURM_PROCID", "SLURM_STEP_ID"},
     .rank = {"SLURM_PROCID"},
     .nranks = {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"},
     .local_rank = {"SLURM_LOCALID"},
     .nhosts = {"SLURM_STEP_NUM_NODES", "SLURM_NNODES", "SLURM_JOB_NUM_NODES"},
     .job = {"SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "SLURM_CLUSTER_NAME"},
     .host = C4_HOST_SLURM,
     .set = "NAME=VALUE srun, or srun --export=ALL,NAME=VALUE"},
    {.name = "PALS",
     .detect = {"PALS_RANKID", "PALS_APID"},
     .rank = {"PALS_RANKID"},
     .nranks = {"PALS_SIZE", "PMI_SIZE"},
     .local_rank = {"PALS_LOCAL_RANKID"},
     .local_nranks = {"PALS_LOCAL_SIZE", "PMI_LOCAL_SIZE"},
     .job = {"PALS_APID"},
     .set = "mpiexec --env NAME=VALUE"},
    {.name = "PMIx",
     .detect = {"PMIX_RANK", "PMIX_NAMESPACE"},
     .rank = {"PMIX_RANK"},
     .job = {"PMIX_NAMESPACE"},
     .set = "NAME=VALUE in the environment of every rank"},
    {.name = "PMI",
     .detect = {"PMI_RANK", "PMI_SIZE"},
     .rank = {"PMI_RANK"},
     .nranks = {"PMI_SIZE"},
     .local_rank = {"PMI_LOCAL_RANK", "MPI_LOCALRANKID"},
     .local_nranks = {"PMI_LOCAL_SIZE"},
     .job = {"PMI_JOBID"},
     .set = "NAME=VALUE in the environment of every rank"},
    {.name = "Kubernetes",
     .detect = {"JOB_COMPLETION_INDEX"},
     .rank = {"JOB_COMPLETION_INDEX"},
     .nranks = {"C4_NRANKS"},
     .host = C4_HOST_KUBERNETES,
     .set = "NAME=VALUE in the env of the pod template"},
};

const char *c4_launcher_variable(const char *const *names, size_t limit, const char **value)
{
    for (size_t i = 0; i < limit && names[i]; i++)
        if ((*value = c4_env_get(names[i])) != NULL)
            return names[i];
    *value = NULL;
    return NULL;
}

/* A shell of salloc and the script of sbatch are steps, too, of numbers from 0xfffffff0 on, with the variables of a task
 * 0 of many; but nobody has started the others. */
static bool is_special_step(const c4_launcher *launcher)
{
    const char *step = launcher->host == C4_HOST_SLURM ? c4_env_get("SLURM_STEP_ID") : NULL;
    int64_t number = 0;
    return step && c4_parse_int(step, &number) && number >= 0xfffffff0;
}

/* The first variable that is missing; NULL: none. */
static const char *missing_variable(const c4_launcher *launcher)
{
    for (size_t i = 0; i < COUNT(launcher->detect) && launcher->detect[i]; i++)
        if (!c4_env_get(launcher->detect[i]))
            return launcher->detect[i];
    return NULL;
}

const c4_launcher *c4_launcher_find(void)
{
    for (size_t i = 0; i < COUNT(launchers); i++)
        if (!missing_variable(&launchers[i]) && !is_special_step(&launchers[i]))
            return &launchers[i];
    return NULL;
}

const c4_launcher *c4_launcher_explain(size_t index, char reason[C4_LAUNCHER_REASON_BYTES])
{
    const c4_launcher *launcher = index < COUNT(launchers) ? &launchers[index] : NULL;
    const c4_launcher *found = c4_launcher_find();
    if (!launcher)
        return NULL;
    const char *missing = missing_variable(launcher);
    size_t used = 0;
    reason[0] = '\0';
    if (missing)
        snprintf(reason, C4_LAUNCHER_REASON_BYTES, "%s is not set", missing);
    else if (is_special_step(launcher))
        snprintf(
            reason, C4_LAUNCHER_REASON_BYTES,
            "SLURM_STEP_ID=%.16s is a shell of salloc or a script of sbatch, not a task: start the program with srun",
            c4_env_get("SLURM_STEP_ID"));
    else if (launcher != found)
        snprintf(reason, C4_LAUNCHER_REASON_BYTES, "its variables are set, but %s comes first", found->name);
    else
        for (size_t i = 0; i < COUNT(launcher->detect) && launcher->detect[i] && used < C4_LAUNCHER_REASON_BYTES; i++)
            used += (size_t)snprintf(reason + used, C4_LAUNCHER_REASON_BYTES - used, "%s%s=%.40s", i ? ", " : "",
                                     launcher->detect[i], c4_env_get(launcher->detect[i]));
    return launcher;
}

/* A PMI server that names no job: which process holds the other end of the ranks' sockets? One a host and job. */
static bool hash_pmi_server(uint64_t *hash)
{
    const char *text = c4_env_get("PMI_FD");
    int64_t fd = -1;
    struct ucred server;
    socklen_t bytes = sizeof server;
    if (!text || !c4_parse_int(text, &fd) || fd < 0 || fd > INT32_MAX ||
        getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &server, &bytes) < 0 || server.pid <= 0)
        return false;
    uint64_t ticks = c4_process_start_ticks((uint32_t)server.pid); /* a pid returns */
    *hash = c4_hash_bytes(*hash, &server.pid, sizeof server.pid);
    *hash = c4_hash_bytes(*hash, &ticks, sizeof ticks);
    return true;
}

bool c4_launcher_job_id(const c4_launcher *launcher, uint64_t *job_id)
{
    const char *own = c4_env_get("C4_JOB_ID");
    if (own) {
        *job_id = c4_hash_bytes(C4_HASH_INIT, own, strlen(own));
        return true;
    }
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, launcher->name, strlen(launcher->name) + 1);
    bool any = false;
    for (size_t i = 0; i < COUNT(launcher->job) && launcher->job[i]; i++) {
        const char *value = c4_env_get(launcher->job[i]);
        any |= value != NULL;
        value = value ? value : "";
        hash = c4_hash_bytes(hash, value, strlen(value) + 1);
    }
    if (!any && launcher->host != C4_HOST_KUBERNETES)
        any = hash_pmi_server(&hash);
    *job_id = hash;
    return any || launcher->host == C4_HOST_KUBERNETES;
}
