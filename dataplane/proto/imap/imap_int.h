/*
 * imap_int.h: the IMAP session, shared by the files of this folder.
 *
 * Phases (imap_session.c runs step[phase] until one has to wait):
 *
 *   LINE --line ends in {n}--> LITERAL --n bytes--> LINE       (command_line, step_literal)
 *   LINE --literal too big---> SKIP ----n bytes---> LINE       (refuse)
 *   LINE --APPEND's literal--> APPEND --stored----> FLUSH      (imap_append.c)
 *   LINE --AUTHENTICATE------> SASL --line--------> WAIT       (imap_auth.c)
 *   LINE --IDLE--------------> IDLE --DONE--------> FLUSH      (imap_idle.c; to WAIT and back for a SYNC)
 *   LINE --command complete--> WAIT  an answer of the store or of a password helper is outstanding
 *                          \-> WORK  output is made as long as there is room (FETCH, SEARCH, LIST)
 *                          \-> FLUSH untagged updates, then the tagged reply --> LINE
 *   WAIT --wrong password----> DELAY --1 s--------> FLUSH
 *   any  --end---------------> CLOSED
 *
 * Invariants: 1. a command begins when the one before has been answered; 2. phase WAIT waits for im->op (or a
 * password), APPEND with op_busy too; besides it only a WATCH and reads ahead are under way; 3. view != NULL exactly
 * when state is SELECTED; 4. EXPUNGE goes out only in FLUSH or IDLE, and never for FETCH, STORE or SEARCH
 * without UID; 5. what a command allocates is in the session's arena, cmd, reply or msg, and let go when it ends.
 */
#ifndef VEREDUS_IMAP_INT_H
#define VEREDUS_IMAP_INT_H

#include "imap_parse.h"
#include "imap_set.h"
#include "mail_mime.h"
#include "proto.h"

#define IMAP_LINE_MAX_NEW  4096u     /* a whole command with its literals, before login */
#define IMAP_LINE_MAX      65536u    /* after login */
#define IMAP_ARENA_MAX     (4u << 20)  /* of a command */
#define IMAP_SCRATCH_MAX   (32u << 20) /* of one message's MIME tree and texts */
#define IMAP_MSG_MAX       (256u << 20) /* no message above is taken into memory */
#define IMAP_LOGIN_US      60000000ull
#define IMAP_IDLE_US       1800000000ull /* RFC 3501 5.4: at least 30 minutes */
#define IMAP_LAST_US       60000000ull /* for the peer to take our last words */
#define IMAP_DELAY_US      1000000ull
#define IMAP_POLL_US       10000000ull /* IDLE when no operation is left for a WATCH */
#define IMAP_AUTH_TRIES    3
#define IMAP_BAD_MAX       20 /* in a row */
#define IMAP_BAD_MAX_NEW   5
#define IMAP_NAME_MAX      1000 /* bytes of a mailbox name in UTF-8 */
#define IMAP_READ_MAX      131072u /* bytes asked of the store at a time */
#define IMAP_AHEAD         8       /* reads ahead of the message at hand */

enum imap_state { IMAP_NEW = 1, IMAP_AUTH = 2, IMAP_SELECTED = 4 };

enum imap_phase {
	IMAP_P_LINE,
	IMAP_P_LITERAL,
	IMAP_P_SKIP,
	IMAP_P_APPEND,
	IMAP_P_SASL,
	IMAP_P_IDLE,
	IMAP_P_WAIT,
	IMAP_P_WORK,
	IMAP_P_FLUSH,
	IMAP_P_DELAY,
	IMAP_P_CLOSED,
	IMAP_P_N
};

/* The session's own bits in store_ent.flags. */
#define IMAP_ENT_GONE   (1u << 31) /* expunged; the client has not been told */
#define IMAP_ENT_DIRTY  (1u << 30) /* flags changed; the client has not been told */
#define IMAP_ENT_RECENT (1u << 29)
#define IMAP_ENT_OWN    (IMAP_ENT_GONE | IMAP_ENT_DIRTY | IMAP_ENT_RECENT)

/* The folder as this client sees it: ent[i] is message number i + 1. */
struct imap_view {
	uint32_t folder, uidvalidity, uidnext;
	uint32_t n, cap;
	uint32_t told;      /* messages the client knows of: EXISTS as last sent, less EXPUNGEs */
	uint32_t n_gone;    /* entries with IMAP_ENT_GONE */
	uint32_t n_dirty;   /* at least as many as carry IMAP_ENT_DIRTY */
	uint32_t flush_i;   /* where a flush that ran out of room goes on */
	uint32_t n_kw;
	char **kw;          /* names of keyword bits, one block */
	struct store_ent *ent;
	uint64_t modseq;    /* as of the last SYNC */
	uint64_t synced_us;
	bool readonly;
	bool kw_new;        /* keywords that the client has not seen in FLAGS */
};

/* What our own STORE should have made of the flags: what came out so needs no report (.SILENT). */
struct imap_predict {
	struct imap_set set;
	enum store_flag_mode mode;
	uint32_t flags;
	struct span kws;
	bool silent;
};

/* The message at hand of FETCH and SEARCH. */
struct imap_msg {
	uint8_t *p;       /* malloc */
	size_t len;       /* bytes there */
	size_t want;      /* bytes to read */
	uint32_t size;    /* of the whole message */
	store_id blob;
	bool head;        /* the header's end is inside */
	bool whole;       /* all of it is asked for */
	bool parsed;
	struct mail_mime mime; /* in scratch */
	struct arena scratch;
	bool text_made;
	struct buf text;  /* what SEARCH BODY looks at */
};

struct imap;
typedef void imap_next(struct imap *im, struct store_op *op);     /* frees op */
typedef void imap_loaded(struct imap *im, enum err e);
typedef void imap_command(struct imap *im, struct imap_parser *p);

/* One row of the command table. */
struct imap_verb {
	struct span name;
	uint8_t states;  /* mask of enum imap_state */
	uint8_t uid;     /* IMAP_UID_*  */
	bool hold;       /* no EXPUNGE in its answers, unless with UID (RFC 3501 7.4.1) */
	imap_command *run;
};
enum { IMAP_UID_NO, IMAP_UID_MAY };

/* f is gone when this returns. */
typedef void imap_folder_next(struct imap *im, enum err e, const struct store_folder *f);

struct imap {
	struct session s;
	/* the connection */
	uint8_t state, phase;
	uint8_t n_bad, n_denied;
	bool uid;         /* the command is a UID command */
	bool op_busy;     /* APPEND: a part (im->op) is on its way */
	bool flush_all;   /* the flush may send EXPUNGE */
	uint64_t acct;
	/* the command */
	const struct imap_verb *verb;
	struct buf cmd;   /* its text; the tag is its first tag_len bytes */
	uint32_t tag_len;
	uint64_t literal; /* bytes still to come */
	const char *refused; /* reply when its text has ended, for a literal in it was refused */
	bool refused_bad;    /*   BAD, else NO */
	struct buf reply; /* of the tagged line, without tag */
	struct buf out;   /* SEARCH: the untagged line in the making */
	struct store_op *op; /* the operation waited for, */
	imap_next *next;     /*   and who gets its answer */
	struct imap_ahead *ahead; /* imap_read.c */
	imap_folder_next *found; /* imap_folder_find */
	struct span name; /*   the name it looks for, in the arena */
	bool (*work)(struct imap *im); /* WORK: false when out of room */
	imap_loaded *loaded;           /* imap_msg_load */
	void *job;        /* the command's own things, in the arena */
	struct store_op *job_op; /*   and an answer of the store that they look into */
	struct imap_predict *predict;
	struct imap_msg *msg;
	/* the folder */
	struct imap_view *view;
	struct store_op *watch;
	uint64_t idle_until_us; /* IDLE */
};

/* ---- imap_session.c ---- */
void imap_run(struct imap *im);
/* Ends the command with "tag BAD text". */
void imap_bad(struct imap *im, const char *text);
/* Ends the command: fmt, behind what im->reply holds already, is the tagged line without its tag. With sync the folder is looked at before, so that what
 * the command did is reported; without, only if that was not done for a second. */
void imap_finish(struct imap *im, bool sync, const char *fmt, ...) PRINTF(3, 4);
/* "NO [CODE] text" for a store's refusal. */
void imap_finish_err(struct imap *im, enum err e);
/* "OK NAME completed." */
void imap_finish_ok(struct imap *im, bool sync);
/* A new operation for this session, or NULL after it has answered NO. */
struct store_op *imap_op(struct imap *im, enum store_verb verb);
/* Hands it over; phase WAIT. */
void imap_submit(struct imap *im, struct store_op *op, imap_next *next);
/* Waits for one that has been handed over. */
void imap_await(struct imap *im, struct store_op *op, imap_next *next);
void imap_work(struct imap *im, bool (*work)(struct imap *im));
static inline bool imap_room(const struct imap *im)
{
	return stream_pending(&im->s.st) < STREAM_TX_HIGH;
}
void imap_bye(struct imap *im, const char *text);
void imap_enter(struct imap *im, enum imap_phase phase);
struct span imap_tag(const struct imap *im);
/* "tag ", or "* " where none could be read. */
void imap_tag_write(struct imap *im);
/* Lets go of all that belonged to the command; phase LINE. */
void imap_end(struct imap *im);
/* How long a session may say nothing. */
uint64_t imap_idle_us(const struct imap *im);
static inline uint64_t imap_now(const struct imap *im)
{
	return im->s.env->now_us;
}

/* ---- imap_any.c ---- */
imap_command imap_cmd_capability, imap_cmd_noop, imap_cmd_logout, imap_cmd_id, imap_cmd_enable;
#define IMAP_CAPS_MAX 360
#define IMAP_NEEDS_TLS "[PRIVACYREQUIRED] Log in over TLS" /* RFC 5530 */
/* Writes them to out and returns it. */
const char *imap_capabilities(const struct imap *im, char out[IMAP_CAPS_MAX]);

/* ---- imap_auth.c ---- */
imap_command imap_cmd_starttls, imap_cmd_login, imap_cmd_authenticate;
bool imap_step_sasl(struct imap *im);
void imap_auth_done(struct session *s, struct auth_op *op);
/* The second after a wrong password is over. */
void imap_auth_denied(struct imap *im);

/* ---- imap_view.c ---- */
/* Makes the view from a full SYNC. claim: \Recent is claimed, readonly false. */
struct imap_view *imap_view_create(const struct store_view *sv, bool readonly);
void imap_view_destroy(struct imap_view **v);
/* Takes in what a SYNC since v->modseq brought. */
void imap_view_merge(struct imap_view *v, const struct store_view *sv, const struct imap_predict *predict);
/* Writes what the client has not been told: EXPUNGE (if all), EXISTS, RECENT, FLAGS, FETCH. False: out of room,
 * call again. */
bool imap_view_flush(struct imap *im, bool all, bool uid);
uint32_t imap_view_recent(const struct imap_view *v);
/* The bit of a keyword, or 0. */
uint64_t imap_kw_bit(char *const *kw, uint32_t n_kw, struct span name);
/* "(\Seen kw)" */
void imap_flags_write(struct buf *b, const struct imap_view *v, const struct store_ent *e);
/* "FLAGS (...)" and "OK [PERMANENTFLAGS (...)]" lines. */
void imap_flags_announce(struct imap *im);
/* Submits a SYNC of the open folder; next calls imap_synced. False: no operation was left, nothing is under way. */
bool imap_sync(struct imap *im, imap_next *next);
/* Merges what op brought; false if the folder is gone: the session has said BYE. */
bool imap_synced(struct imap *im, const struct store_op *op);
/* Reads a set and resolves it in the view; false after it has answered BAD. */
bool imap_set_read(struct imap *im, struct imap_parser *p, struct imap_set *out);
/* Messages of the set that are not gone. */
uint32_t imap_set_live(const struct imap *im, const struct imap_set *s);

/* ---- imap_folder.c ---- */
imap_command imap_cmd_create, imap_cmd_delete, imap_cmd_rename, imap_cmd_subscribe,
	imap_cmd_unsubscribe, imap_cmd_status, imap_cmd_select, imap_cmd_examine, imap_cmd_close, imap_cmd_unselect,
	imap_cmd_namespace;
/* Reads a mailbox name; *out is UTF-8, INBOX in capitals, in the arena. False after it has answered. */
bool imap_name_read(struct imap *im, struct imap_parser *p, struct span *out);
/* "(MESSAGES UIDNEXT)" as a mask of items; and the response STATUS with them for a mailbox. */
bool imap_status_items(struct imap_parser *p, uint32_t *mask);
void imap_status_write(struct imap *im, const struct store_folder *f, struct span wire, uint32_t mask);
/* The same from its wire form; .p == NULL: not a name. */
struct span imap_name_decode(struct arena *a, struct span wire);
/* Looks the name (in the arena) up; next is called with ERR_OK, ERR_NOT_FOUND or the store's error. */
void imap_folder_find(struct imap *im, struct span name, imap_folder_next *next);

/* Leaves the open folder, if any; state AUTH. */
void imap_deselect(struct imap *im);

/* ---- imap_list.c ---- */
imap_command imap_cmd_list, imap_cmd_lsub;
/* RFC 3501 6.3.8: '*' matches all, '%' all but '/'. Both in modified UTF-7; INBOX in any case. */
bool imap_list_match(struct span pattern, struct span name);

/* ---- imap_read.c ---- */
/* Bytes of a blob for next, which may be called before this returns. False: no operation is left. */
bool imap_read(struct imap *im, store_id blob, uint64_t off, uint64_t len, imap_next *next);
/* Asks for what a later imap_read will want. False: enough is under way. */
bool imap_read_ahead(struct imap *im, store_id blob, uint64_t off, uint64_t len);
/* An answer came that is not im->op: true if it was asked for ahead and is kept. */
bool imap_read_came(struct imap *im, struct store_op *op);
void imap_read_end(struct imap *im);

/* ---- imap_msg.c ---- */
/* Sees to it that the header (or with all, the whole message) of e is in im->msg, then calls loaded (perhaps before
 * this returns); true if it is there already and loaded is not called. */
bool imap_msg_load(struct imap *im, const struct store_ent *e, bool all, imap_loaded *loaded);
/* Bytes of the first read that imap_msg_load makes, to be read ahead. */
uint64_t imap_msg_first(const struct store_ent *e, bool all);
struct span imap_msg_span(const struct imap *im);
/* The MIME tree of the loaded message; NULL when memory is out. */
const struct mail_mime *imap_msg_mime(struct imap *im);
void imap_msg_drop(struct imap *im);

/* ---- the rest ---- */
imap_command imap_cmd_fetch;   /* imap_fetch.c */
imap_command imap_cmd_search;  /* imap_search.c */
imap_command imap_cmd_store, imap_cmd_copy, imap_cmd_move, imap_cmd_expunge; /* imap_store.c */
imap_command imap_cmd_idle;    /* imap_idle.c */
bool imap_step_idle(struct imap *im);
void imap_idle_done(struct imap *im, struct store_op *op);
void imap_idle_timeout(struct imap *im);
/* imap_append.c */
imap_command imap_cmd_append;
enum imap_append { IMAP_APPEND_NAME, IMAP_APPEND_TAKEN, IMAP_APPEND_BAD };
/* The text so far ends in a literal: NAME: it is the mailbox name; TAKEN: the message, and APPEND goes on by itself. */
enum imap_append imap_append_literal(struct imap *im, struct imap_parser *p, uint64_t len, bool sync);
bool imap_step_append(struct imap *im);
void imap_append_drop(struct imap *im);

#endif
