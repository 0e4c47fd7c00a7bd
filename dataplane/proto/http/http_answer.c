/* http_answer.c: the statuses and the form of an answer (RFC 9112 4; RFC 9110 6.6.1, 8.6, 10.2.1, 15). */
#include <stdio.h>
#include "http_int.h"
#include "mail_header.h"

static const struct status_row {
	uint16_t code;
	const char *reason;
	enum stat_id counter; /* besides http_requests; STAT__N: none */
} rows[] = {
	{200, "OK", STAT__N},
	{400, "Bad Request", STAT_http_bad_request},
	{404, "Not Found", STAT_http_refused},
	{405, "Method Not Allowed", STAT_http_refused},
	{408, "Request Timeout", STAT_http_timeout},
	{413, "Content Too Large", STAT_http_too_big},
	{414, "URI Too Long", STAT_http_too_big},
	{417, "Expectation Failed", STAT_http_refused},
	{431, "Request Header Fields Too Large", STAT_http_too_big},
	{501, "Not Implemented", STAT_http_refused},
	{503, "Service Unavailable", STAT_http_unavailable},
	{505, "HTTP Version Not Supported", STAT_http_refused},
};

static const struct status_row *row_of(unsigned status)
{
	const struct status_row *r = NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].code == status)
			r = &rows[i];
	CHECK(r != NULL);
	return r;
}

bool http_last(const struct http_session *hs)
{
	return hs->head.close || hs->s.env->shutting_down || (hs->head.minor == 0 && !hs->head.keep_alive);
}

/* "Thu, 01 Jan 2026 00:00:00 GMT" (RFC 9110 5.6.7): the date of mail with another zone. */
static void date_write(struct stream *st, uint64_t wall_us)
{
	char date[MAIL_DATE_MAX];
	size_t n = mail_date_rfc5322((struct mail_date){.unix_s = (int64_t)(wall_us / 1000000)}, date);
	stream_printf(st, "Date: %.*s GMT\r\n", (int)(n - strlen(" +0000")), date);
}

static void allow_write(struct stream *st, uint32_t methods)
{
	const char *between = "Allow: ";
	for (unsigned m = 0; m < HTTP_METHOD_N; m++) {
		if (!(methods & HTTP_METHOD(m)))
			continue;
		stream_str(st, between);
		stream_str(st, http_method_name[m]);
		between = ", ";
	}
	stream_str(st, "\r\n");
}

void http_answer(struct http_session *hs, unsigned status, const char *text)
{
	struct stream *st = &hs->s.st;
	const struct status_row *r = row_of(status);
	char own[64];
	if (*text == '\0') {
		(void)snprintf(own, sizeof(own), "%u %s\n", status, r->reason);
		text = own;
	}
	stat_inc(hs->s.env->stat, STAT_http_requests);
	if (r->counter != STAT__N)
		stat_inc(hs->s.env->stat, r->counter);
	stream_printf(st, "HTTP/1.1 %u %s\r\n", status, r->reason);
	date_write(st, hs->s.env->wall_us);
	if (status == 405)
		allow_write(st, hs->resource->methods);
	stream_printf(st, "Content-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: %zu\r\n", strlen(text));
	if (http_last(hs))
		stream_str(st, "Connection: close\r\n");
	else if (hs->head.minor == 0)
		stream_str(st, "Connection: keep-alive\r\n");
	stream_str(st, "\r\n");
	if (hs->head.method != HTTP_HEAD)
		stream_str(st, text);
}
