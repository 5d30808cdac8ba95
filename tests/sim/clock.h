/* Simulated time: the program is linked so that the library's clock_gettime ends here (-Wl,--wrap=clock_gettime). */
#ifndef C4_TESTS_SIM_CLOCK_H
#define C4_TESTS_SIM_CLOCK_H

#include <stdint.h>

/* While a simulation runs, CLOCK_MONOTONIC stands still at this value; 0: the real clock. */
extern uint64_t sim_clock_ns;

#endif
