/* Lanes: each goes through its loops until a step must wait; all lanes of an operation take turns. */
#include "engine/internal.h"

/* Steps a lane may take before the others get a turn: keeps what one lane produced in cache for the next, and lets
 * frames arrive while others are written. */
#define LANE_TURN 2

static inline bool gate_open(const c4_operation *op, const c4_step *step, uint32_t iteration)
{
    uint64_t need = c4_step_gate(step, iteration);
    return need == 0 || op->lanes[step->gate_lane].completed >= need;
}

static inline void lane_advance(c4_lane_state *lane, const c4_loop *loop)
{
    lane->completed++;
    if (++lane->step < loop->nsteps)
        return;
    lane->step = 0;
    if (++lane->iteration < loop->iterations)
        return;
    lane->iteration = 0;
    lane->loop++;
}

/* One turn. C4_OK: something moved. */
static c4_status lane_run(c4_engine *engine, c4_operation *op, uint32_t index)
{
    const c4_schedule *schedule = op->schedule;
    const c4_lane *program = &schedule->lanes[index];
    c4_lane_state *lane = &op->lanes[index];
    c4_status moved = C4_IN_PROGRESS;
    for (unsigned turn = 0; turn < LANE_TURN; turn++) {
        if (lane->loop == program->nloops) {
            lane->done = true;
            op->lanes_left--;
            return C4_OK;
        }
        const c4_loop *loop = &schedule->loops[program->first_loop + lane->loop];
        if (loop->iterations == 0 || loop->nsteps == 0) {
            lane->loop++;
            continue;
        }
        const c4_step *step = &schedule->steps[loop->first_step + lane->step];
        uint64_t offset, bytes;
        if (c4_step_range(step, lane->iteration, &offset, &bytes)) {
            if (!gate_open(op, step, lane->iteration))
                return moved;
            c4_status status = c4_step_run(engine, op, index, step, offset, bytes);
            if (status != C4_OK) {
                c4_trace_blocked(op, lane);
                return status < 0 ? status : moved;
            }
            if (lane->blocked_polls)
                c4_trace_unblocked(op, lane);
        }
        lane_advance(lane, loop);
        moved = C4_OK;
    }
    return moved;
}

bool c4_lanes_run(c4_engine *engine, c4_operation *op)
{
    bool any = false, moved;
    do {
        moved = false;
        for (uint32_t i = 0; i < op->schedule->nlanes; i++) {
            if (op->lanes[i].done)
                continue;
            c4_status status = lane_run(engine, op, i);
            if (status < 0) {
                c4_operation_fail(engine, op, status);
                return true;
            }
            moved |= status == C4_OK;
        }
        any |= moved;
    } while (moved && op->lanes_left);
    return any;
}
