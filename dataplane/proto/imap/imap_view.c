/*
 * imap_view.c: the open folder as the client sees it. One mechanism for our own changes and those of others: a
 * SYNC since the view's modseq is merged into the array, marking what the client has not been told, and a
 * flush writes the marks out at a moment when RFC 3501 7 allows them.
 *
 * Invariants: 1. ent[0..told) are the client's messages 1..told, also those already expunged until EXPUNGE has been
 * sent; 2. UIDs rise; 3. n_gone counts the entries marked GONE.
 */
#include <stdlib.h>
#include "imap_int.h"

/* Changes of flags worth a FETCH; \Recent is not stored. */
static bool same_flags(const struct store_ent *a, const struct store_ent *b)
{
	return ((a->flags ^ b->flags) & ~IMAP_ENT_OWN) == 0 && a->kw == b->kw;
}

static void kw_take(struct imap_view *v, const struct store_view *sv)
{
	size_t len = 0;

	for (uint32_t i = 0; i < sv->n_kw; i++)
		len += strlen(sv->kw[i]) + 1;
	char **kw = malloc(sv->n_kw * sizeof(*kw) + len + 1);
	CHECK(kw);
	char *text = (char *)(kw + sv->n_kw);
	for (uint32_t i = 0; i < sv->n_kw; i++) {
		size_t n = strlen(sv->kw[i]) + 1;

		kw[i] = memcpy(text, sv->kw[i], n);
		text += n;
	}
	free(v->kw);
	v->kw = kw;
	v->n_kw = sv->n_kw;
	v->kw_new = true;
}

static void ent_push(struct imap_view *v, const struct store_ent *e, bool recent)
{
	if (v->n == v->cap) {
		v->cap += v->cap / 2 + 8;
		v->ent = realloc(v->ent, v->cap * sizeof(*v->ent));
		CHECK(v->ent);
	}
	v->ent[v->n] = *e;
	v->ent[v->n].flags &= ~IMAP_ENT_OWN;
	if (recent)
		v->ent[v->n].flags |= IMAP_ENT_RECENT;
	v->n++;
}

struct imap_view *imap_view_create(const struct store_view *sv, bool readonly)
{
	struct imap_view *v = calloc(1, sizeof(*v));
	uint32_t recent = sv->folder.recent < sv->n_ent ? sv->folder.recent : sv->n_ent;

	CHECK(v);
	v->folder = sv->folder.id;
	v->uidvalidity = sv->folder.uidvalidity;
	v->readonly = readonly;
	v->cap = sv->n_ent;
	v->ent = sv->n_ent ? malloc(sv->n_ent * sizeof(*v->ent)) : NULL;
	CHECK(v->ent || !sv->n_ent);
	for (uint32_t i = 0; i < sv->n_ent; i++)
		ent_push(v, &sv->ent[i], readonly ? i >= sv->n_ent - recent : sv->ent[i].uid >= sv->recent_from);
	kw_take(v, sv);
	v->kw_new = false;
	v->told = v->n;
	v->uidnext = sv->folder.uidnext;
	v->modseq = sv->folder.modseq;
	return v;
}

void imap_view_destroy(struct imap_view **pv)
{
	struct imap_view *v = *pv;

	*pv = NULL;
	if (!v)
		return;
	free(v->ent);
	free(v->kw);
	free(v);
}

uint64_t imap_kw_bit(char *const *kw, uint32_t n_kw, struct span name)
{
	for (uint32_t i = 0; i < n_kw && i < 64; i++) {
		if (span_ieq(span_str(kw[i]), name))
			return 1ull << i;
	}
	return 0;
}

uint32_t imap_view_recent(const struct imap_view *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n; i++)
		n += (v->ent[i].flags & IMAP_ENT_RECENT) != 0;
	return n;
}

/* ---- merging ---- */

static void mark_gone(struct imap_view *v, uint32_t i)
{
	if (v->ent[i].flags & IMAP_ENT_GONE)
		return;
	v->ent[i].flags |= IMAP_ENT_GONE;
	v->n_gone++;
}

static void mark_dirty(struct imap_view *v, uint32_t i)
{
	v->ent[i].flags |= IMAP_ENT_DIRTY;
	v->n_dirty++;
}

static void ent_update(struct imap_view *v, uint32_t i, const struct store_ent *e)
{
	uint32_t own = v->ent[i].flags & IMAP_ENT_OWN;
	bool same = same_flags(&v->ent[i], e);

	v->ent[i] = *e;
	v->ent[i].flags = (e->flags & ~IMAP_ENT_OWN) | own;
	if (!same)
		mark_dirty(v, i);
}

/* Our own STORE, as it would have come out alone; what the SYNC then brings differs only by others' changes. */
static void predict(struct imap_view *v, const struct store_view *sv, const struct imap_predict *p)
{
	uint64_t kw = 0;
	struct span rest = p->kws;

	while (rest.len) {
		ptrdiff_t sp = span_find(rest, ' ');
		struct span name = sp < 0 ? rest : span_head(rest, (size_t)sp);

		kw |= imap_kw_bit(sv->kw, sv->n_kw, name);
		rest = sp < 0 ? span_of(NULL, 0) : span_from(rest, (size_t)sp + 1);
	}
	for (uint32_t r = 0; r < p->set.n; r++) {
		for (uint32_t i = p->set.v[r].lo; i <= p->set.v[r].hi; i++) {
			struct store_ent *e = &v->ent[i];
			uint32_t own = e->flags & IMAP_ENT_OWN, f = e->flags & ~IMAP_ENT_OWN;

			e->flags = own | (p->mode == STORE_FLAGS_SET   ? p->flags
					  : p->mode == STORE_FLAGS_ADD ? f | p->flags
								       : f & ~p->flags);
			e->kw = p->mode == STORE_FLAGS_SET   ? kw
				: p->mode == STORE_FLAGS_ADD ? e->kw | kw
							     : e->kw & ~kw;
			if (!p->silent && !(own & IMAP_ENT_GONE))
				mark_dirty(v, i);
		}
	}
}

void imap_view_merge(struct imap_view *v, const struct store_view *sv, const struct imap_predict *p)
{
	uint32_t at = 0, known = v->n;
	uint32_t last = known ? v->ent[known - 1].uid : 0;

	if (sv->n_kw != v->n_kw)
		kw_take(v, sv);
	if (p)
		predict(v, sv, p);
	for (uint32_t i = 0; i < sv->n_ent; i++) {
		const struct store_ent *e = &sv->ent[i];

		if (e->uid > last) {
			ent_push(v, e, v->readonly || e->uid >= sv->recent_from);
			continue;
		}
		uint32_t to = sv->full ? at : imap_uid_find(v->ent, at, known, e->uid);
		for (; sv->full && to < known && v->ent[to].uid < e->uid; to++)
			mark_gone(v, to);
		at = to;
		if (at < known && v->ent[at].uid == e->uid)
			ent_update(v, at++, e);
	}
	for (; sv->full && at < known; at++)
		mark_gone(v, at);
	at = 0;
	for (uint32_t i = 0; i < sv->n_gone; i++) {
		at = imap_uid_find(v->ent, at, v->n, sv->gone[i]);
		if (at < v->n && v->ent[at].uid == sv->gone[i])
			mark_gone(v, at);
	}
	v->modseq = sv->folder.modseq;
	v->uidnext = sv->folder.uidnext;
	v->flush_i = 0; /* a flush in IDLE that waits for room must not pass over what is new */
}

bool imap_sync(struct imap *im, imap_next *next)
{
	struct store_op *op = store_op_new(im->s.env->store, STORE_SYNC, im->s.index, im->s.gen);

	if (!op)
		return false;
	op->acct = im->acct;
	op->folder = im->view->folder;
	op->since = im->view->modseq;
	op->claim_recent = !im->view->readonly;
	imap_submit(im, op, next);
	return true;
}

bool imap_synced(struct imap *im, const struct store_op *op)
{
	if (op->err == ERR_NOT_FOUND) {
		imap_bye(im, "Selected mailbox was deleted");
		return false;
	}
	if (op->err == ERR_OK && im->view) {
		imap_view_merge(im->view, op->view, im->predict);
		im->predict = NULL;
		im->view->synced_us = imap_now(im);
	}
	return true;
}

/* ---- telling ---- */

static const struct {
	uint32_t flag;
	const char *name;
} flag_name[] = {
	{STORE_ANSWERED, "\\Answered"}, {STORE_FLAGGED, "\\Flagged"}, {STORE_DELETED, "\\Deleted"},
	{STORE_SEEN, "\\Seen"},         {STORE_DRAFT, "\\Draft"},     {IMAP_ENT_RECENT, "\\Recent"},
};

void imap_flags_write(struct buf *b, const struct imap_view *v, const struct store_ent *e)
{
	char sep = '(';

	for (unsigned i = 0; i < ARRAY_LEN(flag_name); i++) {
		if (!(e->flags & flag_name[i].flag))
			continue;
		buf_add_u8(b, (uint8_t)sep);
		buf_add_str(b, flag_name[i].name);
		sep = ' ';
	}
	for (uint32_t i = 0; i < v->n_kw && i < 64; i++) {
		if (!(e->kw >> i & 1))
			continue;
		buf_add_u8(b, (uint8_t)sep);
		buf_add_str(b, v->kw[i]);
		sep = ' ';
	}
	if (sep == '(')
		buf_add_u8(b, '(');
	buf_add_u8(b, ')');
}

void imap_flags_announce(struct imap *im)
{
	struct imap_view *v = im->view;
	struct buf b, names;

	buf_init(&b);
	buf_init(&names);
	buf_add_str(&names, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (uint32_t i = 0; i < v->n_kw && i < 64; i++) {
		buf_add_u8(&names, ' ');
		buf_add_str(&names, v->kw[i]);
	}
	buf_add_str(&b, "* FLAGS (");
	buf_add_span(&b, buf_span(&names));
	buf_add_str(&b, ")\r\n* OK [PERMANENTFLAGS (");
	if (!v->readonly) {
		buf_add_span(&b, buf_span(&names));
		if (v->n_kw < 64)
			buf_add_str(&b, " \\*");
	}
	buf_add_str(&b, v->readonly ? ")] Read-only mailbox\r\n" : ")] Flags permitted\r\n");
	stream_write(&im->s.st, buf_span(&b));
	buf_fini(&names);
	buf_fini(&b);
	v->kw_new = false;
}

/* Takes what the client has been told is gone out of the array: one EXPUNGE each, numbers as they fall. The entries
 * are moved together once the room for replies or the array is at its end. */
static bool flush_gone(struct imap *im, struct buf *b)
{
	struct imap_view *v = im->view;
	uint32_t from = 0, to = 0, told = v->told;

	for (; from < v->n && v->n_gone && imap_room(im); from++) {
		if (!(v->ent[from].flags & IMAP_ENT_GONE)) {
			v->ent[to++] = v->ent[from];
			continue;
		}
		v->n_gone--;
		if (from < v->told) {
			told--;
			buf_printf(b, "* %u EXPUNGE\r\n", to + 1);
			if (b->len >= 4096) {
				stream_write(&im->s.st, buf_span(b));
				b->len = 0;
			}
		}
	}
	if (from != to) {
		memmove(v->ent + to, v->ent + from, (v->n - from) * sizeof(*v->ent));
		v->n -= from - to;
		v->flush_i = 0;
	}
	v->told = told;
	return v->n_gone == 0;
}

static bool flush_dirty(struct imap *im, struct buf *b, bool uid)
{
	struct imap_view *v = im->view;

	for (; v->flush_i < v->told; v->flush_i++) {
		struct store_ent *e = &v->ent[v->flush_i];

		if (!(e->flags & IMAP_ENT_DIRTY))
			continue;
		if (!imap_room(im))
			return false;
		e->flags &= ~IMAP_ENT_DIRTY;
		if (e->flags & IMAP_ENT_GONE)
			continue;
		if (uid)
			buf_printf(b, "* %u FETCH (UID %u FLAGS ", v->flush_i + 1, e->uid);
		else
			buf_printf(b, "* %u FETCH (FLAGS ", v->flush_i + 1);
		imap_flags_write(b, v, e);
		buf_add_str(b, ")\r\n");
		if (b->len >= 4096) {
			stream_write(&im->s.st, buf_span(b));
			b->len = 0;
		}
	}
	v->flush_i = 0;
	v->n_dirty = 0;
	return true;
}

bool imap_view_flush(struct imap *im, bool all, bool uid)
{
	struct imap_view *v = im->view;
	struct buf b;
	bool done = true;

	if (!(v->n_gone && all) && v->told == v->n && !v->n_dirty && !v->kw_new)
		return true;
	buf_init(&b);
	if (v->n_gone && all)
		done = flush_gone(im, &b);
	if (done && v->told != v->n) {
		buf_printf(&b, "* %u EXISTS\r\n* %u RECENT\r\n", v->n, imap_view_recent(v));
		v->told = v->n;
	}
	if (done && b.len) {
		stream_write(&im->s.st, buf_span(&b));
		b.len = 0;
	}
	if (done && v->kw_new)
		imap_flags_announce(im);
	if (done && v->n_dirty)
		done = flush_dirty(im, &b, uid);
	if (b.len)
		stream_write(&im->s.st, buf_span(&b));
	buf_fini(&b);
	return done;
}

/* ---- sets ---- */

bool imap_set_read(struct imap *im, struct imap_parser *p, struct imap_set *out)
{
	struct span text;
	enum err e;

	if (!imap_parse_set_text(p, &text) || (e = imap_set_parse(text, p->arena, out)) != ERR_OK) {
		imap_bad(im, "Invalid message set");
		return false;
	}
	if (im->uid) {
		imap_set_resolve_uid(out, im->view->ent, im->view->told);
	} else if (imap_set_resolve_seq(out, im->view->told, false) != ERR_OK) {
		imap_bad(im, "No such message number");
		return false;
	}
	return true;
}

uint32_t imap_set_live(const struct imap *im, const struct imap_set *s)
{
	uint32_t n = 0;

	for (uint32_t r = 0; r < s->n; r++) {
		for (uint32_t i = s->v[r].lo; i <= s->v[r].hi; i++)
			n += !(im->view->ent[i].flags & IMAP_ENT_GONE);
	}
	return n;
}
