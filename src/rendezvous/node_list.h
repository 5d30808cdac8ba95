/* Slurm's compressed lists of hosts: "node[01-16,20],rack[0-1]n[1-4],login". */
#ifndef C4_RENDEZVOUS_NODE_LIST_H
#define C4_RENDEZVOUS_NODE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The first host of the list: the first number of each of its brackets, with its leading zeros. False, and `host`
 * untouched, when the text up to the first comma outside brackets is not such a list or `bytes` do not hold the host.
 * Host names are letters, digits, '-', '.' and '_'. */
bool c4_node_list_first(const char *list, char *host, size_t bytes);

#endif
