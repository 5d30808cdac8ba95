#include "diag/sources/standing.h"

#include "schedule/schedule.h"

bool c4_standing_is_collective(const c4_record_operation *operation)
{
    return operation->kind != C4_KIND_SEND && operation->kind != C4_KIND_RECV;
}

/* The next older operation of `comm`, entry `index` of the table. A ring may be shared, and an entry of the table may
 * have been another communicator's before. */
static bool next_of(c4_record_walk *walk, const c4_record_comm *comm, uint32_t index, c4_record_operation *operation)
{
    while (c4_record_walk_next_operation(walk, operation))
        if (operation->comm == index && operation->call_ticks >= comm->created_ticks)
            return true;
    return false;
}

static bool is_better(const c4_standing *standing, const c4_record_operation *operation)
{
    bool running = operation->state == C4_RECORD_RUNNING;
    if (!standing->has_operation)
        return true;
    if (running != (standing->operation.state == C4_RECORD_RUNNING))
        return running;
    return running ? operation->call_ticks < standing->operation.call_ticks
                   : operation->call_ticks > standing->operation.call_ticks;
}

static void look_at_comm(const c4_record_file *file, const c4_record_comm *comm, uint32_t index, c4_standing *standing)
{
    c4_record_operation operation;
    c4_record_walk walk = c4_record_walk_operations(file, comm->ring);
    while (next_of(&walk, comm, index, &operation)) {
        if (!is_better(standing, &operation))
            continue;
        standing->has_operation = true;
        standing->operation = operation;
        standing->comm = *comm;
    }
}

void c4_standing_read(const c4_record_file *file, c4_standing *standing)
{
    c4_record_comm comm;
    *standing = (c4_standing){.has_comm = false};
    for (uint32_t i = 0; i < c4_record_file_header(file)->comms.count; i++) {
        if (!c4_record_file_comm(file, i, &comm))
            continue;
        if (!standing->has_operation && (!standing->has_comm || comm.created_ticks > standing->comm.created_ticks))
            standing->comm = comm;
        standing->has_comm = true;
        look_at_comm(file, &comm, i, standing);
    }
}

bool c4_standing_reached(const c4_record_file *file, uint32_t comm_id, c4_record_comm *comm, uint32_t *sequence)
{
    c4_record_comm candidate;
    uint32_t index = 0;
    bool found = false;
    for (uint32_t i = 0; i < c4_record_file_header(file)->comms.count; i++) {
        if (!c4_record_file_comm(file, i, &candidate) || candidate.comm_id != comm_id ||
            (found && candidate.created_ticks < comm->created_ticks))
            continue;
        *comm = candidate;
        index = i;
        found = true;
    }
    if (!found)
        return false;
    *sequence = 0;
    c4_record_operation operation;
    c4_record_walk walk = c4_record_walk_operations(file, comm->ring);
    while (next_of(&walk, comm, index, &operation))
        if (c4_standing_is_collective(&operation) && operation.sequence > *sequence)
            *sequence = operation.sequence;
    return true;
}
