/* What this transport calls of libibverbs, as a table: a test puts a stand-in for a device there, or calls that fail. What
 * libibverbs keeps in ibv_context.ops (poll_cq, post_send, post_recv, post_srq_recv, req_notify_cq) goes through the context. */
#ifndef C4_TRANSPORTS_VERBS_CALLS_H
#define C4_TRANSPORTS_VERBS_CALLS_H

#include <infiniband/verbs.h>

typedef struct c4_verbs_calls {
    struct ibv_device **(*get_device_list)(int *count);
    void (*free_device_list)(struct ibv_device **list);
    struct ibv_context *(*open_device)(struct ibv_device *device);
    int (*close_device)(struct ibv_context *context);
    int (*query_device)(struct ibv_context *context, struct ibv_device_attr *attributes);
    int (*query_port)(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attributes);
    ssize_t (*query_gids)(struct ibv_context *context, struct ibv_gid_entry *entries, size_t most);
    struct ibv_pd *(*alloc_pd)(struct ibv_context *context);
    int (*dealloc_pd)(struct ibv_pd *pd);
    struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *context);
    int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
    struct ibv_cq *(*create_cq)(struct ibv_context *context, int entries, void *cq_context,
                                struct ibv_comp_channel *channel, int vector);
    int (*destroy_cq)(struct ibv_cq *cq);
    int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context);
    void (*ack_cq_events)(struct ibv_cq *cq, unsigned count);
    struct ibv_srq *(*create_srq)(struct ibv_pd *pd, struct ibv_srq_init_attr *attributes);
    int (*destroy_srq)(struct ibv_srq *srq);
    struct ibv_qp *(*create_qp)(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes);
    int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attributes, int mask);
    /* What mlx5 alone can: see mlx5.h. EOPNOTSUPP with all others. */
    int (*modify_qp_udp_sport)(struct ibv_qp *qp, uint16_t udp_sport);
    int (*destroy_qp)(struct ibv_qp *qp);
    struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *pointer, size_t bytes, int access);
    int (*dereg_mr)(struct ibv_mr *mr);
    int (*get_async_event)(struct ibv_context *context, struct ibv_async_event *event);
    void (*ack_async_event)(struct ibv_async_event *event);
} c4_verbs_calls;

/* libibverbs, and what devices can beyond it. */
extern const c4_verbs_calls c4_verbs_real_calls;

/* Whom modules call that open from now on; set by tests, before any does. */
extern const c4_verbs_calls *c4_verbs_calls_in_use;

#endif
