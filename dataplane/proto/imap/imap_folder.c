/*
 * imap_folder.c: mailboxes by name: SELECT and its kin, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, NAMESPACE.
 *
 * On the wire a name is modified UTF-7 (RFC 3501 5.1.3), in the store UTF-8 with '/' between levels. INBOX is one name
 * in any case, also as the first level of another. Names are data to the store, never paths.
 */
#include "imap_int.h"
#include "mail_codec.h"
#include "mail_envelope.h"

/* Levels must not be empty; control characters and wildcards would make a name that cannot be listed. */
static bool name_valid(struct span name)
{
	uint8_t before = '/';

	if (name.len == 0 || name.len > IMAP_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.p[i];

		if (c < ' ' || c == 0x7f || c == '%' || c == '*' || (c == '/' && before == '/'))
			return false;
		before = c;
	}
	return before != '/';
}

struct span imap_name_decode(struct arena *a, struct span wire)
{
	size_t cap = wire.len * 3 + 1;
	uint8_t *p = wire.len <= IMAP_NAME_MAX * 3 ? arena_alloc(a, cap) : NULL;
	ptrdiff_t len = p ? mail_utf7_to_utf8(wire, p, cap) : -1;

	if (len < 0)
		return span_of(NULL, 0);
	if (len >= 5 && span_ieq(span_of(p, 5), SPAN("INBOX")) && (len == 5 || p[5] == '/'))
		memcpy(p, "INBOX", 5);
	struct span name = span_of(p, (size_t)len);
	return name_valid(name) ? name : span_of(NULL, 0);
}

bool imap_name_read(struct imap *im, struct imap_parser *p, struct span *out)
{
	struct span wire;

	if (!imap_parse_astring(p, &wire)) {
		imap_bad(im, "A mailbox name is missing");
		return false;
	}
	*out = imap_name_decode(&im->s.arena, wire);
	if (!out->p) {
		imap_finish(im, false, "NO [CANNOT] Invalid mailbox name");
		return false;
	}
	return true;
}

/* SP mailbox, and no more. */
static bool only_name(struct imap *im, struct imap_parser *p, struct span *out)
{
	if (!imap_parse_sp(p)) {
		imap_bad(im, "A mailbox name is missing");
		return false;
	}
	if (!imap_name_read(im, p, out))
		return false;
	if (!imap_parse_end(p)) {
		imap_bad(im, "Too many arguments");
		return false;
	}
	return true;
}

/* ---- finding one ---- */

static void folder_found(struct imap *im, struct store_op *op)
{
	imap_folder_next *found = im->found;
	const struct store_folder *f = NULL;
	enum err e = op->err;

	for (uint32_t i = 0; e == ERR_OK && i < op->view->n_folder && !f; i++) {
		if (span_eq(span_str(op->view->folders[i].name), im->name))
			f = &op->view->folders[i];
	}
	if (e == ERR_OK && (!f || f->id == 0))
		e = ERR_NOT_FOUND;
	im->found = NULL;
	found(im, e, e == ERR_OK ? f : NULL);
	store_op_free(&op);
}

void imap_folder_find(struct imap *im, struct span name, imap_folder_next *next)
{
	struct store_op *op = imap_op(im, STORE_FOLDERS);

	if (!op)
		return;
	im->name = name;
	im->found = next;
	imap_submit(im, op, folder_found);
}

/* ---- SELECT, EXAMINE, CLOSE, UNSELECT ---- */

void imap_deselect(struct imap *im)
{
	imap_view_destroy(&im->view);
	if (im->state == IMAP_SELECTED)
		im->state = IMAP_AUTH;
}

/* RFC 3501 6.3.1: the responses that SELECT must give. */
static void selected(struct imap *im, struct store_op *op)
{
	bool readonly = im->verb->run == imap_cmd_examine;
	struct stream *st = &im->s.st;

	if (op->err != ERR_OK) {
		imap_finish_err(im, op->err);
		store_op_free(&op);
		return;
	}
	struct imap_view *v = imap_view_create(op->view, readonly);
	store_op_free(&op);
	im->view = v;
	im->state = IMAP_SELECTED;
	v->synced_us = imap_now(im);
	imap_flags_announce(im);
	stream_printf(st, "* %u EXISTS\r\n* %u RECENT\r\n", v->n, imap_view_recent(v));
	for (uint32_t i = 0; i < v->n; i++) {
		if (!(v->ent[i].flags & STORE_SEEN)) {
			stream_printf(st, "* OK [UNSEEN %u] First unseen\r\n", i + 1);
			break;
		}
	}
	stream_printf(st, "* OK [UIDVALIDITY %u] UIDs valid\r\n* OK [UIDNEXT %u] Predicted next UID\r\n",
		      v->uidvalidity, v->uidnext);
	imap_finish(im, false, "OK [READ-%s] " SPAN_FMT " completed", readonly ? "ONLY" : "WRITE",
		    SPAN_ARG(im->verb->name));
}

static void select_found(struct imap *im, enum err e, const struct store_folder *f)
{
	struct store_op *op;

	if (e == ERR_OK && f->noselect)
		imap_finish(im, false, "NO [CANNOT] Mailbox cannot be selected");
	else if (e != ERR_OK)
		imap_finish_err(im, e);
	else if ((op = imap_op(im, STORE_SYNC)) != NULL) {
		op->folder = f->id;
		op->claim_recent = im->verb->run != imap_cmd_examine;
		imap_submit(im, op, selected);
	}
}

void imap_cmd_select(struct imap *im, struct imap_parser *p)
{
	struct span name;

	if (!only_name(im, p, &name))
		return;
	/* "if the SELECT fails, no mailbox is selected" */
	imap_deselect(im);
	imap_folder_find(im, name, select_found);
}

void imap_cmd_examine(struct imap *im, struct imap_parser *p)
{
	imap_cmd_select(im, p);
}

static void closed(struct imap *im, struct store_op *op)
{
	if (op->err != ERR_OK && op->err != ERR_NOT_FOUND)
		imap_finish_err(im, op->err);
	else
		imap_finish_ok(im, false);
	store_op_free(&op);
}

/* Expunges without a word (RFC 3501 6.4.2). */
void imap_cmd_close(struct imap *im, struct imap_parser *p)
{
	static const uint32_t all[2] = {1, UINT32_MAX};
	bool expunge = !im->view->readonly;
	uint32_t folder = im->view->folder;
	struct store_op *op;

	if (!imap_parse_end(p)) {
		imap_bad(im, "CLOSE takes no argument");
		return;
	}
	imap_deselect(im);
	if (!expunge) {
		imap_finish_ok(im, false);
	} else if ((op = imap_op(im, STORE_COMMIT)) != NULL) {
		store_tx_expunge(op, im->acct, folder, all, 1, true);
		imap_submit(im, op, closed);
	}
}

void imap_cmd_unselect(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "UNSELECT takes no argument");
		return;
	}
	imap_deselect(im);
	imap_finish_ok(im, false);
}

/* ---- changes ---- */

static void changed(struct imap *im, struct store_op *op)
{
	if (op->err != ERR_OK)
		imap_finish_err(im, op->err);
	else
		imap_finish_ok(im, false);
	store_op_free(&op);
}

void imap_cmd_create(struct imap *im, struct imap_parser *p)
{
	struct span wire, name;
	struct store_op *op;

	if (!imap_parse_sp(p) || !imap_parse_astring(p, &wire) || !imap_parse_end(p)) {
		imap_bad(im, "CREATE wants a mailbox name");
		return;
	}
	/* a separator at the end declares that names below will follow (RFC 3501 6.3.3) */
	if (wire.len > 1 && wire.p[wire.len - 1] == '/')
		wire.len--;
	name = imap_name_decode(&im->s.arena, wire);
	if (!name.p) {
		imap_finish(im, false, "NO [CANNOT] Invalid mailbox name");
	} else if ((op = imap_op(im, STORE_COMMIT)) != NULL) {
		store_tx_folder_create(op, im->acct, name);
		imap_submit(im, op, changed);
	}
}

/* Deleting the open folder closes it for this session. */
static void delete_found(struct imap *im, enum err e, const struct store_folder *f)
{
	struct store_op *op;

	if (e == ERR_OK && f->id == STORE_INBOX)
		imap_finish(im, false, "NO [CANNOT] INBOX cannot be deleted");
	else if (e != ERR_OK)
		imap_finish_err(im, e);
	else if ((op = imap_op(im, STORE_COMMIT)) != NULL) {
		if (im->view && im->view->folder == f->id)
			imap_deselect(im);
		store_tx_folder_delete(op, im->acct, im->name);
		imap_submit(im, op, changed);
	}
}

void imap_cmd_delete(struct imap *im, struct imap_parser *p)
{
	struct span name;

	if (only_name(im, p, &name))
		imap_folder_find(im, name, delete_found);
}

void imap_cmd_rename(struct imap *im, struct imap_parser *p)
{
	struct span from, to;
	struct store_op *op;

	if (!imap_parse_sp(p)) {
		imap_bad(im, "RENAME wants two mailbox names");
		return;
	}
	if (!imap_name_read(im, p, &from))
		return;
	if (!imap_parse_sp(p)) {
		imap_bad(im, "RENAME wants two mailbox names");
		return;
	}
	if (!imap_name_read(im, p, &to))
		return;
	if (!imap_parse_end(p)) {
		imap_bad(im, "Too many arguments");
	} else if ((op = imap_op(im, STORE_COMMIT)) != NULL) {
		store_tx_folder_rename(op, im->acct, from, to);
		imap_submit(im, op, changed);
	}
}

static void subscribe(struct imap *im, struct imap_parser *p, bool on)
{
	struct span name;
	struct store_op *op;

	if (only_name(im, p, &name) && (op = imap_op(im, STORE_COMMIT)) != NULL) {
		store_tx_subscribe(op, im->acct, name, on);
		imap_submit(im, op, changed);
	}
}

void imap_cmd_subscribe(struct imap *im, struct imap_parser *p)
{
	subscribe(im, p, true);
}

void imap_cmd_unsubscribe(struct imap *im, struct imap_parser *p)
{
	subscribe(im, p, false);
}

/* ---- STATUS ---- */

static uint64_t status_messages(const struct store_folder *f)
{
	return f->exists;
}
static uint64_t status_recent(const struct store_folder *f)
{
	return f->recent;
}
static uint64_t status_uidnext(const struct store_folder *f)
{
	return f->uidnext;
}
static uint64_t status_uidvalidity(const struct store_folder *f)
{
	return f->uidvalidity;
}
static uint64_t status_unseen(const struct store_folder *f)
{
	return f->unseen;
}
static uint64_t status_size(const struct store_folder *f)
{
	return f->bytes;
}
static uint64_t status_deleted(const struct store_folder *f)
{
	return f->deleted;
}

/* RFC 3501 6.3.10; SIZE: RFC 8438; DELETED: RFC 9051; APPENDLIMIT: RFC 7889 */
static const struct {
	struct span name;
	uint64_t (*get)(const struct store_folder *f);
} status_item[] = {
	{{(const uint8_t *)"MESSAGES", 8}, status_messages},
	{{(const uint8_t *)"RECENT", 6}, status_recent},
	{{(const uint8_t *)"UIDNEXT", 7}, status_uidnext},
	{{(const uint8_t *)"UIDVALIDITY", 11}, status_uidvalidity},
	{{(const uint8_t *)"UNSEEN", 6}, status_unseen},
	{{(const uint8_t *)"SIZE", 4}, status_size},
	{{(const uint8_t *)"DELETED", 7}, status_deleted},
	{{(const uint8_t *)"APPENDLIMIT", 11}, NULL}, /* the server's */
};

struct status_job {
	struct span wire; /* the name as asked for */
	uint32_t mask;    /* of status_item */
};

void imap_status_write(struct imap *im, const struct store_folder *f, struct span wire, uint32_t mask)
{
	struct buf b;
	char sep = '(';

	buf_init(&b);
	buf_add_str(&b, "* STATUS ");
	mail_astring_write(&b, wire);
	buf_add_u8(&b, ' ');
	for (unsigned i = 0; i < ARRAY_LEN(status_item); i++) {
		if (!(mask >> i & 1))
			continue;
		buf_printf(&b, "%c" SPAN_FMT " ", sep, SPAN_ARG(status_item[i].name));
		buf_printf(&b, "%llu",
			   (unsigned long long)(status_item[i].get ? status_item[i].get(f)
								   : im->s.env->conf->message_size_max));
		sep = ' ';
	}
	buf_add_str(&b, ")\r\n");
	stream_write(&im->s.st, buf_span(&b));
	buf_fini(&b);
}

static void status_found(struct imap *im, enum err e, const struct store_folder *f)
{
	const struct status_job *job = im->job;

	if (e != ERR_OK) {
		imap_finish_err(im, e);
	} else if (f->noselect) {
		imap_finish(im, false, "NO [CANNOT] Mailbox cannot be selected");
	} else {
		imap_status_write(im, f, job->wire, job->mask);
		imap_finish_ok(im, false);
	}
}

bool imap_status_items(struct imap_parser *p, uint32_t *mask)
{
	struct span word;

	*mask = 0;
	if (!imap_parse_char(p, '('))
		return false;
	do {
		unsigned i = 0;

		if (!imap_parse_atom(p, &word))
			return false;
		while (i < ARRAY_LEN(status_item) && !span_ieq(word, status_item[i].name))
			i++;
		if (i == ARRAY_LEN(status_item))
			return false;
		*mask |= 1u << i;
	} while (imap_parse_sp(p));
	return imap_parse_char(p, ')');
}

void imap_cmd_status(struct imap *im, struct imap_parser *p)
{
	struct status_job *job = arena_zalloc(&im->s.arena, sizeof(*job));
	struct imap_parser q;
	struct span name;

	CHECK(job);
	if (!imap_parse_sp(p)) {
		imap_bad(im, "STATUS wants a mailbox name and items");
		return;
	}
	q = *p;
	if (!imap_name_read(im, p, &name))
		return;
	imap_parse_astring(&q, &job->wire);
	if (!imap_parse_sp(p) || !imap_status_items(p, &job->mask) || !imap_parse_end(p)) {
		imap_bad(im, "STATUS wants a mailbox name and items");
		return;
	}
	im->job = job;
	imap_folder_find(im, name, status_found);
}

/* RFC 2342: one personal namespace without a prefix. */
void imap_cmd_namespace(struct imap *im, struct imap_parser *p)
{
	if (!imap_parse_end(p)) {
		imap_bad(im, "NAMESPACE takes no argument");
		return;
	}
	stream_str(&im->s.st, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	imap_finish_ok(im, false);
}
