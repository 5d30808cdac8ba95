#include "transports/shm/distance.h"

#include "base/clock.h"

/* Reference machine (Zen 4): 140-160 ns far (a flag, which is two trips, takes 240), 40-50 near. */
#define NEAR_NS 90u
#define FAR_NS  110u
/* To read 64 KiB that the writer stored plainly: 3 to 8 us near, also from memory; 30 far. */
#define SLOW_NS 16000u

static uint32_t ns_to_ticks(uint64_t ns)
{
    return (uint32_t)(ns * c4_tsc_hz() / 1000000000u);
}

void c4_shm_distance_init(c4_shm_distance *distance)
{
    *distance = (c4_shm_distance){.near_ticks = ns_to_ticks(NEAR_NS),
                                  .far_ticks = ns_to_ticks(FAR_NS),
                                  .slow_ticks = ns_to_ticks(SLOW_NS),
                                  .lowest = UINT32_MAX,
                                  .least_rate = UINT64_MAX};
}

void c4_shm_distance_report(c4_shm_distance *distance, uint32_t measured)
{
    uint32_t ticks = c4_shm_distance_ticks(measured);
    if (ticks <= distance->far_ticks && ticks >= distance->near_ticks)
        return;
    bool far = ticks > distance->far_ticks;
    if (far != (distance->votes > 0))
        distance->votes = 0;
    if (distance->votes < C4_SHM_VOTES && distance->votes > -C4_SHM_VOTES)
        distance->votes += far ? 1 : -1;
    /* The first vote stands until others disagree: a wrong guess costs more than a doubtful one. */
    if (!distance->known || distance->votes == C4_SHM_VOTES || distance->votes == -C4_SHM_VOTES)
        distance->far = far;
    distance->known = true;
}

static void window_end(c4_shm_distance *distance, uint32_t ticks)
{
    uint32_t number = (distance->measured >> 20) + 1;
    distance->measured = number << 20 | ticks;
    c4_shm_distance_report(distance, distance->measured);
}

void c4_shm_distance_sample(c4_shm_distance *distance, uint64_t ticks)
{
    uint64_t most = c4_shm_distance_ticks(UINT32_MAX);
    if (ticks < distance->lowest)
        distance->lowest = (uint32_t)(ticks < most ? ticks : most);
    if (++distance->samples < C4_SHM_WINDOW)
        return;
    window_end(distance, distance->lowest);
    distance->samples = 0;
    distance->lowest = UINT32_MAX;
}

void c4_shm_distance_rate(c4_shm_distance *distance, size_t bytes, uint64_t ticks)
{
    uint64_t rate = ticks * 65536 / bytes;
    if (rate < distance->least_rate)
        distance->least_rate = rate;
    if (++distance->rates < C4_SHM_WINDOW)
        return;
    if (distance->least_rate > distance->slow_ticks)
        window_end(distance, distance->far_ticks + 1);
    distance->rates = 0;
    distance->least_rate = UINT64_MAX;
}
