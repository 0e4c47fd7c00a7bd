/*
 * wheel.h: hierarchical timer wheel, one per core. 1 ms tick, 4 levels of 256 slots: 49 days.
 *
 * A timer holds its true deadline; moving it later costs one store (the node is found too early,
 * compared and put back). Due timers are handed out in a list; nothing is called.
 * Time is an argument: milliseconds of any monotonic clock.
 */
#ifndef VEREDUS_WHEEL_H
#define VEREDUS_WHEEL_H

#include <stdint.h>
#include "list.h"

struct timer {
	struct list node;
	uint64_t due_ms;    /* 0 = not armed */
	uint64_t placed_ms; /* the slot it sits in */
};

struct wheel {
	uint64_t now_ms;
	uint32_t n; /* nodes linked */
	struct list slot[4][256];
	struct list due;
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void timer_init(struct timer *t);
/* Arms or moves. due_ms in the past fires at the next advance. */
void timer_arm(struct wheel *w, struct timer *t, uint64_t due_ms);
void timer_stop(struct wheel *w, struct timer *t);
/* Moves time on and returns the next due timer (disarmed, in no list), or NULL when none is left. */
struct timer *wheel_next(struct wheel *w, uint64_t now_ms);
/* A time not later than the earliest deadline; UINT64_MAX when nothing is armed. */
uint64_t wheel_hint_ms(const struct wheel *w);

#endif
