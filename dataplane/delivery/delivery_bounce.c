/*
 * delivery_bounce.c: the report to the sender of what became of mail (RFC 5321 6.1, RFC 3461 6, RFC 3464).
 * It is a message like any other: to a local mailbox, or to the route of the sender's domain, from <>.
 */
#include "delivery_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "mail_addr.h"
#include "mail_codec.h"
#include "mail_dsn.h"

bool bounce_route(const struct proto_env *env, struct queue_job *job)
{
	struct queue_bounce *b = &job->bounce;
	struct mail_addr a;
	static const struct ip_addr ourselves;
	if (!span_cstr(job->st.from, b->to, sizeof(b->to)) ||
	    mail_addr_parse(span_str(b->to), MAIL_PATH_UTF8_OK, &a) != ERR_OK)
		return false;
	b->rcpt = (struct queue_rcpt){.addr = span_str(b->to)};
	if (dir_is_local_domain(env->conf, a.domain))
		return dir_resolve(env->conf, env->store_shared, &ourselves, a.local, a.domain, &b->rcpt) == DIR_LOCAL;
	const struct conf_route *r = dir_route(env->conf, a.domain);
	if (r == NULL)
		return false;
	b->rcpt.site = (struct queue_site_key){.host = r->host, .port = r->port};
	return true;
}

static struct mail_date date(uint64_t wall_us)
{
	return (struct mail_date){.unix_s = (int64_t)(wall_us / 1000000)};
}

static uint32_t text_flags(struct span s)
{
	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.p[i] == '\n' && s.p[i + 1] == '.')
			return STORE_BLOB_DOTS;
	return 0;
}

/* A reply begins with its code; what we said ourselves does not. */
static bool is_reply(struct span s)
{
	return s.len >= 4 && s.p[0] >= '2' && s.p[0] <= '5' && s.p[3] == ' ';
}

static struct mail_dsn_rcpt dsn_rcpt(const struct proto_env *env, const struct queue_job *job,
				     const struct queue_state_rcpt *rc, struct span host)
{
	struct mail_dsn_rcpt d = {.final = rc->addr, .last_attempt = date(env->wall_us)};
	if (job->report == QUEUE_DELIVERED)
		return d;
	if (job->report == QUEUE_FAILED && job->expired && !is_reply(rc->reply)) {
		d.status = SPAN("5.4.7");
		d.reason = rc->reply;
	} else if (is_reply(rc->reply)) {
		d.status = reply_status(rc->reply);
		d.reply = rc->reply;
		d.remote_mta = host;
	} else {
		d.reason = rc->reply;
	}
	return d;
}

/* xtext to bytes that live as long as the job. */
static struct span decoded(struct queue_job *job, struct span x)
{
	uint8_t *out = arena_alloc(&job->mem, x.len + 1);
	ptrdiff_t n = out != NULL ? mail_xtext_decode(x, out, x.len + 1) : -1;
	return n > 0 ? span_of(out, (size_t)n) : span_of(NULL, 0);
}

/* "type;xtext" to "type;address". */
static struct span orcpt_text(struct queue_job *job, struct span orcpt)
{
	ptrdiff_t semi = span_find(orcpt, ';');
	if (semi < 0)
		return span_of(NULL, 0);
	struct span addr = decoded(job, span_from(orcpt, (size_t)semi + 1));
	uint8_t *out = arena_alloc(&job->mem, (size_t)semi + 1 + addr.len);
	if (out == NULL || addr.len == 0)
		return span_of(NULL, 0);
	memcpy(out, orcpt.p, (size_t)semi + 1);
	memcpy(out + semi + 1, addr.p, addr.len);
	return span_of(out, (size_t)semi + 1 + addr.len);
}

static void dsn_text(const struct proto_env *env, struct queue_job *job, struct buf *b)
{
	static const enum mail_dsn_action action[QUEUE_RCPT_STATES] = {
		[QUEUE_FAILED] = MAIL_DSN_FAILED, [QUEUE_RELAYED] = MAIL_DSN_RELAYED,
		[QUEUE_DELIVERED] = MAIL_DSN_DELIVERED,
	};
	char id[40], host[IP_STR_MAX];
	struct mail_dsn_rcpt *rcpt = calloc(job->st.n_rcpt, sizeof(*rcpt));
	CHECK(rcpt != NULL);
	(void)ip_format(&job->site->key.host, host);
	int n = snprintf(id, sizeof(id), "%llx.%llx", (unsigned long long)job->id, (unsigned long long)env->wall_us);
	struct mail_dsn dsn = {
		.action = action[job->report], .envid = decoded(job, job->st.envid), .host = span_str(env->conf->hostname), .to = job->st.from,
		.id = span_of(id, n > 0 ? (size_t)n : 0), .now = date(env->wall_us), .arrival = date(job->st.accepted_us),
		.rcpt = rcpt, .original = buf_span(&job->head),
		/* RFC 3461 4.3: all of it where that was asked for and all of it is at hand. */
		.full = job->report == QUEUE_FAILED && job->st.ret == QUEUE_RET_FULL &&
			job->head.len == job->blob.size - job->blob.relay_off,
	};
	for (unsigned i = 0; i < job->st.n_rcpt; i++)
		if (job->st.rcpt[i].state == job->report) {
			rcpt[dsn.n_rcpt] = dsn_rcpt(env, job, &job->st.rcpt[i], span_str(host));
			rcpt[dsn.n_rcpt++].original = orcpt_text(job, job->st.rcpt[i].orcpt);
		}
	mail_dsn_write(b, &dsn);
	free(rcpt);
}

bool bounce_make(const struct proto_env *env, struct queue_job *job)
{
	struct queue_bounce *bo = &job->bounce;
	struct buf b;
	buf_init(&b);
	buf_add_str(&b, "Return-Path: <>\r\n");
	bo->relay_off = (uint32_t)b.len;
	dsn_text(env, job, &b);
	bo->flags = text_flags(buf_span(&b));
	bo->made = slices_copy(&bo->body, env->pool, buf_span(&b));
	buf_fini(&b);
	return bo->made;
}
