#include "schedule/builders.h"

void c4_duplex_open(c4_duplex *d, c4_builder *b, bool eager)
{
    *d = (c4_duplex){.b = b, .eager = eager, .done_loop = UINT32_MAX};
    d->send_lane = c4_builder_lane(b);
    d->receive_lane = eager ? d->send_lane : c4_builder_lane(b);
    d->send_loop = c4_builder_loop(b, d->send_lane);
    d->receive_loop = eager ? d->send_loop : c4_builder_loop(b, d->receive_lane);
}

void c4_duplex_close(c4_duplex *d)
{
    if (d->b->status < 0 || d->eager)
        return;
    /* Gates count in iterations of the other lane's loop: both must run equally often. */
    c4_builder_iterations(d->b, d->send_loop, d->b->loops[d->receive_loop].iterations);
    c4_builder_iterations(d->b, d->receive_loop, d->b->loops[d->send_loop].iterations);
}

void c4_duplex_next(c4_duplex *d)
{
    c4_duplex_close(d);
    if (d->b->status < 0)
        return;
    if (d->b->loops[d->receive_loop].nsteps > 0)
        d->done_loop = d->receive_loop;
    d->send_loop = c4_builder_loop(d->b, d->send_lane);
    d->receive_loop = d->eager ? d->send_loop : c4_builder_loop(d->b, d->receive_lane);
}

void c4_duplex_gate_send(c4_duplex *d)
{
    if (d->b->status < 0 || d->eager)
        return;
    uint32_t position = d->b->loops[d->receive_loop].nsteps;
    if (position > 0)
        c4_step_gate_iteration(d->b, d->receive_loop, position);
    else if (d->done_loop != UINT32_MAX)
        c4_step_gate_loop(d->b, d->done_loop);
}

void c4_duplex_gate_receive(c4_duplex *d)
{
    if (d->b->status < 0 || d->eager)
        return;
    uint32_t position = d->b->loops[d->send_loop].nsteps;
    if (position > 0)
        c4_step_gate_iteration(d->b, d->send_loop, position);
}
