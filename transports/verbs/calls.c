#include "transports/verbs/calls.h"

#include "transports/verbs/mlx5.h"

/* These are macros or inline in the header, and have no address. */
static int query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attributes)
{
    return ibv_query_port(context, port, attributes);
}

static ssize_t query_gids(struct ibv_context *context, struct ibv_gid_entry *entries, size_t most)
{
    return ibv_query_gid_table(context, entries, most, 0);
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *pointer, size_t bytes, int access)
{
    return ibv_reg_mr(pd, pointer, bytes, (unsigned)access);
}

const c4_verbs_calls c4_verbs_real_calls = {
    .get_device_list = ibv_get_device_list,
    .free_device_list = ibv_free_device_list,
    .open_device = ibv_open_device,
    .close_device = ibv_close_device,
    .query_device = ibv_query_device,
    .query_port = query_port,
    .query_gids = query_gids,
    .alloc_pd = ibv_alloc_pd,
    .dealloc_pd = ibv_dealloc_pd,
    .create_comp_channel = ibv_create_comp_channel,
    .destroy_comp_channel = ibv_destroy_comp_channel,
    .create_cq = ibv_create_cq,
    .destroy_cq = ibv_destroy_cq,
    .get_cq_event = ibv_get_cq_event,
    .ack_cq_events = ibv_ack_cq_events,
    .create_srq = ibv_create_srq,
    .destroy_srq = ibv_destroy_srq,
    .create_qp = ibv_create_qp,
    .modify_qp = ibv_modify_qp,
    .modify_qp_udp_sport = c4_verbs_mlx5_set_udp_sport,
    .destroy_qp = ibv_destroy_qp,
    .reg_mr = reg_mr,
    .dereg_mr = ibv_dereg_mr,
    .get_async_event = ibv_get_async_event,
    .ack_async_event = ibv_ack_async_event,
};

const c4_verbs_calls *c4_verbs_calls_in_use = &c4_verbs_real_calls;
