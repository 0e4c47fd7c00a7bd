/*
 * imap_auth.c: STARTTLS (RFC 3501 6.2.1), LOGIN (6.2.3) and AUTHENTICATE PLAIN (6.2.2, RFC 4616, with the initial response of
 * RFC 4959). Passwords are checked by directory/ on other threads; a wrong one is answered a second
 * later, the third ends the session. What a password stood in is wiped.
 */
#include "imap_int.h"
#include "mail_codec.h"
#include "sasl.h"

static void submit(struct imap *im, struct span user, struct span password)
{
	struct proto_env *env = im->s.env;
	struct auth_op *op = NULL;

	if (memchr(user.p ? user.p : (const uint8_t *)"", 0, user.len) == NULL)
		op = auth_submit(env->auth, env->conf, env->store_shared, user, password, im->s.index,
				 im->s.gen);
	if (im->cmd.len)
		sasl_wipe(im->cmd.p + im->tag_len, im->cmd.len - im->tag_len);
	if (!op)
		imap_finish(im, false, "NO [UNAVAILABLE] Cannot check that now");
	else
		imap_enter(im, IMAP_P_WAIT);
}

void imap_cmd_login(struct imap *im, struct imap_parser *p)
{
	struct span user, password;

	if (!session_may_auth(&im->s))
		imap_finish(im, false, "NO " IMAP_NEEDS_TLS);
	else if (!imap_parse_sp(p) || !imap_parse_astring(p, &user) || !imap_parse_sp(p) ||
	    !imap_parse_astring(p, &password) || !imap_parse_end(p))
		imap_bad(im, "LOGIN wants a user and a password");
	else
		submit(im, user, password);
}

/* The message of PLAIN in base64. raw lies in the arena, which ends with the command: it is wiped before. */
static void plain(struct imap *im, struct span b64)
{
	size_t cap = MAIL_B64_DEC_MAX(b64.len);
	uint8_t *raw = arena_alloc(&im->s.arena, cap + 1);
	struct sasl_plain m;

	if (!raw || !sasl_plain_read(b64, raw, cap, &m)) {
		imap_bad(im, "Invalid SASL PLAIN message");
	} else if (m.other) {
		sasl_wipe(raw, cap);
		imap_finish(im, false, "NO [AUTHORIZATIONFAILED] No log-in in another's name");
	} else {
		submit(im, m.user, m.password);
		sasl_wipe(raw, cap);
	}
}

/* RFC 3501 6.2.1: behind the OK nothing is remembered and nothing that came in clear is read. */
void imap_cmd_starttls(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "STARTTLS takes no argument");
	} else if (!session_offers_tls(&im->s)) {
		imap_bad(im, stream_is_tls(&im->s.st) ? "TLS is on already" : "Unknown command");
	} else {
		imap_tag_write(im);
		stream_str(&im->s.st, "OK Begin TLS negotiation now\r\n");
		imap_end(im);
		im->n_bad = 0;
		session_start_tls(&im->s, "imap");
	}
}

void imap_cmd_authenticate(struct imap *im, struct imap_parser *p)
{
	struct span mechanism;

	if (!imap_parse_sp(p) || !imap_parse_atom(p, &mechanism)) {
		imap_bad(im, "AUTHENTICATE wants a mechanism");
	} else if (!span_ieq(mechanism, SPAN("PLAIN"))) {
		imap_finish(im, false, "NO [CANNOT] Unknown mechanism");
	} else if (!session_may_auth(&im->s)) {
		imap_finish(im, false, "NO " IMAP_NEEDS_TLS);
	} else if (imap_parse_sp(p)) {
		/* "=" stands for an empty response (RFC 4959 3), which PLAIN cannot be */
		plain(im, imap_parse_rest(p));
	} else if (!imap_parse_end(p)) {
		imap_bad(im, "Syntax error");
	} else {
		stream_str(&im->s.st, "+ \r\n");
		imap_enter(im, IMAP_P_SASL);
	}
}

bool imap_step_sasl(struct imap *im)
{
	struct span line;
	enum err e = stream_line(&im->s.st, SASL_LINE_MAX, &line, NULL);

	if (e == ERR_MORE) {
		if (im->s.st.rx_eof)
			imap_bye(im, "Connection ended within a command");
		return false;
	}
	if (e != ERR_OK) {
		imap_bye(im, "[TOOBIG] Line too long");
		return false;
	}
	line = arena_copy(&im->s.arena, line);
	stream_line_done(&im->s.st);
	if (!line.p || span_eq(line, SPAN("*")))
		imap_bad(im, "Authentication given up");
	else
		plain(im, line);
	return true;
}

void imap_auth_done(struct session *s, struct auth_op *op)
{
	struct imap *im = (struct imap *)s;
	bool ok = op->ok;
	uint64_t acct = op->acct;
	char caps[IMAP_CAPS_MAX];

	auth_op_free(&op);
	if (im->phase != IMAP_P_WAIT)
		return;
	if (ok) {
		stat_inc(s->env->stat, STAT_imap_logins);
		im->acct = acct;
		im->state = IMAP_AUTH;
		s->deadline_us = imap_now(im) + imap_idle_us(im);
		imap_finish(im, false, "OK [CAPABILITY %s] Logged in", imap_capabilities(im, caps));
	} else {
		stat_inc(s->env->stat, STAT_auth_failed);
		im->n_denied++;
		s->deadline_us = imap_now(im) + IMAP_DELAY_US;
		imap_enter(im, IMAP_P_DELAY);
	}
	imap_run(im);
}

void imap_auth_denied(struct imap *im)
{
	imap_tag_write(im);
	stream_str(&im->s.st, "NO [AUTHENTICATIONFAILED] Wrong user or password\r\n");
	imap_end(im);
	if (im->n_denied >= IMAP_AUTH_TRIES)
		imap_bye(im, "Too many failed log-ins");
}
