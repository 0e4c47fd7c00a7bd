/* clock.h: the clocks. Only worker/, threads of store/ and programs read them; all else is told. */
#ifndef VEREDUS_CLOCK_H
#define VEREDUS_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, microseconds. */
uint64_t clock_us(void);
/* CLOCK_REALTIME, microseconds since 1970. */
uint64_t clock_wall_us(void);
/* CPU time of the calling thread, nanoseconds. */
uint64_t clock_thread_cpu_ns(void);

#endif
