/* One job over several hosts: a c4run on each, started through ssh, which takes its orders from standard input:
 *
 *     key HEX, id TEXT, env NAME=VALUE   what must not be on a command line
 *     listen [HOST[:PORT]]               host 0: listens and prints "c4run-rendezvous HOST:PORT"
 *     rendezvous HOST:PORT               the others
 *     start
 *     signal N, end                      any time later; the end of the input is "end" too */
#ifndef C4_TOOLS_C4RUN_HOSTS_H
#define C4_TOOLS_C4RUN_HOSTS_H

#include "tools/c4run/job.h"

/* ---- where --hosts was given ---- */

/* Makes job->children out of --hosts. 0, or the exit status with the message printed. */
int c4run_hosts_parse(c4run_job *job);
/* Starts them all. 0, or 1 with the message printed. */
int c4run_hosts_start(c4run_job *job);
void c4run_order_signal(const c4run_child *child, int number);
void c4run_order_end(const c4run_job *job);

/* ---- on each host ---- */

/* Reads up to "start". 0, or 1 with the message printed. */
int c4run_orders_start(c4run_job *job);
/* Obeys what has come since. */
void c4run_orders_read(c4run_job *job);

#endif
