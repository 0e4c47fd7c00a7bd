/*
 * tcp_cc.c: congestion control as const tables: NewReno (RFC 5681, 3465) and CUBIC (RFC 8312/9438).
 *
 * A table says how cwnd grows on acknowledgments and what ssthresh a loss gives; slow start, with
 * HyStart++ (9406) while no loss was seen, is the same for all. cwnd grows only where it is what holds
 * the sender back (tcp_recover.c asks TF_CWND_FULL; 7661), and a loss counts from what was in flight. What to send and
 * when a loss happened is tcp_recover.c's and tcp_output.c's. State lives in tcp_conn.cc. Integers
 * only. Hot path.
 */
#include <string.h>
#include "tcp_int.h"
#include "hot.h"

#define CWND_MAX (1u << 30)

/* RFC 6928: min(10 * MSS, max(2 * MSS, 14600)), the count being configurable. */
uint32_t tcp_initial_cwnd(const struct tcp_conn *c)
{
	uint32_t segs = c->core->conf.initcwnd_segs;
	uint32_t by_bytes = max32(2u * c->mss, segs * 1460u);

	return min32(segs * c->mss, by_bytes);
}

static void grow(struct tcp_conn *c, uint32_t by)
{
	c->cwnd = c->cwnd > CWND_MAX - by ? CWND_MAX : c->cwnd + by;
}

/* ---- slow start ---- */

/* HyStart++ (RFC 9406) lives in cc until the first slow start ends; the rest of the life is the table's.
 * Round trips that get longer mean that the queue at the bottleneck fills: time to grow slowly, long
 * before it overflows and a whole window of losses comes back. */
struct hystart {
	uint32_t round_end;    /* sequence number that ends the round */
	uint32_t last_us, min_us; /* shortest round trip of the last round and of this one, 0 = none */
	uint32_t base_us;      /* conservative slow start: the one that began it; 0 = not in it */
	uint32_t samples;      /* in this round */
	uint32_t rounds;       /* of conservative slow start */
};
static_assert(sizeof(struct hystart) <= sizeof(((struct tcp_conn *)0)->cc), "room");

#define HY_MIN_US     4000
#define HY_MAX_US     16000
#define HY_SAMPLES    8
#define HY_CSS_DIV    4
#define HY_CSS_ROUNDS 5
#define HY_LIMIT      8 /* segments that one ACK may add */

static bool first_slow_start(const struct tcp_conn *c)
{
	return c->ssthresh == UINT32_MAX;
}

/* Section 4.2. True: slow start is over. */
static bool hystart(struct tcp_conn *c, uint32_t rtt_us)
{
	struct hystart *h = (struct hystart *)(void *)c->cc;

	if (rtt_us) {
		h->min_us = h->min_us ? min32(h->min_us, rtt_us) : rtt_us;
		h->samples++;
	}
	if (h->samples >= HY_SAMPLES && h->base_us) {
		if (h->min_us < h->base_us) { /* it was for nothing */
			h->base_us = 0;
			h->rounds = 0;
		}
	} else if (h->samples >= HY_SAMPLES && h->last_us) {
		uint32_t slack = max32(HY_MIN_US, min32(h->last_us / 8, HY_MAX_US));
		if (h->min_us >= h->last_us + slack)
			h->base_us = h->min_us;
	}
	if (h->round_end && seq_lt(c->snd_una, h->round_end))
		return false;
	h->round_end = c->snd_max ? c->snd_max : 1;
	h->last_us = h->min_us;
	h->min_us = h->samples = 0;
	return h->base_us && ++h->rounds > HY_CSS_ROUNDS;
}

/* RFC 5681 3.1 with byte counting (3465; after a timeout 1 segment an ACK, 2.3). Returns what slow start
 * left of the acknowledged bytes. */
static uint32_t slow_start(struct tcp_conn *c, uint32_t acked, uint32_t rtt_us)
{
	uint32_t by = min32(acked, c->recovery == TCP_REC_LOSS ? c->mss : HY_LIMIT * c->mss);

	if (c->cwnd >= c->ssthresh)
		return acked;
	if (first_slow_start(c)) {
		if (hystart(c, rtt_us)) {
			c->ssthresh = c->cwnd;
			c->core->cc->init(c);
			return acked;
		}
		if (((struct hystart *)(void *)c->cc)->base_us)
			by /= HY_CSS_DIV;
	}
	if (by > c->ssthresh - c->cwnd)
		by = c->ssthresh - c->cwnd;
	grow(c, by);
	return c->cwnd >= c->ssthresh && acked > by ? acked - by : 0;
}

/* ---- NewReno ---- */

struct reno {
	uint32_t acked; /* bytes since the last step of congestion avoidance */
};
static_assert(sizeof(struct reno) <= sizeof(((struct tcp_conn *)0)->cc), "room");

static void reno_init(struct tcp_conn *c)
{
	memset(c->cc, 0, sizeof(c->cc));
}

static void reno_acked(struct tcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_us)
{
	struct reno *r = (struct reno *)(void *)c->cc;

	acked = slow_start(c, acked, rtt_us);
	if (!acked || c->cwnd < c->ssthresh)
		return;
	r->acked += acked;
	if (r->acked >= c->cwnd) {
		r->acked -= c->cwnd;
		grow(c, c->mss);
	}
}

static uint32_t reno_loss(struct tcp_conn *c, uint32_t flight, uint64_t now_us)
{
	((struct reno *)(void *)c->cc)->acked = 0;
	return max32(flight / 2, 2u * c->mss);
}

const struct tcp_cc_ops tcp_cc_newreno = {"newreno", reno_init, reno_acked, reno_loss};

/* ---- CUBIC ---- */

struct cubic {
	uint64_t epoch_us; /* start of the growth since the last loss; 0 = none */
	uint32_t w_max;	   /* bytes */
	uint32_t k_ms;
	uint32_t origin; /* bytes the curve flattens at */
	uint32_t w_est;	 /* what Reno would have */
	uint32_t acked;	 /* bytes not yet turned into growth */
};
static_assert(sizeof(struct cubic) <= sizeof(((struct tcp_conn *)0)->cc), "room");
static_assert(offsetof(struct tcp_conn, cc) % 8 == 0, "aligned for it");

static uint32_t cube_root(uint64_t a)
{
	uint64_t y = 0;

	for (int s = 63; s >= 0; s -= 3) {
		y *= 2;
		uint64_t b = 3 * y * (y + 1) + 1;
		if (a >> s >= b) {
			a -= b << s;
			y++;
		}
	}
	return (uint32_t)y;
}

static void cubic_init(struct tcp_conn *c)
{
	memset(c->cc, 0, sizeof(c->cc));
}

/* W_cubic(t) in bytes, C = 0.4 segments/s^3 (RFC 9438 4.2). */
static uint32_t cubic_at(const struct tcp_conn *c, const struct cubic *q, uint64_t t_ms)
{
	bool before = t_ms < q->k_ms;
	uint64_t d = before ? q->k_ms - t_ms : t_ms - q->k_ms;

	if (d > 100000)
		d = 100000;
	/* 0.4 * mss * (d / 1000)^3 */
	uint64_t delta = d * d * d / 1000 * 4 * c->mss / 10 / 1000000;
	if (before)
		return delta < q->origin ? (uint32_t)(q->origin - delta) : c->mss;
	return delta > CWND_MAX ? CWND_MAX
				: (uint32_t)min32((uint32_t)(q->origin + delta), CWND_MAX);
}

static void cubic_acked(struct tcp_conn *c, uint32_t acked, uint32_t rtt_us, uint64_t now_us)
{
	struct cubic *q = (struct cubic *)(void *)c->cc;

	acked = slow_start(c, acked, rtt_us);
	if (!acked || c->cwnd < c->ssthresh)
		return;
	if (!q->epoch_us) {
		q->epoch_us = now_us ? now_us : 1;
		q->w_est = c->cwnd;
		q->acked = 0;
		if (c->cwnd < q->w_max) {
			/* K = cbrt((w_max - cwnd) / C), in ms */
			uint64_t segs = (q->w_max - c->cwnd) / c->mss;
			q->k_ms = cube_root(segs * 10 / 4 * 1000000000u);
			q->origin = q->w_max;
		} else {
			q->k_ms = 0;
			q->origin = c->cwnd;
		}
	}
	/* RFC 9438 4.3: what Reno would have: alpha = 3 * (1 - 0.7) / (1 + 0.7) = 0.53 segments a
	 * round trip, from the former maximum on 1 */
	uint32_t alpha = q->w_est < q->w_max ? 53 : 100;
	q->w_est = min32(
		q->w_est + (uint32_t)((uint64_t)acked * c->mss * alpha / 100 / max32(c->cwnd, 1)),
		CWND_MAX);
	uint64_t t_ms = (now_us - q->epoch_us + c->srtt_us) / 1000;
	uint32_t target = cubic_at(c, q, t_ms);
	if (target > c->cwnd + c->cwnd / 2)
		target = c->cwnd + c->cwnd / 2;
	if (target < q->w_est) {
		c->cwnd = max32(c->cwnd, q->w_est);
		return;
	}
	if (target <= c->cwnd)
		return;
	/* (target - cwnd) / cwnd of a segment for each segment acknowledged */
	q->acked += (uint32_t)((uint64_t)acked * (target - c->cwnd) / c->cwnd);
	if (q->acked >= c->mss) {
		grow(c, q->acked / c->mss * c->mss);
		q->acked %= c->mss;
	}
}

static uint32_t cubic_loss(struct tcp_conn *c, uint32_t flight, uint64_t now_us)
{
	struct cubic *q = (struct cubic *)(void *)c->cc;

	if (first_slow_start(c))
		cubic_init(c);
	/* 4.7, fast convergence: give way when this maximum is below the last. Where the curve is flat,
	 * windows do not tell that, the time it took does: giving way at every loss that came a little
	 * before K cost 15 % of the window that the model of section 5 has. */
	uint64_t age_ms = q->epoch_us ? (now_us - q->epoch_us) / 1000 : 0;
	bool less = c->cwnd < q->w_max && age_ms * 16 < (uint64_t)q->k_ms * 15 + !q->epoch_us;
	q->w_max = less ? (uint32_t)((uint64_t)c->cwnd * 85 / 100) : c->cwnd;
	q->epoch_us = 0;
	return max32((uint32_t)((uint64_t)min32(c->cwnd, max32(flight, c->mss)) * 7 / 10),
		     2u * c->mss);
}

const struct tcp_cc_ops tcp_cc_cubic = {"cubic", cubic_init, cubic_acked, cubic_loss};
