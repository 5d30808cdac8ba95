/* The launcher's PMIx server: a key-value store over all ranks of the job. libpmix is opened at run time. */
#ifndef C4_RENDEZVOUS_PMIX_H
#define C4_RENDEZVOUS_PMIX_H

#include <c4/c4.h>
#include <stddef.h>

typedef struct c4_pmix c4_pmix;

/* This process's connection to the server that the environment names, the same every time; it ends with the process.
 * Programs that use PMIx themselves (MPI) may do so before, meanwhile and after: libpmix counts. C4_ERR_OPTION without
 * libpmix, or when built without PMIx; C4_ERR_SYSTEM when the server does not answer. Blocks. Any thread. */
c4_status c4_pmix_open(c4_pmix **pmix);

c4_status c4_pmix_count_ranks(c4_pmix *pmix, int *nranks, int *local_nranks);

/* Publishes `value` of this rank for all ranks of the job. */
c4_status c4_pmix_put(c4_pmix *pmix, const char *name, const char *value);
/* Waits until `rank` has published it, C4_ERR_TIMEOUT after about timeout_ms (whole seconds, at least one). */
c4_status c4_pmix_get(c4_pmix *pmix, int rank, const char *name, int timeout_ms, char *value, size_t bytes);

#endif
