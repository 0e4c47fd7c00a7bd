/*
 * A hostile server: its bytes, with time, ends of stream and lost connections between them. What we say stays one command
 * a line, and every recipient is accounted for: delivered, refused, or still in the queue.
 *
 * Input: a byte of choices, then what the server says; 0xfe and a letter is an event instead of bytes.
 */
#include <stdlib.h>

#include "rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MANY_DOTS 1
#define FROM_DISK 2
#define NULL_FROM 4
#define TWO       8
#define BIG       16
#define BY_BYTES  32
#define SLOW      64

static unsigned newest(const struct rig *r)
{
	return r->n_conn > 0 ? (r->n_conn - 1) % RIG_CONNS : 0;
}

static void event(struct rig *r, uint8_t what)
{
	switch (what) {
	case 't':
		rig_time(r, 130000000);
		break;
	case 'T':
		rig_time(r, 4000000000);
		break;
	case 'e':
		rig_eof(r, newest(r));
		break;
	case 'd':
		rig_drop(r, newest(r), true);
		break;
	case 'r':
		r->refuse = r->refuse == ERR_OK ? ERR_REFUSED : ERR_OK;
		break;
	default:
		break;
	}
}

/* No bare CR or LF. */
static void check_said(const struct rig *r)
{
	for (unsigned c = 0; c < RIG_CONNS; c++) {
		struct span s = buf_span(&r->conn[c].said);
		for (size_t i = 0; i < s.len; i++) {
			CHECK(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
			CHECK(s.p[i] != '\r' || i + 1 == s.len || s.p[i + 1] == '\n');
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const rcpt[] = {"a@example.org", "b@example.org", "c@example.org"};
	static struct rig r;
	if (len == 0 || len > 4096)
		return 0;
	uint8_t how = data[0];
	struct buf msg;
	buf_init(&msg);
	buf_add_str(&msg, how & MANY_DOTS ? ".a\r\n..\r\n.\r\n" : "Subject: x\r\n\r\nhello\r\n");
	while ((how & BIG) && msg.len < 300000)
		buf_add_str(&msg, how & MANY_DOTS ? "." : "01234567890123456789012345678901234567\r\n");
	rig_init(&r);
	r.conf.expire_s = 20000;
	rig_run(&r);
	if (how & SLOW)
		r.room = 700;
	unsigned n = how & TWO ? 3 : 1, sent = n;
	CHECK(rig_submit(&r, how & NULL_FROM ? "" : "eve@nowhere.example", rcpt, n, buf_span(&msg)));
	if (how & TWO) {
		CHECK(rig_submit(&r, "", rcpt, 1, buf_span(&msg)));
		sent++;
	}
	if (how & FROM_DISK)
		rig_restart(&r);
	for (size_t i = 1; i < len;) {
		if (data[i] == 0xfe && i + 1 < len) {
			event(&r, data[i + 1]);
			i += 2;
			continue;
		}
		size_t k = i + 1;
		while (k < len && data[k] != 0xfe && !(how & BY_BYTES))
			k++;
		rig_feed(&r, newest(&r), span_of(data + i, k - i));
		i = k;
	}
	check_said(&r);
	uint64_t items, left;
	queue_counts(r.queue, &items, &left);
	CHECK(left + stat_get(r.stat, STAT_delivery_out) + stat_get(r.stat, STAT_delivery_refused) +
		      stat_get(r.stat, STAT_delivery_expired) == sent);
	buf_fini(&msg);
	rig_fini(&r);
	return 0;
}
