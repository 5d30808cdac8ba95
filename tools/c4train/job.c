#include "tools/c4train/job.h"

#include "base/options.h"
#include "base/status.h"
#include "tools/c4train/message.h"

static c4_status open_alone(c4_comm **comm)
{
    c4_unique_id id;
    C4_TRY(c4_unique_id_create(&id));
    return c4_comm_create(&id, 1, 0, NULL, NULL, comm);
}

c4_status c4_train_job_open(c4_train_job *job)
{
    c4_train_job opened = {0};
    c4_status status =
        c4_env_get("C4_RANK") ? c4_comm_create_from_env(NULL, NULL, &opened.comm) : open_alone(&opened.comm);
    C4_TRY(c4_train_job_check(&opened, status, "joining the job"));
    C4_TRY_GOTO(c4_comm_rank(opened.comm, &opened.rank), fail);
    C4_TRY_GOTO(c4_comm_size(opened.comm, &opened.nranks), fail);
    *job = opened;
    return C4_OK;
fail:
    c4_train_job_close(&opened, status);
    return status;
}

void c4_train_job_close(c4_train_job *job, c4_status status)
{
    if (status < 0 && job->comm)
        c4_comm_abort(job->comm);
    c4_comm_destroy(job->comm);
    *job = (c4_train_job){0};
}

c4_status c4_train_job_check(const c4_train_job *job, c4_status status, const char *what)
{
    if (status < 0)
        c4_train_fail(status, "rank %d: %s: %s; %s", job->rank, what, c4_last_error(job->comm),
                      c4_status_advice(status));
    return status;
}

/* Status and rank in one number, so that one reduction tells both: statuses are above -1000. */
c4_status c4_train_job_agree(const c4_train_job *job, c4_status status)
{
    int64_t own = status < 0 ? (int64_t)status * 0x100000000 - job->rank : 0, worst = own;
    C4_TRY(c4_train_job_check(job, c4_all_reduce(&own, &worst, 1, C4_INT64, C4_MIN, job->comm, NULL), "agreeing"));
    if (worst == 0)
        return C4_OK;
    int64_t failed = -worst;
    c4_status theirs = (c4_status)(-(failed / 0x100000000));
    if (status >= 0)
        return c4_train_fail(theirs, "rank %d: stopping, because rank %lld failed", job->rank,
                             (long long)(failed % 0x100000000));
    return status;
}

c4_status c4_train_job_same(const c4_train_job *job, uint64_t value, const char *what)
{
    uint64_t range[2] = {value, ~value}; /* the largest value and, inverted, the smallest */
    c4_status status = c4_all_reduce(range, range, 2, C4_UINT64, C4_MAX, job->comm, NULL);
    C4_TRY(c4_train_job_check(job, status, "comparing"));
    if (range[0] == ~range[1])
        return C4_OK;
    return c4_train_fail(C4_ERR_PROTOCOL, "rank %d: ranks differ in %s (here %016llx)", job->rank, what,
                         (unsigned long long)value);
}

c4_status c4_train_job_broadcast(const c4_train_job *job, void *data, size_t bytes)
{
    c4_status status = c4_broadcast(data, data, bytes, C4_UINT8, 0, job->comm, NULL);
    return c4_train_job_check(job, status, "broadcasting from rank 0");
}

size_t c4_train_job_first(const c4_train_job *job, int rank, size_t total)
{
    return total * (size_t)rank / (size_t)job->nranks;
}
