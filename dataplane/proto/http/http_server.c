/*
 * http_server.c: the life of an HTTP session: one function a state, which takes what that state waits for off the
 * stream; requests, bodies, timeout, end.
 *
 * Invariants: 1. an answer is written when its request has been read to the end, or ends the connection; 2. head_len,
 * n_field and body_len never pass their limits; 3. after http_fail nothing is read.
 */
#include "http_server.h"
#include "http_int.h"

static_assert(sizeof(struct http_session) <= 512, "an idle session is to stay small");

#define MAY_END (HTTP_IN(HTTP_IDLE) | HTTP_IN(HTTP_CLOSING))
static const uint16_t next_states[HTTP_STATE_N] = {
	[HTTP_IDLE] = HTTP_IN(HTTP_FIELDS) | HTTP_IN(HTTP_CLOSING),
	[HTTP_FIELDS] = HTTP_IN(HTTP_BODY) | HTTP_IN(HTTP_CHUNK) | MAY_END,
	[HTTP_BODY] = MAY_END,
	[HTTP_CHUNK] = HTTP_IN(HTTP_DATA) | HTTP_IN(HTTP_TRAILER) | HTTP_IN(HTTP_CLOSING),
	[HTTP_DATA] = HTTP_IN(HTTP_DATA_END) | HTTP_IN(HTTP_CLOSING),
	[HTTP_DATA_END] = HTTP_IN(HTTP_CHUNK) | HTTP_IN(HTTP_CLOSING),
	[HTTP_TRAILER] = MAY_END,
	[HTTP_CLOSING] = 0,
};

static void enter(struct http_session *hs, enum http_state to)
{
	CHECK(next_states[hs->state] & HTTP_IN(to));
	hs->state = (uint8_t)to;
}

static void deadline(struct http_session *hs)
{
	hs->s.deadline_us = hs->s.env->now_us + (uint64_t)hs->s.env->conf->http_timeout_s * 1000000;
}

static void http_end(struct http_session *hs)
{
	enter(hs, HTTP_CLOSING);
	hs->s.deadline_us = 0;
	stream_close(&hs->s.st);
}

/* Refuses at once: the rest of the request is not looked at. */
static void http_fail(struct http_session *hs, unsigned status)
{
	hs->head.close = true;
	http_answer(hs, status, "");
	http_end(hs);
}

/* Makes ready for the next request. */
static void request_reset(struct http_session *hs)
{
	http_head_init(&hs->head);
	hs->resource = NULL;
	hs->left = 0;
	hs->body_len = hs->head_len = 0;
	hs->n_field = hs->status = 0;
	hs->blank = false;
	deadline(hs);
}

static void request_run(struct http_session *hs)
{
	if (hs->status)
		http_answer(hs, hs->status, "");
	else
		hs->resource->run(hs);
	if (http_last(hs)) {
		http_end(hs);
		return;
	}
	enter(hs, HTTP_IDLE);
	request_reset(hs);
}

/* ---- lines ---- */
/* A line of at most max bytes with its CRLF; too_long: the status where it has more. False: none yet, or refused. */
static bool line_read(struct http_session *hs, uint32_t max, unsigned too_long, struct span *line)
{
	bool bare;
	enum err e = stream_line(&hs->s.st, max, line, &bare);
	if (e == ERR_MORE)
		return false;
	if (e == ERR_OK && !bare && !memchr(line->p, '\r', line->len))
		return true;
	http_fail(hs, e == ERR_OK ? 400 : e == ERR_TOO_LONG ? too_long : 503);
	return false;
}

/* A line of the head or the trailer section: counted against what a head may have. */
static bool head_line(struct http_session *hs, unsigned too_long, struct span *line)
{
	uint32_t left = HTTP_HEAD_MAX - hs->head_len;
	if (!line_read(hs, left < HTTP_LINE_MAX ? left : HTTP_LINE_MAX, too_long, line))
		return false;
	hs->head_len += (uint32_t)line->len + 2;
	return true;
}

/* ---- one function a state: true: something was read and the session goes on ---- */
static bool read_request_line(struct http_session *hs)
{
	struct span line, path;
	if (!head_line(hs, 414, &line))
		return false;
	if (line.len == 0 && !hs->blank) {
		hs->blank = true;
		stream_line_done(&hs->s.st);
		return true;
	}
	unsigned bad = http_request_line(line, &hs->head, &path);
	if (bad) {
		http_fail(hs, bad);
		return false;
	}
	hs->resource = http_resource_find(path);
	if (hs->head.method == HTTP_METHOD_N)
		hs->status = 501;
	else if (!hs->resource)
		hs->status = 404;
	else if (!(hs->resource->methods & HTTP_METHOD(hs->head.method)))
		hs->status = 405;
	stream_line_done(&hs->s.st);
	trace_put(hs->s.env->trace, hs->s.env->now_us, TRACE_session_cmd, hs->s.index, hs->head.method, hs->state);
	enter(hs, HTTP_FIELDS);
	deadline(hs);
	return true;
}

static void body_begin(struct http_session *hs)
{
	const struct http_head *h = &hs->head;
	if (h->expect && h->minor > 0) {
		/* RFC 9110 10.1.1. Whether a refused client sends its body then is not known: the connection ends. */
		if (hs->status) {
			http_fail(hs, hs->status);
			return;
		}
		stream_str(&hs->s.st, "HTTP/1.1 100 Continue\r\n\r\n");
	}
	hs->left = h->chunked ? 0 : h->length;
	enter(hs, h->chunked ? HTTP_CHUNK : HTTP_BODY);
}

static bool head_end(struct http_session *hs)
{
	const struct http_head *h = &hs->head;
	unsigned bad = http_head_end(h);
	if (!bad && h->has_length && h->length > HTTP_BODY_MAX)
		bad = 413;
	if (bad) {
		http_fail(hs, bad);
		return false;
	}
	stream_line_done(&hs->s.st);
	if (h->expect_other && !hs->status)
		hs->status = 417;
	if (h->chunked || h->length > 0)
		body_begin(hs);
	else
		request_run(hs);
	return hs->state != HTTP_CLOSING;
}

static bool read_field(struct http_session *hs)
{
	struct span line;
	if (!head_line(hs, 431, &line))
		return false;
	if (line.len == 0)
		return head_end(hs);
	unsigned bad = ++hs->n_field > HTTP_FIELDS_MAX ? 431 : http_field(line, &hs->head);
	if (bad) {
		http_fail(hs, bad);
		return false;
	}
	stream_line_done(&hs->s.st);
	return true;
}

static void bytes_pass(struct http_session *hs)
{
	uint64_t n = stream_readable(&hs->s.st);
	if (n > hs->left)
		n = hs->left;
	stream_consume(&hs->s.st, n);
	hs->left -= n;
}

static bool read_body(struct http_session *hs)
{
	bytes_pass(hs);
	if (hs->left == 0)
		request_run(hs);
	return hs->state != HTTP_CLOSING;
}

static bool read_chunk(struct http_session *hs)
{
	struct span line;
	if (!line_read(hs, HTTP_CHUNK_LINE_MAX, 400, &line))
		return false;
	unsigned bad = http_chunk_size(line, &hs->left);
	if (!bad && hs->left > HTTP_BODY_MAX - hs->body_len)
		bad = 413;
	if (bad) {
		http_fail(hs, bad);
		return false;
	}
	stream_line_done(&hs->s.st);
	hs->body_len += (uint32_t)hs->left;
	enter(hs, hs->left ? HTTP_DATA : HTTP_TRAILER);
	return true;
}

static bool read_data(struct http_session *hs)
{
	bytes_pass(hs);
	if (hs->left == 0)
		enter(hs, HTTP_DATA_END);
	return true;
}

static bool read_data_end(struct http_session *hs)
{
	struct span line;
	if (!line_read(hs, 2, 400, &line))
		return false;
	stream_line_done(&hs->s.st);
	enter(hs, HTTP_CHUNK);
	return true;
}

static bool read_trailer(struct http_session *hs)
{
	struct span line;
	if (!head_line(hs, 431, &line))
		return false;
	unsigned bad = line.len == 0 ? 0 : ++hs->n_field > HTTP_FIELDS_MAX ? 431 : http_trailer(line);
	if (bad) {
		http_fail(hs, bad);
		return false;
	}
	bool end = line.len == 0;
	stream_line_done(&hs->s.st);
	if (end)
		request_run(hs);
	return hs->state != HTTP_CLOSING;
}

static bool (*const read_state[HTTP_STATE_N])(struct http_session *hs) = {
	[HTTP_IDLE] = read_request_line, [HTTP_FIELDS] = read_field, [HTTP_BODY] = read_body, [HTTP_CHUNK] = read_chunk,
	[HTTP_DATA] = read_data, [HTTP_DATA_END] = read_data_end, [HTTP_TRAILER] = read_trailer,
};

/* ---- the loop ---- */
static void http_open(struct session *s)
{
	struct http_session *hs = http_of(s);
	memset((uint8_t *)hs + sizeof(*s), 0, sizeof(*hs) - sizeof(*s));
	stat_inc(s->env->stat, STAT_http_connections);
	request_reset(hs);
}

static void http_input(struct session *s)
{
	struct http_session *hs = http_of(s);
	bool more = true;
	while (more && hs->state != HTTP_CLOSING && !s->st.failed && stream_readable(&s->st) > 0 &&
	       stream_pending(&s->st) < STREAM_TX_HIGH)
		more = read_state[hs->state](hs);
	if (s->st.rx_eof && hs->state != HTTP_CLOSING && (!more || stream_readable(&s->st) == 0))
		http_end(hs);
}

/* No resource asks the store or checks a password: what comes is late and of another session. */
static void http_store_done(struct session *s, struct store_op *op)
{
	(void)s;
	store_op_free(&op);
}

static void http_auth_done(struct session *s, struct auth_op *op)
{
	(void)s;
	auth_op_free(&op);
}

static void http_timeout(struct session *s)
{
	struct http_session *hs = http_of(s);
	if (hs->state == HTTP_CLOSING)
		return;
	if (stream_pending(&s->st) == 0 && (hs->state != HTTP_IDLE || stream_readable(&s->st) > 0)) {
		http_fail(hs, 408);
		return;
	}
	stat_inc(s->env->stat, STAT_http_timeout);
	if (stream_pending(&s->st) > 0)
		stream_abort(&s->st);
	http_end(hs);
}

/* A request under way is still answered, with Connection: close. */
static void http_shutdown(struct session *s)
{
	struct http_session *hs = http_of(s);
	if (hs->state == HTTP_IDLE && stream_readable(&s->st) == 0)
		http_end(hs);
}

static void http_gone(struct session *s)
{
	(void)s;
}

const struct proto http_proto = {
	.name = "http",
	.size = sizeof(struct http_session),
	.open = http_open,
	.input = http_input,
	.store_done = http_store_done,
	.auth_done = http_auth_done,
	.timeout = http_timeout,
	.shutdown = http_shutdown,
	.close = http_gone,
};
