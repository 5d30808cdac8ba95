/* What mlx5 devices can beyond verbs. */
#ifndef C4_TRANSPORTS_VERBS_MLX5_H
#define C4_TRANSPORTS_VERBS_MLX5_H

#include <infiniband/verbs.h>

/* The UDP source port of a connected RoCE v2 queue pair from now on. 0 or errno; EOPNOTSUPP: the device, its kernel driver or
 * the library for it cannot. */
int c4_verbs_mlx5_set_udp_sport(struct ibv_qp *qp, uint16_t udp_sport);

#endif
