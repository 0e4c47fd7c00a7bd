/*
 * pop3_int.h: what the files of the POP3 server share.
 *
 * A session before login holds its struct; after login also the snapshot (32 bytes a message) and one
 * store operation put aside for the unlock, so that an account is let go whatever happens. The arena
 * holds the reply under way and is empty otherwise.
 */
#ifndef VEREDUS_POP3_INT_H
#define VEREDUS_POP3_INT_H

#include <assert.h>
#include "mail_data.h"
#include "proto.h"

enum pop3_state {
	POP3_AUTH,
	POP3_CHECK,   /* the password is with a helper thread */
	POP3_DELAY,   /* it was wrong: the answer waits */
	POP3_LOCK,
	POP3_SYNC,
	POP3_TRANS,
	POP3_SEND,    /* a reply of several lines is under way */
	POP3_UPDATE,  /* the expunge is with the store */
	POP3_CLOSING,
	POP3_STATE_N
};
#define POP3_IN(state) (1u << (state))

#define POP3_LINE_MAX 512 /* RFC 2449 4 has 255; long passwords are more useful */
#define POP3_FAIL_US 1000000 /* a wrong password is answered after this */
#define POP3_READ (128u * 1024) /* bytes a read from the store */

struct pop3_msg {
	store_id oid, blob;
	uint32_t uid, size;
	bool deleted;
};

/* A reply of several lines. In the arena. */
struct pop3_send {
	enum { POP3_SEND_LIST, POP3_SEND_UIDL, POP3_SEND_MESSAGE } kind;
	uint32_t next;      /* LIST, UIDL: message to come */
	store_id blob;
	uint64_t off, size; /* of the blob: what was asked for, all */
	bool reading, started, done;
	struct mail_stuff stuff;
	bool top;           /* header and `lines` lines of the body only */
	uint64_t lines;
	bool in_body, line_begun; /* line_begun: the line holds more than a CR */
};

struct pop3_session {
	struct session s; /* first */
	struct pop3_send *send;
	struct pop3_msg *msg;
	char *user;             /* from USER, until PASS; malloc'ed */
	struct store_op *unlock; /* held while the account is locked */
	uint64_t acct;
	uint32_t n_msg, n_deleted;
	uint8_t state;          /* enum pop3_state */
	bool skip_line;
	uint16_t errors;
};

static inline struct pop3_session *pop3_of(struct session *s)
{
	return (struct pop3_session *)s;
}

/* ---- pop3_server.c ---- */
void pop3_enter(struct pop3_session *ps, enum pop3_state to);
void pop3_deadline(struct pop3_session *ps);
/* An -ERR that is the client's fault. */
void pop3_bad(struct pop3_session *ps, const char *reply);
void pop3_close(struct pop3_session *ps);
void pop3_login(struct pop3_session *ps, struct span user, struct span pass);
void pop3_quit(struct pop3_session *ps);

/* ---- pop3_command.c ---- */
void pop3_command(struct pop3_session *ps, struct span line);

/* ---- pop3_send.c ---- */
void pop3_send_list(struct pop3_session *ps, bool uidl);
/* lines: UINT64_MAX = all (RETR), else TOP. */
void pop3_send_message(struct pop3_session *ps, const struct pop3_msg *m, uint64_t lines);
/* Goes on while there is room for output. */
void pop3_send_more(struct pop3_session *ps);
void pop3_send_read(struct pop3_session *ps, struct store_op *op);

#endif
