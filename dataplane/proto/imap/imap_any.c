/*
 * imap_any.c: the commands of every state: CAPABILITY, NOOP (and CHECK), LOGOUT (RFC 3501 6.1), ID (RFC 2971), ENABLE
 * (RFC 5161); and what the server says it can do.
 */
#include <stdio.h>
#include "imap_int.h"

const char *imap_capabilities(const struct imap *im, char out[IMAP_CAPS_MAX])
{
	int n = snprintf(out, IMAP_CAPS_MAX,
			 "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS UNSELECT MOVE CHILDREN "
			 "LIST-EXTENDED LIST-STATUS SPECIAL-USE ESEARCH WITHIN STATUS=SIZE APPENDLIMIT=%llu%s%s",
			 (unsigned long long)im->s.env->conf->message_size_max,
			 im->state == IMAP_NEW && session_offers_tls(&im->s) ? " STARTTLS" : "",
			 im->state != IMAP_NEW ? "" : session_may_auth(&im->s) ? " AUTH=PLAIN" : " LOGINDISABLED");

	CHECK(n > 0 && n < IMAP_CAPS_MAX);
	return out;
}

void imap_cmd_capability(struct imap *im, struct imap_parser *p)
{
	char caps[IMAP_CAPS_MAX];

	if (!imap_parse_end(p)) {
		imap_bad(im, "CAPABILITY takes no argument");
		return;
	}
	stream_printf(&im->s.st, "* CAPABILITY %s\r\n", imap_capabilities(im, caps));
	imap_finish_ok(im, false);
}

/* NOOP and CHECK: the moment to tell what is new. */
void imap_cmd_noop(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "No argument is taken");
		return;
	}
	imap_finish_ok(im, true);
}

void imap_cmd_logout(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "LOGOUT takes no argument");
		return;
	}
	stream_str(&im->s.st, "* BYE Logging out\r\n");
	imap_tag_write(im);
	stream_str(&im->s.st, "OK LOGOUT completed\r\n");
	stream_close(&im->s.st);
	im->s.deadline_us = imap_now(im) + IMAP_LAST_US;
	imap_enter(im, IMAP_P_CLOSED);
	imap_end(im);
}

/* RFC 2971 3.3: at most 30 pairs; what the client says of itself is of no use here. */
static bool id_params(struct imap_parser *p)
{
	struct span key, value;

	if (imap_parse_word(p, SPAN("NIL")))
		return true;
	if (!imap_parse_char(p, '('))
		return false;
	if (imap_parse_char(p, ')'))
		return true;
	for (unsigned i = 0; i < 30; i++) {
		if (!imap_parse_string(p, &key) || !imap_parse_sp(p) || !imap_parse_nstring(p, &value))
			return false;
		if (imap_parse_char(p, ')'))
			return true;
		if (!imap_parse_sp(p))
			return false;
	}
	return false;
}

void imap_cmd_id(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_sp(p) || !id_params(p) || !imap_parse_end(p)) {
		imap_bad(im, "ID wants NIL or a list of pairs");
		return;
	}
	stream_str(&im->s.st, "* ID (\"name\" \"veredus\")\r\n");
	imap_finish_ok(im, false);
}

/* RFC 5161: unknown words are ignored, and none is known yet. */
void imap_cmd_enable(struct imap *im, struct imap_parser *p)
{
	struct span word;
	unsigned n = 0;

	while (imap_parse_sp(p) && imap_parse_atom(p, &word))
		n++;
	if (!n || !imap_parse_end(p)) {
		imap_bad(im, "ENABLE wants names of capabilities");
		return;
	}
	stream_str(&im->s.st, "* ENABLED\r\n");
	imap_finish_ok(im, false);
}
