/* Not a test: the program whose instructions tests/record/test_recorder_cost.sh counts. recorder_cost CALLS OPTIONS: a
 * job of one rank, CALLS all-reduces of 8 bytes after a warm-up that settles programs and caches. (The record of a call
 * costs the same whatever the number of ranks; with peers, waiting loops would count.) */
#include <c4/c4.h>
#include <stdlib.h>

/* What callgrind counts (--toggle-collect): only the calls. */
__attribute__((noinline)) c4_status counted_calls(c4_comm *comm, int n);
__attribute__((noinline)) c4_status counted_calls(c4_comm *comm, int n)
{
    double value = 1;
    c4_status status = C4_OK;
    for (int i = 0; i < n && status == C4_OK; i++)
        status = c4_all_reduce(&value, &value, 1, C4_FLOAT64, C4_MAX, comm, NULL);
    return status;
}

int main(int argc, char **argv)
{
    c4_unique_id id;
    c4_comm *comm;
    if (argc != 3)
        return 2;
    c4_comm_config config = {.struct_size = sizeof config, .options = argv[2]};
    double value = 1;
    if (c4_unique_id_create(&id) || c4_comm_create(&id, 1, 0, &config, NULL, &comm))
        return 1;
    for (int i = 0; i < 10; i++)
        if (c4_all_reduce(&value, &value, 1, C4_FLOAT64, C4_MAX, comm, NULL))
            return 1;
    if (counted_calls(comm, atoi(argv[1])))
        return 1;
    return c4_comm_destroy(comm) ? 1 : 0;
}
