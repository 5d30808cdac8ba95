#include "transports/verbs/mlx5.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

typedef struct mlx5_calls {
    bool (*is_supported)(struct ibv_device *device);
    int (*modify_qp_udp_sport)(struct ibv_qp *qp, uint16_t udp_sport);
} mlx5_calls;

static mlx5_calls calls;

/* libibverbs has loaded libmlx5 if a device needs it: then it is found under its name, and else there is nothing to ask it.
 * Looked up and not linked, so that nobody has to have it; it was given this call in rdma-core 30. */
static void look_up(void)
{
    void *library = dlopen("libmlx5.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    if (library == NULL)
        return;
    /* POSIX lets a pointer from dlsym be called, ISO C does not let it be converted. */
    *(void **)&calls.is_supported = dlsym(library, "mlx5dv_is_supported");
    *(void **)&calls.modify_qp_udp_sport = dlsym(library, "mlx5dv_modify_qp_udp_sport");
    dlclose(library);
}

int c4_verbs_mlx5_set_udp_sport(struct ibv_qp *qp, uint16_t udp_sport)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_up);
    if (calls.is_supported == NULL || calls.modify_qp_udp_sport == NULL || !calls.is_supported(qp->context->device))
        return EOPNOTSUPP;
    return calls.modify_qp_udp_sport(qp, udp_sport);
}
