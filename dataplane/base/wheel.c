/*
 * wheel.c: four wheels of 256 slots; a slot of level l spans 256^l ms. Hot path: one advance a turn.
 *
 * 1. A linked timer sits in the slot of placed_ms, and placed_ms <= due_ms: it may be found too early
 *    (then it is placed again), never too late.
 * 2. At level l lie timers with placed_ms less than 256^(l+1) ms ahead when they were placed, so the
 *    slot of now itself is empty or one full turn ahead.
 * 3. A slot that holds a node has its bit in busy; a bit may outlive its nodes and is then dropped on
 *    the first visit. The bits let time jump from one event to the next, however far.
 */
#include "wheel.h"
#include "hot.h"

#define LEVELS    4
#define SLOT_BITS 8
#define SLOTS     (1u << SLOT_BITS)
#define SPAN_MAX  ((UINT64_C(1) << (LEVELS * SLOT_BITS)) - 1)

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	w->now_ms = now_ms;
	w->n = 0;
	w->draining = false;
	for (unsigned l = 0; l < LEVELS; l++) {
		for (unsigned i = 0; i < SLOTS; i++)
			list_init(&w->slot[l][i]);
		for (unsigned i = 0; i < SLOTS / 64; i++)
			w->busy[l][i] = 0;
	}
	list_init(&w->due);
	list_init(&w->late);
}

void timer_init(struct timer *t)
{
	list_init(&t->node);
	t->due_ms = 0;
	t->placed_ms = 0;
}

/* Links t, which is in no list, by its due_ms; one that is due already goes to the end of expired. */
static void wheel_place(struct wheel *w, struct timer *t, struct list *expired)
{
	if (t->due_ms <= w->now_ms) {
		t->placed_ms = t->due_ms;
		list_push(expired, &t->node);
		return;
	}
	uint64_t ahead = t->due_ms - w->now_ms;
	if (ahead > SPAN_MAX)
		ahead = SPAN_MAX;
	t->placed_ms = w->now_ms + ahead;

	unsigned level = (63 - (unsigned)__builtin_clzll(ahead)) / SLOT_BITS;
	unsigned i = (t->placed_ms >> (level * SLOT_BITS)) & (SLOTS - 1);
	list_push(&w->slot[level][i], &t->node);
	w->busy[level][i / 64] |= UINT64_C(1) << (i % 64);
}

void timer_arm(struct wheel *w, struct timer *t, uint64_t due_ms)
{
	t->due_ms = due_ms ? due_ms : 1;
	if (!list_empty(&t->node)) {
		if (t->due_ms >= t->placed_ms)
			return;
		list_del(&t->node);
		w->n--;
	}
	wheel_place(w, t, &w->late);
	w->n++;
}

void timer_stop(struct wheel *w, struct timer *t)
{
	if (!list_empty(&t->node)) {
		list_del(&t->node);
		w->n--;
	}
	t->due_ms = 0;
}

/* Distance in slots (1 .. 256) from slot at to the next whose bit is set, or 0 when none is. */
static unsigned busy_ahead(const uint64_t busy[SLOTS / 64], unsigned at)
{
	unsigned from = (at + 1) % SLOTS;

	for (unsigned step = 0; step <= SLOTS / 64; step++) {
		unsigned word = (from / 64 + step) % (SLOTS / 64);
		uint64_t bits = busy[word];
		if (step == 0)
			bits &= ~UINT64_C(0) << (from % 64);
		if (bits) {
			unsigned i = word * 64 + (unsigned)__builtin_ctzll(bits);
			return (i - from) % SLOTS + 1;
		}
	}
	return 0;
}

/* When the next slot with a bit begins; UINT64_MAX when there is none. */
static uint64_t wheel_next_event(const struct wheel *w)
{
	uint64_t first = UINT64_MAX;

	for (unsigned l = 0; l < LEVELS; l++) {
		unsigned shift = l * SLOT_BITS;
		uint64_t turn = w->now_ms >> shift;
		unsigned d = busy_ahead(w->busy[l], turn % SLOTS);
		if (d && (turn + d) << shift < first)
			first = (turn + d) << shift;
	}
	return first;
}

/* Places the nodes of one slot again, by their true deadlines: nearer, or into due. */
static void wheel_empty_slot(struct wheel *w, unsigned level, unsigned i)
{
	struct list *head = &w->slot[level][i], *node;

	w->busy[level][i / 64] &= ~(UINT64_C(1) << (i % 64));
	/* now is the first moment of the slot, so by rule 2 none comes back into it and this ends. */
	while ((node = list_pop(head)))
		wheel_place(w, LIST_ENTRY(node, struct timer, node), &w->due);
}

static void wheel_advance(struct wheel *w, uint64_t now_ms)
{
	while (w->now_ms < now_ms) {
		uint64_t event = wheel_next_event(w);
		if (event > now_ms) {
			w->now_ms = now_ms;
			return;
		}
		w->now_ms = event;
		for (unsigned l = LEVELS; l-- > 0;) {
			unsigned shift = l * SLOT_BITS;
			if ((event & ((UINT64_C(1) << shift) - 1)) == 0)
				wheel_empty_slot(w, l, (event >> shift) % SLOTS);
		}
	}
}

/* What was armed late joins the due list; this and each advance are what begins a drain. */
static void wheel_begin(struct wheel *w)
{
	struct list *node;

	while ((node = list_pop(&w->late)))
		list_push(&w->due, node);
	w->draining = true;
}

struct timer *wheel_next(struct wheel *w, uint64_t now_ms)
{
	struct list *node;

	if (!w->draining || now_ms > w->now_ms)
		wheel_begin(w);
	wheel_advance(w, now_ms);
	while ((node = list_pop(&w->due))) {
		struct timer *t = LIST_ENTRY(node, struct timer, node);
		if (t->due_ms > w->now_ms) {
			wheel_place(w, t, &w->due);
			continue;
		}
		t->due_ms = 0;
		w->n--;
		return t;
	}
	w->draining = false;
	return NULL;
}

uint64_t wheel_hint_ms(const struct wheel *w)
{
	if (w->n == 0)
		return UINT64_MAX;
	if (!list_empty(&w->due) || !list_empty(&w->late))
		return w->now_ms;
	return wheel_next_event(w);
}
