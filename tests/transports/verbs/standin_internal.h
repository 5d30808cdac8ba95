/* The stand-in's objects. All of them are used under its one lock. */
#ifndef C4_TESTS_TRANSPORTS_VERBS_STANDIN_INTERNAL_H
#define C4_TESTS_TRANSPORTS_VERBS_STANDIN_INTERNAL_H

#include <pthread.h>

#include "base/rng.h"
#include "tests/transports/verbs/standin.h"

#define STANDIN_MAX_INLINE 256u
#define STANDIN_MAX_QPS    512u
#define STANDIN_MAX_MRS    8192u
#define STANDIN_FIRST_QPN  0x11u

typedef struct standin_device {
    struct ibv_device base;
    bool up, gone;
    enum ibv_mtu mtu;
} standin_device;

/* A queue of events behind a descriptor that is readable while there are some. */
typedef struct standin_events {
    int fd; /* eventfd, a semaphore */
    unsigned count;
    bool hung_up; /* the device has gone: readable for ever, as the kernel's are */
    union {
        struct ibv_cq *cqs[64];
        struct ibv_async_event async[64];
    } of;
} standin_events;

typedef struct standin_context {
    struct ibv_context base;
    struct standin_context *next;
    standin_events events;
} standin_context;

typedef struct standin_channel {
    struct ibv_comp_channel base;
    struct standin_channel *next;
    standin_events events;
} standin_channel;

typedef struct standin_completion {
    struct ibv_wc wc;
    uint64_t serial, done; /* of a send: which queue pair, how many of its requests are done then; 0: of a receive */
} standin_completion;

typedef struct standin_cq {
    struct ibv_cq base;
    standin_completion *ring;
    unsigned first, count, nqps, unacked;
    bool armed;
} standin_cq;

typedef struct standin_receive {
    uint64_t wr_id;
    struct ibv_sge piece;
} standin_receive;

typedef struct standin_srq {
    struct ibv_srq base;
    standin_receive *ring;
    unsigned capacity, first, count, nqps;
} standin_srq;

typedef struct standin_request {
    uint64_t wr_id;
    enum ibv_wr_opcode opcode;
    unsigned flags;
    struct ibv_sge piece; /* of inline data: where it is in `data` */
    uint64_t remote_address;
    uint32_t rkey;
    unsigned char data[STANDIN_MAX_INLINE];
} standin_request;

typedef struct standin_qp {
    struct ibv_qp base;
    struct standin_qp *next_pending;
    bool pending; /* has requests to be carried out */
    uint64_t serial;
    struct ibv_qp_cap cap;
    standin_srq *receives, own; /* an SRQ, or its own */
    standin_request *ring;
    uint64_t posted, done, retired; /* requests; retired: the user has seen that they are done */
    int access;
    union ibv_gid to_gid;
    uint32_t to_qpn, rq_psn, sq_psn, flow_label;
    uint16_t udp_sport; /* 0: nobody has set it */
    enum ibv_mtu mtu;
} standin_qp;

typedef struct standin_world {
    pthread_mutex_t lock;
    standin_setup setup;
    standin_device devices[STANDIN_DEVICES];
    standin_context *contexts;
    standin_channel *channels;
    standin_qp *qps[STANDIN_MAX_QPS];
    struct ibv_mr *mrs[STANDIN_MAX_MRS];
    uint64_t serials; /* of queue pairs and keys */
    standin_qp *pending;
    unsigned alive[STANDIN_OBJECTS];
    unsigned narmed; /* completion queues */
    unsigned fail_in, fail_times;
    int fail_error;
    const char *failed, *fail_only;
    c4_rng rng;
} standin_world;

extern standin_world standin;

/* ---- standin.c ---- */

/* 0, or the errno with which the call is to fail. */
int standin_try(const char *call);
/* The user has broken a rule. */
_Noreturn void standin_misused(const char *rule);
union ibv_gid standin_gid(unsigned device, unsigned index);
void standin_event_put(standin_events *events); /* of[count] has been filled in */
void standin_events_hang_up(standin_events *events);
void standin_async_event(standin_context *context, struct ibv_async_event event);
unsigned standin_index_of(const struct ibv_context *context); /* of its device */

/* ---- standin_queues.c ---- */

int standin_poll_cq(struct ibv_cq *cq, int most, struct ibv_wc *wc);
int standin_req_notify_cq(struct ibv_cq *cq, int solicited_only);
int standin_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int standin_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
int standin_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
/* What it has to do comes back undone. */
void standin_qp_break(standin_qp *qp);
/* Nobody hears what has become of its requests, nor of the buffers that it has received into. */
void standin_completions_drop(const standin_qp *qp);
/* No request of it is carried out any more. */
void standin_qp_forget(standin_qp *qp);

#endif
