/*
 * smtp_int.h: what the files of the SMTP server share.
 *
 * A session at rest holds its struct and, after HELO, a copy of the client's name; the transaction lives in
 * the session's arena from MAIL to the commit, and nothing of it outlives that.
 */
#ifndef VEREDUS_SMTP_INT_H
#define VEREDUS_SMTP_INT_H

#include <assert.h>
#include "mail_addr.h"
#include "mail_data.h"
#include "proto.h"

enum smtp_state {
	SMTP_GREETING, /* 220 has not left yet: the client may not speak */
	SMTP_START,    /* waits for HELO or EHLO */
	SMTP_READY,
	SMTP_AUTH,     /* reads the answer to an AUTH challenge */
	SMTP_CHECK,    /* a password is being checked; nothing is read */
	SMTP_MAIL,     /* a sender, no recipient */
	SMTP_RCPT,     /* at least one recipient */
	SMTP_DATA,     /* reads the message */
	SMTP_CHUNK,    /* reads the octets of a BDAT */
	SMTP_CHUNKS,   /* some BDATs have come, the last one has not */
	SMTP_COMMIT,   /* the store has it; later commands wait */
	SMTP_CLOSING,  /* nothing is read any more */
	SMTP_STATE_N
};
#define SMTP_IN(state) (1u << (state))

/* RFC 5321 4.5.3.1.4, with CRLF. MAIL has more: SIZE (RFC 1870 3: 26), BODY (RFC 6152 2: 17), RET and ENVID (RFC
 * 3461 4: 9, 107); RCPT has NOTIFY and ORCPT (29, 507). */
#define SMTP_LINE_MAX 512
#define SMTP_LINE_MAX_MAIL (SMTP_LINE_MAX + 26 + 17 + 9 + 107)
#define SMTP_LINE_MAX_RCPT (SMTP_LINE_MAX + 29 + 507)
#define SMTP_LINE_MAX_ANY SMTP_LINE_MAX_RCPT
#define SMTP_HELO_MAX 255
#define SMTP_ARENA_MAX (2u << 20) /* of a transaction: some 10,000 recipients */

#define SMTP_PART (256u * 1024) /* bytes of a message that are written before its end has come */
#define SMTP_PARTS_MAX 2        /* such parts under way; then the session stops reading */
#define SMTP_PROGRESS 512       /* bytes of DATA that push the deadline on: no dribbling for ever */

/* Counts Received fields in the header as it streams by (RFC 5321 6.3). */
struct smtp_hops {
	uint32_t n;
	int8_t col; /* bytes of "received:" matched at the line's beginning; -1: another line */
	bool done;  /* the header has ended */
};

/* From MAIL to the commit. In the arena. */
struct smtp_txn {
	struct span from;
	struct queue_rcpt *rcpt;
	uint32_t *rcpt_hash;
	uint32_t n_rcpt, rcpt_cap;
	uint32_t n_rcpt_cmd;     /* accepted RCPT commands, with those that named someone again */
	bool body_8bit;
	bool body_binary;        /* BODY=BINARYMIME: what comes is kept byte for byte */
	uint8_t ret;
	struct span envid;
	/* DATA, BDAT */
	struct mail_data_scan scan;
	struct slices body;      /* what came and is not with the store yet */
	store_id blob;
	uint64_t sent;           /* bytes given to the store as STORE_BODY */
	uint64_t mark;           /* scan.size when the deadline was set */
	uint32_t relay_off;
	struct smtp_hops hops;
	bool dirty;              /* bare CR or LF seen: from there on bytes are copied and put right */
	bool cr;                 /* dirty: a CR is held back */
	bool ended;              /* CRLF.CRLF seen, or the last chunk read */
	const char *refused;     /* reply instead of 250; the rest is read and thrown away */
	/* BDAT */
	uint64_t chunk_len, chunk_left;
	bool chunk_last;
};

/* What stood behind the path of MAIL or RCPT. */
struct smtp_param {
	const struct conf *conf; /* in */
	uint64_t size;
	bool size_overflow, body_8bit, body_binary;
	uint8_t ret, notify;
	struct span envid, orcpt; /* of the command line */
};

struct smtp_session {
	struct session s; /* first */
	struct smtp_txn *txn;
	char *helo;       /* NULL: none yet; malloc'ed */
	char *user;       /* logged in as; malloc'ed account name */
	struct span login_user; /* AUTH LOGIN: between the two answers; in the arena */
	uint8_t state;    /* enum smtp_state */
	bool esmtp;
	uint8_t auth_step, n_denied;
	bool skip_line;   /* the rest of a line that was too long */
	uint8_t parts;    /* STORE_BODY operations under way */
	uint16_t errors;
	uint64_t skip;    /* octets of a refused BDAT that are still to come */
	const char *skip_reply;
	uint32_t txn_seq; /* operations of an older transaction are told by it */
};

static inline struct smtp_session *smtp_of(struct session *s)
{
	return (struct smtp_session *)s;
}

/* ---- smtp_server.c ---- */
void smtp_enter(struct smtp_session *ss, enum smtp_state to);
/* text: one or more whole lines with CRLF. A 5xx counts as an error. */
void smtp_reply(struct smtp_session *ss, const char *text);
void smtp_replyf(struct smtp_session *ss, const char *fmt, ...) PRINTF(2, 3);
/* Says text and closes. */
void smtp_bye(struct smtp_session *ss, const char *text);
void smtp_deadline(struct smtp_session *ss);
/* Drops the transaction and its memory. */
void smtp_txn_end(struct smtp_session *ss);

/* ---- smtp_command.c ---- */
/* One command line without its end. */
void smtp_command(struct smtp_session *ss, struct span line, uint32_t line_len);
/* Is this the beginning of something that is no SMTP (TLS, HTTP)? Needs 8 bytes or a whole line to be sure. */
bool smtp_is_foreign(struct span head);

/* ---- smtp_param.c ---- */
/* NULL, or the reply that refuses. */
const char *smtp_param_mail(struct span tail, struct smtp_param *a);
const char *smtp_param_rcpt(struct span tail, struct smtp_param *a);

/* ---- smtp_chunk.c ---- */
void smtp_chunk_command(struct smtp_session *ss, struct span arg);
/* Reads on in SMTP_CHUNK, as smtp_data_read. */
bool smtp_chunk_read(struct smtp_session *ss);
/* Reads on over ss->skip octets. */
bool smtp_chunk_skip(struct smtp_session *ss);

/* ---- smtp_tls.c ---- */
/* STARTTLS (RFC 3207). */
void smtp_tls_command(struct smtp_session *ss);
/* "(using VERSION with cipher NAME)" for Received, or nothing in clear; returns its length, under SMTP_TLS_TEXT. */
#define SMTP_TLS_TEXT 128
size_t smtp_tls_text(struct smtp_session *ss, char out[SMTP_TLS_TEXT]);

/* ---- smtp_auth.c ---- */
/* Users log in on this listener (submission). */
bool smtp_auth_needed(const struct smtp_session *ss);
bool smtp_auth_offered(const struct smtp_session *ss);
void smtp_auth_command(struct smtp_session *ss, struct span arg);
/* Reads on in SMTP_AUTH. */
bool smtp_auth_read(struct smtp_session *ss);
void smtp_auth_result(struct smtp_session *ss, const struct auth_op *op);
/* The second after a wrong password is over. */
void smtp_auth_denied(struct smtp_session *ss);
void smtp_auth_forget(struct smtp_session *ss);
/* May it be sent by whoever is logged in? The null sender may. */
bool smtp_auth_owns(const struct smtp_session *ss, const struct mail_addr *from);

/* ---- smtp_data.c ---- */
/* The message begins: its id and our headers. False: no memory. */
bool smtp_body_begin(struct smtp_session *ss);
/* Keeps the runs of what was read, and takes all of it out of the stream; refuses what may not be. */
void smtp_body_take(struct smtp_session *ss, struct span in, const struct mail_run *runs,
		    const struct mail_data_step *step);
/* The message has come in full: to the store, or the reply that refuses it. */
void smtp_body_end(struct smtp_session *ss);
/* Between chunks: says why the message is refused and drops it. */
void smtp_body_refused(struct smtp_session *ss);
/* So much is under way to the store that nothing more is read. */
static inline bool smtp_body_full(const struct smtp_session *ss)
{
	return ss->parts == SMTP_PARTS_MAX && ss->txn->body.len > SMTP_PART;
}
/* The reply to DATA and the headers of our own; enters SMTP_DATA. */
void smtp_data_begin(struct smtp_session *ss);
/* Reads on in SMTP_DATA; false when nothing can be done before more comes or the store answers. */
bool smtp_data_read(struct smtp_session *ss);
/* A STORE_BODY or STORE_COMMIT came back. */
void smtp_data_done(struct smtp_session *ss, struct store_op *op);

#endif
