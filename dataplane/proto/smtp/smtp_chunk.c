/*
 * smtp_chunk.c: BDAT (RFC 3030): a message in chunks whose lengths are said, by reference like DATA.
 *
 * Invariants: 1. the octets of a BDAT whose length is known are never read as commands, whatever is wrong with the
 * command; where the length is not known the session ends; 2. in a message not declared BINARYMIME bare CR, bare
 * LF and NUL are treated as in DATA, across chunks; 3. a refused chunk ends the transaction; 4. chunks cost
 * nothing but their octets: small ones are put together in packets, and nothing is kept of the commands.
 * Hot path.
 */
#include "smtp_int.h"
#include "hot.h"

/* Reads n octets over, then says reply. */
static void skip(struct smtp_session *ss, uint64_t n, const char *reply)
{
	ss->skip = n;
	ss->skip_reply = reply;
	if (n == 0)
		smtp_reply(ss, reply);
}

bool smtp_chunk_skip(struct smtp_session *ss)
{
	struct stream *st = &ss->s.st;
	uint64_t n = stream_readable(st) < ss->skip ? stream_readable(st) : ss->skip;
	stream_consume(st, n);
	ss->skip -= n;
	if (n >= SMTP_PROGRESS || ss->skip == 0)
		smtp_deadline(ss);
	if (ss->skip > 0)
		return false;
	smtp_reply(ss, ss->skip_reply);
	return true;
}

/* The chunk (and so the transaction) is refused: RFC 3030 4.2. */
static void chunk_refuse(struct smtp_session *ss, uint64_t n, enum stat_id why, const char *reply)
{
	stat_inc(ss->s.env->stat, why);
	if (ss->txn) {
		smtp_txn_end(ss);
		smtp_enter(ss, SMTP_READY);
	}
	skip(ss, n, reply);
}

static void chunk_end(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	if (t->chunk_last) {
		mail_chunk_end(&t->scan);
		smtp_body_end(ss);
		return;
	}
	smtp_enter(ss, SMTP_CHUNKS);
	if (t->refused)
		smtp_body_refused(ss);
	else
		smtp_replyf(ss, "250 2.0.0 %llu octets received\r\n", (unsigned long long)t->chunk_len);
}

/* The length, and whether it is the last; false: not a BDAT command. */
static bool parse(struct span arg, uint64_t *n, bool *last)
{
	ptrdiff_t sp = span_find(arg, ' ');
	struct span word = sp < 0 ? span_of(NULL, 0) : span_trim(span_from(arg, (size_t)sp));
	*last = word.len > 0;
	if (word.len > 0 && !span_ieq(word, SPAN("LAST")))
		return false;
	return span_u64(sp < 0 ? arg : span_head(arg, (size_t)sp), INT64_MAX, n);
}

void smtp_chunk_command(struct smtp_session *ss, struct span arg)
{
	struct proto_env *env = ss->s.env;
	uint64_t n;
	bool last;
	if (!parse(arg, &n, &last)) { /* nobody knows where the octets end and commands begin again */
		stat_inc(env->stat, STAT_smtp_bad_command);
		smtp_bye(ss, "521 5.5.4 Syntax: BDAT length [LAST]\r\n");
		return;
	}
	if (!(SMTP_IN(ss->state) & (SMTP_IN(SMTP_RCPT) | SMTP_IN(SMTP_CHUNKS)))) {
		stat_inc(env->stat, STAT_smtp_bad_sequence);
		skip(ss, n, ss->state == SMTP_START  ? "503 5.5.1 Say EHLO or HELO first\r\n" :
			    ss->state == SMTP_MAIL ? "554 5.5.1 No valid recipients\r\n" :
						     "503 5.5.1 Say MAIL first\r\n");
		return;
	}
	if (ss->state == SMTP_RCPT && !smtp_body_begin(ss)) {
		chunk_refuse(ss, n, STAT_smtp_tempfail, "452 4.3.1 Out of memory, try again later\r\n");
		return;
	}
	struct smtp_txn *t = ss->txn;
	if (n > env->conf->message_size_max || t->scan.size + n > env->conf->message_size_max) {
		chunk_refuse(ss, n, STAT_smtp_too_big, "552 5.3.4 Message too big\r\n");
		return;
	}
	t->chunk_len = t->chunk_left = n;
	t->chunk_last = last;
	smtp_enter(ss, SMTP_CHUNK);
	if (n == 0)
		chunk_end(ss);
}

bool smtp_chunk_read(struct smtp_session *ss)
{
	struct smtp_txn *t = ss->txn;
	if (t->ended || smtp_body_full(ss))
		return false;
	struct span in = stream_peek(&ss->s.st);
	if (in.len > t->chunk_left)
		in.len = (size_t)t->chunk_left;
	mail_chunk_scan(&t->scan, in.p, in.len);
	t->chunk_left -= in.len;
	struct mail_run run = {0, (uint32_t)in.len};
	struct mail_data_step step = {.consumed = in.len, .n_runs = 1};
	smtp_body_take(ss, in, &run, &step);
	if (t->chunk_left == 0) {
		chunk_end(ss);
		return SMTP_IN(ss->state) & (SMTP_IN(SMTP_READY) | SMTP_IN(SMTP_CHUNKS));
	}
	return true;
}
