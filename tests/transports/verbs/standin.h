/* A stand-in for RDMA devices and libibverbs, so that transports/verbs runs where there are none: RC queue pairs between modules
 * of one process (in threads, or one after the other in one), played with memcpy. It is no device, and says nothing about speed.
 *
 * It is as hard on its user as the specification lets a device be: a request that lags reads its memory late; numbers of queue
 * pairs are used again at once; keys, lengths, states, first packet numbers and the sizes of queues are checked. What would be
 * an error of a program, an overrun completion queue say, ends the process with a message. */
#ifndef C4_TESTS_TRANSPORTS_VERBS_STANDIN_H
#define C4_TESTS_TRANSPORTS_VERBS_STANDIN_H

#include <stdbool.h>
#include <stdint.h>

#include "transports/verbs/calls.h"

#define STANDIN_DEVICES 4u

typedef enum standin_object {
    STANDIN_CONTEXT,
    STANDIN_PD,
    STANDIN_CHANNEL,
    STANDIN_CQ,
    STANDIN_SRQ,
    STANDIN_QP,
    STANDIN_MR,
    STANDIN_OBJECTS
} standin_object;

typedef struct standin_setup {
    unsigned
        ndevices; /* standin0, standin1 ..: at 10.0.0.1, 10.0.0.2 .., all on one network; at most STANDIN_DEVICES */
    unsigned max_inline; /* bytes; at most 256 */
    bool lags;           /* requests are carried out sometime when anybody looks for completions; else when posted */
    uint64_t seed;       /* of when */
    bool sets_udp_sport; /* as mlx5 does */
    bool no_srq;         /* each queue pair has receives of its own */
} standin_setup;

/* c4_verbs_calls_in_use is the stand-in from now on. To be called before any module opens. */
void standin_start(const standin_setup *setup);

/* Objects that have been made and not destroyed. */
unsigned standin_alive(standin_object kind);
unsigned standin_alive_in_all(void);

/* Of all calls but those that give something back or only look, the nth from now on (1: the next one) fails with errno `error`,
 * and those after it, `times` in all. 0 times: none. */
void standin_fail(unsigned nth, unsigned times, int error);
/* Of those only this one counts, until the next standin_fail: "reg_mr". */
void standin_fail_only(const char *call);
/* The first that was made to fail since then: "create_qp"; NULL: none. */
const char *standin_failed(void);

/* What its queue pair was told of its way through the network; a port of 0: nothing. */
uint32_t standin_flow_label(const struct ibv_qp *qp);
uint16_t standin_udp_sport(const struct ibv_qp *qp);

/* From now on its port has this MTU, which nobody is told. */
void standin_mtu(unsigned device, enum ibv_mtu mtu);
/* The port of a device goes down or up; the device is taken away for good. */
void standin_port(unsigned device, bool up);
void standin_remove(unsigned device);

#endif
