#include "transports/verbs/completion.h"

#include <errno.h>

/* What a failed request means here. */
static const struct {
    enum ibv_wc_status status;
    int error;
    const char *means;
} meanings[] = {
    {IBV_WC_RETRY_EXC_ERR, ETIMEDOUT,
     "the peer's NIC does not answer: its port or the way there is down, or the GID is wrong"},
    {IBV_WC_RNR_RETRY_EXC_ERR, ENOBUFS, "the peer had no buffer posted"},
    {IBV_WC_REM_ACCESS_ERR, ECANCELED, "the peer has taken the memory back"},
    {IBV_WC_REM_OP_ERR, EREMOTEIO, "the peer's NIC has failed"},
    {IBV_WC_REM_INV_REQ_ERR, EPROTO, "the peer's NIC has refused the request"},
    {IBV_WC_LOC_LEN_ERR, EMSGSIZE, "a message is longer than its buffer"},
    {IBV_WC_LOC_PROT_ERR, EFAULT, "this process's memory is not registered any more"},
    {IBV_WC_FATAL_ERR, EIO, "the device has failed"},
};

void c4_verbs_completion_failed(c4_verbs_link *link, const struct ibv_wc *wc)
{
    int error = ECONNRESET;
    const char *means = "the request failed";
    if (wc->status == IBV_WC_WR_FLUSH_ERR || link->broken != 0) { /* the first one says why */
        c4_verbs_link_break(link, ECONNRESET);
        return;
    }
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].status == wc->status) {
            error = meanings[i].error;
            means = meanings[i].means;
        }
    C4_VERBS_LOG(link->module, C4_TLOG_INFO, "verbs: link %u to rank %d on %s:%u: %s (%s, vendor code 0x%x)",
                 link->base.index, link->base.peer, link->rail->port.device, link->rail->port.number, means,
                 ibv_wc_status_str(wc->status), wc->vendor_err);
    link->rail->nerrors++;
    c4_verbs_link_break(link, error);
}
