/* queue_state.c: queue items to bytes and back; see queue_state.h. */
#include "queue_state.h"

#define STATE_VERSION 2
#define FLAG_8BIT     0x01
#define FLAG_BINARY   0x02 /* bare CR or LF, or NUL: only BDAT can carry it */
#define FLAG_RET_HDRS 0x04
#define FLAG_RET_FULL 0x08
#define FLAGS_V1      FLAG_8BIT
#define FLAGS_V2      (FLAG_8BIT | FLAG_BINARY | FLAG_RET_HDRS | FLAG_RET_FULL)

bool queue_addr_ok(struct span addr)
{
	if (addr.len > QUEUE_ADDR_MAX)
		return false;
	for (size_t i = 0; i < addr.len; i++)
		if (addr.p[i] < ' ' || addr.p[i] == 0x7f)
			return false;
	return true;
}

static void add_text(struct buf *b, struct span s, size_t max)
{
	s = span_head(s, max);
	buf_add_u16(b, (uint16_t)s.len);
	buf_add_span(b, s);
}

static struct span get_text(struct reader *r, size_t max)
{
	struct span s = get_bytes(r, get_u16(r));
	if (s.len > max)
		r->ok = false;
	return s;
}

void queue_state_write(struct buf *b, const struct queue_state *s)
{
	buf_add_u8(b, STATE_VERSION);
	buf_add_u8(b, (uint8_t)((s->body_8bit ? FLAG_8BIT : 0) | (s->binary ? FLAG_BINARY : 0) |
				(s->ret == QUEUE_RET_HDRS ? FLAG_RET_HDRS : 0) |
				(s->ret == QUEUE_RET_FULL ? FLAG_RET_FULL : 0)));
	buf_add_u16(b, (uint16_t)(s->tries < UINT16_MAX ? s->tries : UINT16_MAX));
	buf_add_u64(b, s->accepted_us);
	buf_add_u64(b, s->expire_us);
	buf_add(b, s->site.host.b, sizeof(s->site.host.b));
	buf_add_u16(b, s->site.port);
	add_text(b, s->from, QUEUE_ADDR_MAX);
	add_text(b, s->last, QUEUE_TEXT_MAX);
	add_text(b, s->session, QUEUE_TEXT_MAX);
	add_text(b, s->envid, QUEUE_ENVID_MAX);
	uint16_t n = 0;
	for (unsigned i = 0; i < s->n_rcpt; i++)
		n = (uint16_t)(n + (s->rcpt[i].state != QUEUE_DONE));
	buf_add_u16(b, n);
	for (unsigned i = 0; i < s->n_rcpt; i++) {
		const struct queue_state_rcpt *rc = &s->rcpt[i];
		if (rc->state == QUEUE_DONE)
			continue;
		buf_add_u8(b, (uint8_t)rc->state);
		buf_add_u8(b, rc->notify);
		add_text(b, rc->addr, QUEUE_ADDR_MAX);
		add_text(b, rc->reply, QUEUE_TEXT_MAX);
		add_text(b, rc->orcpt, QUEUE_ORCPT_MAX);
	}
}

static bool rcpt_read(struct reader *r, bool v1, struct queue_state_rcpt *rc)
{
	uint8_t state = get_u8(r);
	rc->state = (enum queue_rcpt_state)state;
	rc->notify = v1 ? 0 : get_u8(r);
	rc->addr = get_text(r, QUEUE_ADDR_MAX);
	rc->reply = get_text(r, QUEUE_TEXT_MAX);
	rc->orcpt = v1 ? span_of(NULL, 0) : get_text(r, QUEUE_ORCPT_MAX);
	return state < (v1 ? QUEUE_RELAYED : QUEUE_DONE) && rc->notify <= QUEUE_NOTIFY_ALL && rc->addr.len > 0 &&
	       queue_addr_ok(rc->addr) && queue_addr_ok(rc->orcpt);
}

enum err queue_state_read(struct span bytes, struct queue_state *out)
{
	struct reader r = reader_of(bytes);
	uint8_t version = get_u8(&r);
	bool v1 = version == 1;
	if (!v1 && version != STATE_VERSION)
		return r.ok ? ERR_UNSUPPORTED : ERR_CORRUPT;
	uint8_t flags = get_u8(&r);
	out->body_8bit = flags & FLAG_8BIT;
	out->binary = flags & FLAG_BINARY;
	out->ret = flags & FLAG_RET_FULL ? QUEUE_RET_FULL : flags & FLAG_RET_HDRS ? QUEUE_RET_HDRS : QUEUE_RET_NONE;
	out->tries = get_u16(&r);
	out->accepted_us = get_u64(&r);
	out->expire_us = get_u64(&r);
	struct span host = get_bytes(&r, sizeof(out->site.host.b));
	if (host.len == sizeof(out->site.host.b))
		memcpy(out->site.host.b, host.p, host.len);
	out->site.port = get_u16(&r);
	out->from = get_text(&r, QUEUE_ADDR_MAX);
	out->last = get_text(&r, QUEUE_TEXT_MAX);
	out->session = get_text(&r, QUEUE_TEXT_MAX);
	out->envid = v1 ? span_of(NULL, 0) : get_text(&r, QUEUE_ENVID_MAX);
	out->n_rcpt = get_u16(&r);
	if (!r.ok || (flags & ~(v1 ? FLAGS_V1 : FLAGS_V2)) || (flags & FLAG_RET_HDRS && flags & FLAG_RET_FULL) ||
	    out->n_rcpt == 0 || out->n_rcpt > QUEUE_ITEM_RCPT_MAX)
		return ERR_CORRUPT;
	bool ok = queue_addr_ok(out->from) && queue_addr_ok(out->envid);
	for (unsigned i = 0; i < out->n_rcpt; i++)
		ok = rcpt_read(&r, v1, &out->rcpt[i]) && ok;
	return ok && r.ok && r.s.len == 0 ? ERR_OK : ERR_CORRUPT;
}
