/*
 * tcp_board.c: the scoreboard: what is in flight as runs of bytes, when each was sent, and whether it
 * has arrived (RFC 2018, 6675 section 3) or counts as lost. Hot path.
 *
 * It decides nothing: tcp_rack.c and tcp_recover.c say what is lost. Invariants: 1. runs cover
 * [snd_una, snd_max) without gaps, ascending; 2. a run is SACKED or LOST or neither, never both;
 * 3. `sacked` and `lost` are the sums of their runs. When the runs are used up, neighbours of the same
 * kind become one with the later of their times; when that does not help, a SACK is forgotten, which
 * costs a retransmission and no more.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

struct tcp_board *tcp_board_get(struct tcp_conn *c)
{
	struct tcp_board *b = c->board;

	if (b)
		return b;
	b = pool_take(&c->core->boards);
	if (!b)
		return NULL;
	memset(b, 0, offsetof(struct tcp_board, run));
	b->fack = c->snd_una;
	if (c->snd_una != c->snd_max)
		b->run[b->n++] = (struct tcp_run){c->snd_max, c->sent_us, 0};
	c->board = b;
	return b;
}

void tcp_board_drop(struct tcp_conn *c)
{
	if (c->board)
		pool_give(&c->core->boards, c->board);
	c->board = NULL;
	tcp_disarm(c, TCP_T_REORDER);
}

static uint32_t begin_of(const struct tcp_board *b, uint32_t una, uint32_t i)
{
	return i ? b->run[i - 1].end : una;
}

/* The run that holds seq, or n. */
static uint32_t find(const struct tcp_board *b, uint32_t seq)
{
	uint32_t lo = 0, hi = b->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (seq_gt(b->run[mid].end, seq))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* Makes one of neighbours in [from, to]: of the same kind and time, or (any) of the same kind. */
static void merge(struct tcp_board *b, uint32_t from, uint32_t to, bool any)
{
	uint32_t k = from;

	if (b->n < 2)
		return;
	to = min32(to, b->n - 1);
	if (from >= to)
		return;
	for (uint32_t i = from + 1; i <= to; i++) {
		struct tcp_run *a = &b->run[k], *r = &b->run[i];
		bool both = (a->flags & r->flags & RUN_SACKED) != 0;
		bool same = ((a->flags ^ r->flags) & ~(uint32_t)RUN_VAGUE) == 0;
		if (both || (same && (any || a->sent_us == r->sent_us))) {
			if (a->sent_us != r->sent_us)
				a->flags |= RUN_VAGUE;
			a->sent_us = seq_max(a->sent_us, r->sent_us);
			a->flags |= r->flags;
			a->end = r->end;
		} else {
			b->run[++k] = *r;
		}
	}
	uint32_t gone = to - k;
	memmove(&b->run[k + 1], &b->run[to + 1], (b->n - to - 1) * sizeof(b->run[0]));
	b->n -= gone;
}

static bool room_for(struct tcp_board *b, uint32_t n)
{
	if (b->n + n > TCP_RUN_MAX)
		merge(b, 0, b->n, true);
	return b->n + n <= TCP_RUN_MAX;
}

/* Run i ends at `at` from now on and a new one begins there. */
static void split(struct tcp_board *b, uint32_t i, uint32_t at)
{
	memmove(&b->run[i + 1], &b->run[i], (b->n - i) * sizeof(b->run[0]));
	b->run[i].end = at;
	b->n++;
}

static void clear(struct tcp_board *b, uint32_t una, uint32_t i, uint32_t flag)
{
	uint32_t len = b->run[i].end - begin_of(b, una, i);

	if (b->run[i].flags & flag & RUN_LOST)
		b->lost -= len;
	if (b->run[i].flags & flag & RUN_SACKED)
		b->sacked -= len;
	b->run[i].flags &= ~flag;
}

/* The runs of [from, to), cut to fit; *n how many. */
static uint32_t carve(struct tcp_board *b, uint32_t una, uint32_t from, uint32_t to, uint32_t *n)
{
	uint32_t i = find(b, from), first;

	*n = 0;
	if (i == b->n)
		return i;
	if (seq_lt(begin_of(b, una, i), from))
		split(b, i++, from);
	first = i;
	while (i < b->n && seq_lt(begin_of(b, una, i), to)) {
		if (seq_gt(b->run[i].end, to))
			split(b, i, to);
		i++;
	}
	*n = i - first;
	return first;
}

/* ---- sending ---- */

static void sent_again(struct tcp_conn *c, struct tcp_board *b, uint32_t from, uint32_t to)
{
	uint32_t n, now = (uint32_t)c->core->now_us;

	if (!room_for(b, 2)) { /* as good as: those that begin in it whole */
		from = begin_of(b, c->snd_una, find(b, from));
		to = b->run[find(b, to - 1)].end;
	}
	uint32_t first = carve(b, c->snd_una, from, to, &n);
	for (uint32_t i = first; i < first + n; i++) {
		clear(b, c->snd_una, i, RUN_LOST);
		b->run[i].flags = (b->run[i].flags & ~(uint32_t)RUN_VAGUE) | RUN_RETX;
		b->run[i].sent_us = now;
	}
	merge(b, first ? first - 1 : 0, first + n, false);
}

void tcp_board_sent(struct tcp_conn *c, uint32_t from, uint32_t to)
{
	uint32_t now = (uint32_t)c->core->now_us, max = c->snd_max;
	struct tcp_board *b;

	if (seq_lt(from, max)) {
		b = tcp_board_get(c);
		if (b)
			sent_again(c, b, from, seq_min(to, max));
		if (seq_le(to, max))
			return;
	}
	if (!c->board && (c->snd_una == max || c->sent_us == now || !tcp_board_get(c))) {
		c->sent_us = now;
		return;
	}
	b = c->board;
	struct tcp_run *last = b->n ? &b->run[b->n - 1] : NULL;
	/* When runs get short, what is sent within a fraction of a round trip counts as sent at once. */
	uint32_t near = b->n > TCP_RUN_MAX / 2 ? c->srtt_us / 64 : 0;
	if (last && !last->flags && now - last->sent_us <= near) {
		last->end = to;
	} else if (room_for(b, 1)) {
		b->run[b->n++] = (struct tcp_run){to, now, 0};
	} else {
		clear(b, c->snd_una, b->n - 1, RUN_LOST | RUN_SACKED);
		last = &b->run[b->n - 1];
		last->end = to;
		last->sent_us = now;
		last->flags |= RUN_VAGUE;
	}
}

/* ---- acknowledgments ---- */

/* [from, end of r) has arrived. */
static void delivered(struct tcp_conn *c, const struct tcp_run *r, uint32_t from,
		      struct tcp_delivery *d)
{
	if (r->flags & RUN_SACKED)
		return;
	d->bytes += r->end - from;
	if (!(r->flags & (RUN_RETX | RUN_VAGUE))) {
		uint32_t rtt = max32((uint32_t)c->core->now_us - r->sent_us, 1);
		d->rtt_us = d->rtt_us ? min32(d->rtt_us, rtt) : rtt;
	}
	if (!(r->flags & RUN_RETX) && seq_le(r->end, c->recover))
		d->orig = true;
	if (c->board)
		tcp_rack_delivered(c, r, d);
}

void tcp_board_advance(struct tcp_conn *c, uint32_t una, struct tcp_delivery *d)
{
	struct tcp_board *b = c->board;
	uint32_t k = 0;

	if (!b) {
		struct tcp_run r = {c->snd_una, c->sent_us, 0};
		delivered(c, &r, una, d);
		return;
	}
	for (; k < b->n && seq_lt(una, c->snd_una); k++) {
		struct tcp_run r = b->run[k];
		r.end = seq_min(r.end, c->snd_una);
		delivered(c, &r, una, d);
		if (r.flags & RUN_SACKED)
			b->sacked -= r.end - una;
		if (r.flags & RUN_LOST)
			b->lost -= r.end - una;
		una = r.end;
		if (r.end != b->run[k].end)
			break;
	}
	b->n -= k;
	memmove(&b->run[0], &b->run[k], b->n * sizeof(b->run[0]));
}

static void mark_sacked(struct tcp_conn *c, uint32_t start, uint32_t end, struct tcp_delivery *d)
{
	struct tcp_board *b = tcp_board_get(c);
	uint32_t n, una = c->snd_una;

	if (!b || !room_for(b, 2))
		return;
	uint32_t first = carve(b, una, start, end, &n);
	for (uint32_t i = first; i < first + n; i++) {
		struct tcp_run *r = &b->run[i];
		uint32_t from = begin_of(b, una, i);
		if (r->flags & RUN_SACKED)
			continue;
		delivered(c, r, from, d);
		clear(b, una, i, RUN_LOST);
		r->flags |= RUN_SACKED;
		b->sacked += r->end - from;
		d->sacked += r->end - from;
	}
	merge(b, first ? first - 1 : 0, first + n, false);
}

void tcp_board_update(struct tcp_conn *c, const struct tcp_seg *s, struct tcp_delivery *d)
{
	struct tcp_range r[TCP_SACK_BLOCKS];
	unsigned n = 0;

	if (!(c->flags & TF_SACK))
		return;
	/* Ascending: two that come in one ACK are no sign of reordering. */
	for (unsigned i = 0; i < s->opt.n_sack; i++) {
		struct tcp_range x = s->opt.sack[i];
		/* Below snd_una: a D-SACK (RFC 2883), or old. */
		if (seq_ge(x.start, x.end) || seq_le(x.start, c->snd_una) ||
		    seq_gt(x.end, c->snd_max))
			continue;
		unsigned k = n++;
		for (; k && seq_lt(x.start, r[k - 1].start); k--)
			r[k] = r[k - 1];
		r[k] = x;
	}
	for (unsigned i = 0; i < n; i++)
		mark_sacked(c, r[i].start, r[i].end, d);
}

/* ---- loss ---- */

void tcp_board_lose_run(struct tcp_board *b, uint32_t una, uint32_t i)
{
	if (b->run[i].flags & (RUN_SACKED | RUN_LOST))
		return;
	b->run[i].flags |= RUN_LOST;
	b->lost += b->run[i].end - begin_of(b, una, i);
}

void tcp_board_lose(struct tcp_conn *c, uint32_t from, uint32_t to)
{
	struct tcp_board *b = tcp_board_get(c);
	uint32_t n, first;

	if (!b || !b->n)
		return;
	if (!room_for(b, 2)) {
		first = find(b, from);
		n = min32(find(b, to - 1) + 1, b->n) - first;
	} else {
		first = carve(b, c->snd_una, from, to, &n);
	}
	for (uint32_t i = first; i < first + n; i++)
		tcp_board_lose_run(b, c->snd_una, i);
}

void tcp_board_keep(struct tcp_conn *c)
{
	for (uint32_t i = 0; c->board && i < c->board->n; i++)
		clear(c->board, c->snd_una, i, RUN_LOST);
}

void tcp_board_forget(struct tcp_conn *c)
{
	for (uint32_t i = 0; c->board && i < c->board->n; i++)
		clear(c->board, c->snd_una, i, RUN_SACKED);
}

/* RFC 6675 SetPipe in counters: what is out, less what has arrived, less what is lost. Without SACK
 * each duplicate ACK stands for one segment that has left (RFC 6582's inflated window, written the
 * other way round). */
uint32_t tcp_pipe(const struct tcp_conn *c)
{
	uint32_t flight = c->snd_max - c->snd_una, gone = c->reno_sacked;

	if (c->board)
		gone += c->board->sacked + c->board->lost;
	return flight - min32(flight, gone);
}

bool tcp_next_lost(const struct tcp_conn *c, uint32_t max, struct tcp_range *out)
{
	const struct tcp_board *b = c->board;

	if (!b || !b->lost || c->recovery == TCP_REC_OPEN)
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!(b->run[i].flags & RUN_LOST))
			continue;
		uint32_t from = begin_of(b, c->snd_una, i), to = b->run[i].end;
		/* Neighbours that are lost too fill the segment up. */
		while (++i < b->n && (b->run[i].flags & RUN_LOST) && to - from < max)
			to = b->run[i].end;
		*out = (struct tcp_range){from, seq_min(to, from + max)};
		return true;
	}
	return false;
}
