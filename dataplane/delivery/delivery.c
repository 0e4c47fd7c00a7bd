/*
 * delivery.c: which connection carries what: sites, wanted connections, idle sessions, outcomes.
 *
 * A site to which no connection can be made is left alone for a while (30 s, or retry_min if that is less): what is due
 * for it meanwhile is put off with the same words, each by its own time, without a connection of its own. When the while
 * is over the next item that is due tries the site again. Items whose time is over are bounced whatever their
 * site does.
 */
#include "delivery_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "log.h"

#define SITE_HOLD_S      30
#define LOCAL_HOLD_US    1000000 /* no connection or session of our own free */
#define BOUNCE_AGAIN_US  100000
#define CLAIMS_A_TURN    64
#define STORE_BUSY       512 /* operations under way: what is not urgent waits, sessions need some, too */
#define CONNECTIONS_MAX  1000

struct delivery *delivery_create(struct proto_env *env)
{
	struct delivery *d = calloc(1, sizeof(*d));
	CHECK(d != NULL);
	d->env = env;
	list_init(&d->wants);
	list_init(&d->opening);
	list_init(&d->woken);
	return d;
}

static void wants_free(struct list *l)
{
	struct list *n;
	while ((n = list_pop(l)) != NULL)
		free(LIST_ENTRY(n, struct want, node));
}

void delivery_destroy(struct delivery **dp)
{
	struct delivery *d = *dp;
	*dp = NULL;
	if (d == NULL)
		return;
	wants_free(&d->wants);
	wants_free(&d->opening);
	free(d);
}

/* ---- outcomes ---- */

static void job_all(struct queue_job *job, enum queue_rcpt_state state, struct span text)
{
	struct span kept = arena_copy(&job->mem, span_head(text, QUEUE_TEXT_MAX));
	if (kept.p == NULL)
		kept = span_of(NULL, 0);
	for (unsigned i = 0; i < job->st.n_rcpt; i++) {
		struct queue_state_rcpt *rc = &job->st.rcpt[i];
		if (rc->state != QUEUE_PENDING)
			continue;
		rc->state = state;
		rc->reply = kept;
	}
	job->st.last = kept;
}

void job_fail(struct queue_job *job, struct span text)
{
	job_all(job, QUEUE_FAILED, text);
}

void job_defer(struct queue_job *job, struct span text)
{
	job_all(job, QUEUE_PENDING, text);
}

/* Reports whose beginning of the message has come. */
static void bounces_make(struct delivery *d)
{
	struct queue *q = d->env->queue;
	struct queue_job *job;
	for (unsigned i = 0; i < CLAIMS_A_TURN && (job = queue_headed(q)) != NULL; i++) {
		if (bounce_make(d->env, job)) {
			queue_settle(q, &job);
			continue;
		}
		queue_headed_later(q, &job);
		d->bounces_us = d->env->now_us + BOUNCE_AGAIN_US;
		return;
	}
}

static void no_bounce(struct delivery *d, struct queue_job *job, const char *why)
{
	log_info("delivery: item %llx: no report to <" SPAN_FMT ">: %s", (unsigned long long)job->id,
		 SPAN_ARG(job->st.from), why);
	stat_inc(d->env->stat, STAT_delivery_bounce_dropped);
	job->forget = true;
	queue_settle(d->env->queue, &job);
}

/* What became of recipients is told to the sender, but never about a report (RFC 5321 6.1, 4.5.5). */
static void job_report(struct delivery *d, struct queue_job *job, unsigned n)
{
	if (job->report == QUEUE_FAILED)
		log_info("delivery: item %llx from <" SPAN_FMT ">: %u of %u recipients failed at %s: " SPAN_FMT,
			 (unsigned long long)job->id, SPAN_ARG(job->st.from), n, job->st.n_rcpt, job->site->name,
			 SPAN_ARG(job->st.last));
	if (job->st.from.len == 0)
		no_bounce(d, job, "a bounce is not bounced");
	else if (!d->env->conf->bounce)
		no_bounce(d, job, "switched off");
	else if (!bounce_route(d->env, job))
		no_bounce(d, job, "no way to it");
	else
		queue_read_head(d->env->queue, &job);
}

/* RFC 3461 4.1: of whom the sender does not want to hear, it does not hear. */
static unsigned forget_silent(struct queue_job *job)
{
	unsigned n = 0;
	for (unsigned i = 0; i < job->st.n_rcpt; i++) {
		struct queue_state_rcpt *rc = &job->st.rcpt[i];
		if (rc->state != QUEUE_FAILED || rc->notify == 0 || rc->notify & QUEUE_NOTIFY_FAILURE)
			continue;
		rc->state = QUEUE_DONE;
		n++;
	}
	return n;
}

void delivery_job_over(struct delivery *d, struct queue_job **jobp)
{
	static const enum stat_id counter[] = {
		[QUEUE_PENDING] = STAT_delivery_deferred, [QUEUE_FAILED] = STAT_delivery_refused,
		[QUEUE_RELAYED] = STAT_delivery_out, [QUEUE_DONE] = STAT_delivery_out,
	};
	struct queue_job *job = *jobp;
	*jobp = NULL;
	unsigned n[QUEUE_RCPT_STATES] = {0};
	for (unsigned i = 0; i < job->st.n_rcpt; i++)
		n[job->st.rcpt[i].state]++;
	for (unsigned i = 0; i < ARRAY_LEN(counter) && job->n_pending > 0; i++)
		stat_add(d->env->stat, job->expired && i == QUEUE_FAILED ? STAT_delivery_expired : counter[i], n[i]);
	job->st.tries++;
	n[QUEUE_FAILED] -= forget_silent(job);
	job->report = n[QUEUE_FAILED] > 0      ? QUEUE_FAILED
		      : n[QUEUE_RELAYED] > 0   ? QUEUE_RELAYED
		      : n[QUEUE_DELIVERED] > 0 ? QUEUE_DELIVERED
					       : QUEUE_PENDING;
	if (job->report != QUEUE_PENDING)
		job_report(d, job, n[job->report]);
	else
		queue_settle(d->env->queue, &job);
}

static void job_expire(struct delivery *d, struct queue_job *job)
{
	char text[QUEUE_TEXT_MAX];
	struct span last = job->st.last.len > 0 ? job->st.last : span_str(job->site->last);
	int n = snprintf(text, sizeof(text), "the time for delivery is over%s" SPAN_FMT,
			 last.len > 0 ? "; last: " : "", (int)(last.len < 300 ? last.len : 300),
			 (const char *)last.p);
	job_fail(job, span_of(text, n > 0 ? (size_t)n : 0));
	delivery_job_over(d, &job);
}

/* ---- sites ---- */

static unsigned conn_max(const struct delivery *d)
{
	unsigned max = d->env->conf->route_connections;
	return max == 0 ? 1 : max < CONNECTIONS_MAX ? max : CONNECTIONS_MAX;
}

void delivery_site_hold(struct delivery *d, struct queue_site *site, struct span text)
{
	const struct proto_env *env = d->env;
	size_t len = text.len < sizeof(site->last) - 1 ? text.len : sizeof(site->last) - 1;
	memcpy(site->last, text.p, len);
	site->last[len] = '\0';
	uint64_t hold_s = env->conf->retry_min_s > 0 && env->conf->retry_min_s < SITE_HOLD_S ? env->conf->retry_min_s :
											       SITE_HOLD_S;
	site->hold_us = env->wall_us + hold_s * 1000000;
	if (!site->down)
		log_info("delivery: %s is left alone for %u s: %s", site->name, (unsigned)hold_s, site->last);
	site->down = true;
}

void delivery_site_failed(struct delivery *d, struct queue_site *site, bool for_good, struct span text)
{
	delivery_site_hold(d, site, text);
	if (site->n_conn > 0)
		return;
	struct queue_job *job = delivery_next_job(d, site);
	if (job == NULL)
		return;
	if (for_good)
		job_fail(job, text);
	else
		job_defer(job, text);
	delivery_job_over(d, &job);
}

void delivery_site_works(struct queue_site *site)
{
	if (site->down)
		log_info("delivery: %s works again", site->name);
	site->down = false;
	site->hold_us = 0;
	site->last[0] = '\0';
}

struct queue_job *delivery_next_job(struct delivery *d, struct queue_site *site)
{
	struct queue_job *job;
	if (d->env->shutting_down)
		return NULL;
	while ((job = queue_claim(d->env->queue, site)) != NULL) {
		if (job->n_pending > 0)
			return job;
		delivery_job_over(d, &job); /* nothing to try: only a report is owed */
	}
	return NULL;
}

static bool store_busy(const struct delivery *d)
{
	return store_pending(d->env->store) >= STORE_BUSY;
}

/* What is due for a site that is down. */
static void site_put_off(struct delivery *d, struct queue_site *site)
{
	struct queue_job *job;
	for (unsigned i = 0; i < CLAIMS_A_TURN && !store_busy(d) && (job = delivery_next_job(d, site)) != NULL; i++) {
		job_defer(job, span_str(site->last));
		delivery_job_over(d, &job);
	}
}

static void site_assign(struct delivery *d, struct queue_site *site)
{
	if (site->down && site->n_conn == 0 && site->hold_us > d->env->wall_us) {
		site_put_off(d, site);
		return;
	}
	while (!list_empty(&site->idle) && site->n_ready > 0) {
		struct queue_job *job = delivery_next_job(d, site);
		if (job == NULL)
			return;
		struct out *o = LIST_ENTRY(list_pop(&site->idle), struct out, idle);
		out_give(o, job);
		list_del(&o->woken);
		list_push(&d->woken, &o->woken);
	}
	while (site->n_ready > site->n_opening && site->n_conn < conn_max(d) && site->hold_us <= d->env->wall_us) {
		struct want *w = calloc(1, sizeof(*w));
		CHECK(w != NULL);
		w->site = site;
		list_push(&d->wants, &w->node);
		site->n_opening++;
		site->n_conn++;
	}
}

/* ---- the turn ---- */

void delivery_turn(struct delivery *d)
{
	struct queue *q = d->env->queue;
	struct queue_job *job;
	queue_turn(q, d->env->conf, d->env->wall_us);
	if (d->env->now_us >= d->bounces_us)
		bounces_make(d);
	if (d->env->shutting_down || queue_broken(q))
		return;
	for (unsigned i = 0; i < CLAIMS_A_TURN && !store_busy(d) && (job = queue_claim_expired(q)) != NULL; i++)
		job_expire(d, job);
	unsigned n = queue_sites_ready(q);
	for (unsigned i = 0; i < n; i++) {
		struct queue_site *site = queue_site_round(q);
		if (site == NULL)
			break;
		site_assign(d, site);
	}
}

/* When a site with due items wants a turn: now, when its hold is over, or when a session says so. */
static uint64_t site_next_us(const struct delivery *d, const struct queue_site *site)
{
	if (!list_empty(&site->idle) || (site->down && site->n_conn == 0))
		return d->env->wall_us;
	if (site->n_ready <= site->n_opening || site->n_conn >= conn_max(d))
		return UINT64_MAX;
	return site->hold_us > d->env->wall_us ? site->hold_us : d->env->wall_us;
}

uint64_t delivery_next_us(const struct delivery *d)
{
	const struct queue *q = d->env->queue;
	uint64_t wall = queue_next_us(q);
	if (!list_empty(&d->wants) || !list_empty(&d->woken))
		return d->env->now_us;
	if (queue_headed_any(q)) {
		uint64_t at = d->env->wall_us;
		at += d->bounces_us > d->env->now_us ? d->bounces_us - d->env->now_us : 0;
		wall = at < wall ? at : wall;
	}
	if (!d->env->shutting_down && !queue_broken(q))
		for (const struct queue_site *s = NULL; (s = queue_site_after(q, s)) != NULL;) {
			uint64_t at = site_next_us(d, s);
			wall = at < wall ? at : wall;
		}
	if (wall == UINT64_MAX)
		return wall;
	return d->env->now_us + (wall > d->env->wall_us ? wall - d->env->wall_us : 0);
}

struct session *delivery_woken(struct delivery *d)
{
	struct list *n = list_pop(&d->woken);
	return n != NULL ? &LIST_ENTRY(n, struct out, woken)->s : NULL;
}

/* ---- connections ---- */

bool delivery_want(struct delivery *d, struct delivery_want *out)
{
	struct list *n = list_pop(&d->wants);
	if (n == NULL)
		return false;
	struct want *w = LIST_ENTRY(n, struct want, node);
	list_push(&d->opening, &w->node);
	out->site = w->site->key;
	out->cookie = w;
	return true;
}

void delivery_attach(struct delivery *d, struct session *s, void *cookie)
{
	struct out *o = (struct out *)s;
	memset((char *)o + sizeof(o->s), 0, sizeof(*o) - sizeof(o->s));
	o->d = d;
	o->want = cookie;
	o->site = o->want->site;
	o->state = OUT_NEW;
	list_init(&o->idle);
	list_init(&o->woken);
}

void delivery_failed(struct delivery *d, void *cookie, enum err why)
{
	struct want *w = cookie;
	struct queue_site *site = w->site;
	char text[160];
	list_del(&w->node);
	free(w);
	site->n_opening--;
	site->n_conn--;
	if (why == ERR_TOO_MANY || why == ERR_NO_MEMORY || why == ERR_SHUTDOWN) {
		site->hold_us = d->env->wall_us + LOCAL_HOLD_US;
		return;
	}
	stat_inc(d->env->stat, STAT_delivery_connect_failed);
	int n = snprintf(text, sizeof(text), "connect to %s: %s", site->name, err_text(why));
	delivery_site_failed(d, site, false, span_of(text, n > 0 ? (size_t)n : 0));
}
