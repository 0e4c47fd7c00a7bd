/*
 * wheel.h: hierarchical timer wheel, one per core. 1 ms tick, 4 levels of 256 slots: 49 days.
 *
 * A timer holds its true deadline; moving it later costs one store (the node is found too early,
 * compared and put back). Due timers are handed out one by one; nothing is called.
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
	bool draining;
	uint64_t busy[4][4]; /* a bit for each slot that may hold nodes */
	struct list slot[4][256];
	struct list due;     /* reached, being handed out */
	struct list late;    /* armed when already due: join due when the next drain begins */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void timer_init(struct timer *t);
/* Arms or moves. A deadline that has passed fires in the next drain of wheel_next, not in the one that is
 * going on: a timer that is always armed for now cannot hold the loop. due_ms 0 counts as 1. */
void timer_arm(struct wheel *w, struct timer *t, uint64_t due_ms);
void timer_stop(struct wheel *w, struct timer *t);
/* Moves time on and returns the next due timer (disarmed, in no list), or NULL when none is left, which
 * ends this drain. Timers come about in the order of their deadlines; those that were late, first. */
struct timer *wheel_next(struct wheel *w, uint64_t now_ms);
/* A time not later than the earliest deadline, or now_ms if that has passed; UINT64_MAX when nothing is
 * armed. May be early by up to 1/256 of the distance and more after timers were moved later. */
uint64_t wheel_hint_ms(const struct wheel *w);

#endif
