/* What tests ask of the stand-in: what is alive, and that something goes wrong. */
#include "tests/transports/verbs/standin_internal.h"

unsigned standin_alive(standin_object kind)
{
    pthread_mutex_lock(&standin.lock);
    unsigned alive = standin.alive[kind];
    pthread_mutex_unlock(&standin.lock);
    return alive;
}

unsigned standin_alive_in_all(void)
{
    unsigned alive = 0;
    for (int kind = 0; kind < STANDIN_OBJECTS; kind++)
        alive += standin_alive((standin_object)kind);
    return alive;
}

void standin_fail(unsigned nth, unsigned times, int error)
{
    pthread_mutex_lock(&standin.lock);
    standin.fail_in = nth;
    standin.fail_times = times;
    standin.fail_error = error;
    standin.failed = standin.fail_only = NULL;
    pthread_mutex_unlock(&standin.lock);
}

void standin_fail_only(const char *call)
{
    pthread_mutex_lock(&standin.lock);
    standin.fail_only = call;
    pthread_mutex_unlock(&standin.lock);
}

const char *standin_failed(void)
{
    return standin.failed;
}

void standin_port(unsigned device, bool up)
{
    struct ibv_async_event event = {.element.port_num = 1,
                                    .event_type = up ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR};
    pthread_mutex_lock(&standin.lock);
    standin.devices[device].up = up;
    for (standin_context *context = standin.contexts; context != NULL; context = context->next)
        if (standin_index_of(&context->base) == device)
            standin_async_event(context, event);
    pthread_mutex_unlock(&standin.lock);
}

void standin_mtu(unsigned device, enum ibv_mtu mtu)
{
    pthread_mutex_lock(&standin.lock);
    standin.devices[device].mtu = mtu;
    pthread_mutex_unlock(&standin.lock);
}

void standin_remove(unsigned device)
{
    struct ibv_async_event event = {.event_type = IBV_EVENT_DEVICE_FATAL};
    pthread_mutex_lock(&standin.lock);
    standin.devices[device].gone = true;
    for (unsigned i = 0; i < STANDIN_MAX_QPS; i++)
        if (standin.qps[i] != NULL && standin_index_of(standin.qps[i]->base.context) == device)
            standin_qp_break(standin.qps[i]);
    for (standin_context *context = standin.contexts; context != NULL; context = context->next)
        if (standin_index_of(&context->base) == device) {
            standin_async_event(context, event);
            standin_events_hang_up(&context->events);
        }
    for (standin_channel *channel = standin.channels; channel != NULL; channel = channel->next)
        if (standin_index_of(channel->base.context) == device)
            standin_events_hang_up(&channel->events);
    pthread_mutex_unlock(&standin.lock);
}

uint32_t standin_flow_label(const struct ibv_qp *qp)
{
    return ((const standin_qp *)qp)->flow_label;
}

uint16_t standin_udp_sport(const struct ibv_qp *qp)
{
    return ((const standin_qp *)qp)->udp_sport;
}
