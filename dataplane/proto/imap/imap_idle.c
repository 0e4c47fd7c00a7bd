/*
 * imap_idle.c: IDLE (RFC 2177): a WATCH on the open folder; when it fires, a SYNC, and all that is new is told at
 * once, EXPUNGE included. When no operation is left for a WATCH the folder is looked at every ten seconds.
 */
#include "imap_int.h"

#define IDLE_LINE_MAX 1024u

/* Watches from what the view knows; or asks for a turn in a while. */
static void watch(struct imap *im)
{
	uint64_t poll_us = imap_now(im) + IMAP_POLL_US;
	struct store_op *op;

	im->s.deadline_us = im->idle_until_us;
	if (!im->view || im->watch)
		return;
	op = store_op_new(im->s.env->store, STORE_WATCH, im->s.index, im->s.gen);
	if (!op) {
		if (poll_us < im->idle_until_us)
			im->s.deadline_us = poll_us;
		return;
	}
	op->acct = im->acct;
	op->folder = im->view->folder;
	op->since = im->view->modseq;
	im->watch = op;
	store_submit(im->s.env->store, op);
}

static void looked(struct imap *im, struct store_op *op)
{
	bool there = imap_synced(im, op), ok = op->err == ERR_OK;

	store_op_free(&op);
	if (!there)
		return;
	imap_enter(im, IMAP_P_IDLE);
	if (ok)
		watch(im);
	else
		im->s.deadline_us = imap_now(im) + IMAP_POLL_US;
}

static void look(struct imap *im)
{
	if (!imap_sync(im, looked))
		im->s.deadline_us = imap_now(im) + IMAP_POLL_US;
}

void imap_idle_done(struct imap *im, struct store_op *op)
{
	bool ours = op == im->watch, changed = op->err == ERR_OK || op->err == ERR_NOT_FOUND;

	store_op_free(&op);
	if (!ours)
		return;
	im->watch = NULL;
	if (im->phase != IMAP_P_IDLE || !im->view)
		return;
	if (changed)
		look(im);
	else
		im->s.deadline_us = imap_now(im) + IMAP_POLL_US;
}

void imap_cmd_idle(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "IDLE takes no argument");
		return;
	}
	arena_reset(&im->s.arena); /* of all that waits, this waits longest: it keeps no block */
	im->idle_until_us = imap_now(im) + imap_idle_us(im);
	stream_str(&im->s.st, "+ idling\r\n");
	imap_enter(im, IMAP_P_IDLE);
	if (im->view)
		look(im); /* what came since the last command is told first */
	else
		watch(im);
}

bool imap_step_idle(struct imap *im)
{
	struct span line;

	if (!imap_room(im))
		return false;
	if (im->view && !imap_view_flush(im, true, false))
		return false;
	enum err e = stream_line(&im->s.st, IDLE_LINE_MAX, &line, NULL);
	if (e == ERR_MORE && !im->s.st.rx_eof)
		return false;
	if (e != ERR_OK) {
		imap_bye(im, e == ERR_MORE ? "Connection ended within IDLE" : "[TOOBIG] Line too long");
		return false;
	}
	bool over = span_ieq(line, SPAN("DONE"));
	stream_line_done(&im->s.st);
	if (im->watch)
		store_watch_cancel(im->s.env->store, im->watch);
	im->watch = NULL; /* its answer will find no one waiting */
	im->s.deadline_us = imap_now(im) + imap_idle_us(im);
	if (over)
		imap_finish_ok(im, false);
	else
		imap_bad(im, "DONE ends IDLE");
	return true;
}

void imap_idle_timeout(struct imap *im)
{
	if (imap_now(im) >= im->idle_until_us) {
		stat_inc(im->s.env->stat, STAT_imap_timeout);
		imap_bye(im, "Idle for too long");
	} else if (im->view) {
		look(im);
	} else {
		watch(im);
	}
}
