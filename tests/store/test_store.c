/*
 * test_store.c: the conformance suite: what store.h promises, on every disk (memory, faulty without faults,
 * io_uring), stepped by hand and with the storage thread; each check again after a reopen.
 */
#include <stdio.h>
#include <unistd.h>
#include "clock.h"
#include "rig.h"

static const char *const disk_name[RIG_DISK_N] = {"mem", "faulty", "uring"};

/* Every disk, by hand and with the thread. */
static void each(void (*fn)(struct rig *r))
{
	for (int d = 0; d < RIG_DISK_N; d++) {
		for (int threaded = 0; threaded < 2; threaded++) {
			struct rig r;
			rig_init(&r, (enum rig_disk)d, 1);
			r.threaded = threaded;
			cr_assert_eq(rig_open(&r), ERR_OK, "%s: %s", disk_name[d], r.why);
			fn(&r);
			rig_fini(&r);
		}
	}
}

static void deliver(struct rig *r)
{
	static uint8_t text[200000];
	size_t len[] = {0, 1, 100, 4096, 5000, 70000, 200000};
	uint64_t a = rig_account(r, "a@example.net");
	rig_fill(text, sizeof(text), 1);
	for (unsigned i = 0; i < 7; i++)
		cr_expect_eq(rig_deliver(r, a, STORE_INBOX, text, len[i], NULL), i + 1);
	for (int again = 0; again < 2; again++) {
		struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, false);
		cr_assert_eq(op->err, ERR_OK);
		const struct store_view *v = op->view;
		cr_assert_eq(v->n_ent, 7);
		cr_expect(v->full);
		cr_expect_eq(v->folder.exists, 7);
		cr_expect_eq(v->folder.unseen, 7);
		cr_expect_eq(v->folder.uidnext, 8);
		cr_expect_eq(v->folder.recent, 7);
		cr_expect_str_eq(v->folder.name, "INBOX");
		for (unsigned i = 0; i < 7; i++) {
			cr_expect_eq(v->ent[i].uid, i + 1);
			cr_expect_eq(v->ent[i].size, len[i]);
			cr_expect_eq(v->ent[i].idate_s, 1000);
			cr_expect_neq(v->ent[i].oid, 0);
			cr_expect(rig_blob_is(r, v->ent[i].blob, text, len[i]), "blob %u", i);
		}
		store_op_free(&op);
		rig_reopen(r);
	}
}

Test(store, deliver_and_read)
{
	each(deliver);
}

static void parts(struct rig *r)
{
	static uint8_t text[600000];
	rig_fill(text, sizeof(text), 2);
	uint64_t a = rig_account(r, "a@example.net");
	store_id blob = store_id_new(r->c);
	size_t at = 0, step[] = {100000, 7, 150000, 200000, 1};
	for (unsigned i = 0; i < 5; i++) {
		struct store_op *op = rig_op(r, STORE_BODY);
		op->blob = blob;
		op->off = at;
		op->body = rig_bytes(r, text + at, step[i]);
		cr_expect_eq(rig_done(r, op), ERR_OK);
		at += step[i];
	}
	struct store_op *op = rig_op(r, STORE_BODY);
	op->blob = blob;
	op->off = at;
	op->body = rig_bytes(r, text, 256 * 1024 + 1);
	store_id other = store_id_new(r->c);
	op->blob = other;
	op->off = 0;
	cr_expect_eq(rig_done(r, op), ERR_TOO_LONG);
	op = rig_op(r, STORE_COMMIT);
	op->blob = blob;
	op->off = at;
	op->body = rig_bytes(r, text + at, sizeof(text) - at);
	store_tx_blob(op, blob, 3, STORE_BLOB_DOTS);
	store_tx_deliver(op, a, STORE_INBOX, blob, STORE_SEEN, SPAN("$Junk  work"), 5);
	store_tx_qput(op, store_id_new(r->c), blob, 99, SPAN("envelope"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	cr_expect(rig_blob_is(r, blob, text, sizeof(text)));
	rig_reopen(r);
	cr_expect(rig_blob_is(r, blob, text, sizeof(text)));
	op = rig_op(r, STORE_QSCAN);
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_assert_eq(op->n_items, 1);
	cr_expect_eq(op->items[0].due_us, 99);
	cr_expect_eq(op->items[0].blob.size, sizeof(text));
	cr_expect_eq(op->items[0].blob.relay_off, 3);
	cr_expect_eq(op->items[0].blob.flags, STORE_BLOB_DOTS);
	cr_expect(span_eq(op->items[0].state, SPAN("envelope")));
	store_op_free(&op);
	op = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_assert_eq(op->view->n_kw, 2);
	cr_expect_str_eq(op->view->kw[0], "$Junk");
	cr_expect_str_eq(op->view->kw[1], "work");
	cr_expect_eq(op->view->ent[0].kw, 3);
	cr_expect_eq(op->view->folder.unseen, 0);
	store_op_free(&op);
	/* A part that fails takes those before it along: no message without its beginning or middle. */
	op = rig_op(r, STORE_BODY);
	op->blob = other;
	op->body = rig_bytes(r, text, 10);
	cr_expect_eq(rig_done(r, op), ERR_OK);
	op = rig_op(r, STORE_BODY);
	op->blob = other;
	op->off = 15;
	op->body = rig_bytes(r, text, 10);
	cr_expect_eq(rig_done(r, op), ERR_STALE);
	for (unsigned i = 0; i < 2; i++) {
		op = rig_op(r, STORE_COMMIT);
		op->blob = other;
		op->off = 10;
		if (i)
			op->body = rig_bytes(r, text, 10);
		store_tx_blob(op, other, 0, 0);
		store_tx_deliver(op, a, STORE_INBOX, other, 0, SPAN(""), 5);
		cr_expect_eq(rig_done(r, op), ERR_STALE);
	}
	/* begun again it may become whole; as does one of no bytes. Both survive a replay of the dropped parts. */
	for (unsigned i = 0; i < 2; i++) {
		op = rig_op(r, STORE_BODY);
		op->blob = i ? store_id_new(r->c) : other;
		store_id id = op->blob;
		op->body = rig_bytes(r, text, 100);
		cr_expect_eq(rig_done(r, op), ERR_OK);
		op = rig_op(r, STORE_COMMIT);
		op->blob = id;
		op->off = 1; /* wrong */
		store_tx_blob(op, id, 0, 0);
		cr_expect_eq(rig_done(r, op), ERR_STALE);
		op = rig_op(r, STORE_COMMIT);
		op->blob = id;
		if (i == 0)
			op->body = rig_bytes(r, text + 50, 60);
		store_tx_blob(op, id, 0, 0);
		store_tx_deliver(op, a, STORE_INBOX, id, 0, SPAN(""), 5);
		cr_expect_eq(rig_done(r, op), ERR_OK);
	}
	r->conf.disk == NULL ? rig_reopen(r) : rig_replay(r);
	op = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_assert_eq(op->view->n_ent, 3);
	cr_expect_eq(op->view->ent[1].size, 60);
	cr_expect_eq(op->view->ent[2].size, 0);
	cr_expect(rig_blob_is(r, op->view->ent[1].blob, text + 50, 60));
	store_op_free(&op);
}

Test(store, body_in_parts)
{
	each(parts);
}

static void expect_flags(struct rig *r, uint64_t a, const uint32_t *want, unsigned n)
{
	struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_assert_eq(op->view->n_ent, n);
	for (unsigned i = 0; i < n; i++)
		cr_expect_eq(op->view->ent[i].flags, want[i], "entry %u: %x", i, op->view->ent[i].flags);
	store_op_free(&op);
}

static void flags(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	for (unsigned i = 0; i < 4; i++)
		rig_deliver(r, a, STORE_INBOX, "x", 1, NULL);
	struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, false);
	uint64_t m0 = op->view->folder.modseq;
	store_op_free(&op);
	uint32_t range[] = {3, 2, 3, UINT32_MAX};
	op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, range, 2, STORE_FLAGS_ADD, STORE_SEEN | STORE_DELETED, SPAN("k"));
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[0].n, 3);
	cr_expect_eq(op->res[0].modseq, m0 + 1);
	store_op_free(&op);
	uint32_t one[] = {4, 4};
	op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, one, 1, STORE_FLAGS_DEL, STORE_DELETED, SPAN("k unknown"));
	store_tx_flags(op, a, STORE_INBOX, one, 1, STORE_FLAGS_SET, STORE_DRAFT | 0x100, SPAN("K"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	for (int again = 0; again < 2; again++) {
		expect_flags(r, a, (uint32_t[]){0, STORE_SEEN | STORE_DELETED, STORE_SEEN | STORE_DELETED, STORE_DRAFT}, 4);
		op = rig_sync(r, a, STORE_INBOX, m0, false);
		cr_expect_not(op->view->full);
		cr_expect_eq(op->view->n_ent, 3);
		cr_expect_eq(op->view->n_kw, 1);
		cr_expect_eq(op->view->folder.unseen, 2);
		cr_expect_eq(op->view->folder.deleted, 2);
		store_op_free(&op);
		rig_reopen(r);
	}
	/* nothing changes, yet the next SYNC shows it; where nothing is matched, there is no new modseq */
	op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, one, 1, STORE_FLAGS_ADD, STORE_DRAFT, SPAN(""));
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[0].n, 1);
	cr_expect_eq(op->res[0].modseq, m0 + 4);
	store_op_free(&op);
	one[0] = one[1] = 77;
	op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, one, 1, STORE_FLAGS_ADD, STORE_DRAFT, SPAN(""));
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[0].n, 0);
	cr_expect_eq(op->res[0].modseq, m0 + 4);
	store_op_free(&op);
	/* 64 keywords and no more, and then nothing of the batch */
	op = rig_op(r, STORE_COMMIT);
	for (unsigned i = 0; i < 64; i++) {
		char name[8];
		(void)snprintf(name, sizeof(name), "w%u", i);
		store_tx_flags(op, a, STORE_INBOX, one, 1, STORE_FLAGS_ADD, STORE_FLAGGED, span_str(name));
	}
	cr_expect_eq(rig_done(r, op), ERR_TOO_MANY);
	expect_flags(r, a, (uint32_t[]){0, STORE_SEEN | STORE_DELETED, STORE_SEEN | STORE_DELETED, STORE_DRAFT}, 4);
}

Test(store, flags_and_keywords)
{
	each(flags);
}

static void expunge(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	for (unsigned i = 0; i < 6; i++)
		rig_deliver(r, a, STORE_INBOX, "text", 4, NULL);
	struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, false);
	uint64_t since = op->view->folder.modseq;
	store_id blob = op->view->ent[1].blob;
	store_op_free(&op);
	uint32_t del[] = {2, 2, 4, 5}, all[] = {1, 4};
	op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, del, 2, STORE_FLAGS_ADD, STORE_DELETED, SPAN(""));
	store_tx_expunge(op, a, STORE_INBOX, all, 1, true);
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[1].n, 2);
	store_op_free(&op);
	cr_expect_not(rig_blob_is(r, blob, "text", 4));
	for (int again = 0; again < 2; again++) {
		op = rig_sync(r, a, STORE_INBOX, since, false);
		cr_assert_eq(op->view->n_gone, 2);
		cr_expect_eq(op->view->gone[0], 2);
		cr_expect_eq(op->view->gone[1], 4);
		cr_expect_eq(op->view->n_ent, 1); /* 5 got \Deleted */
		cr_expect_eq(op->view->folder.exists, 4);
		cr_expect_eq(op->view->folder.bytes, 16);
		store_op_free(&op);
		rig_reopen(r);
	}
	/* UIDs do not come back, not even the highest */
	cr_expect_eq(rig_expunge(r, a, STORE_INBOX, 1, UINT32_MAX), ERR_OK);
	rig_reopen(r);
	cr_expect_eq(rig_deliver(r, a, STORE_INBOX, "x", 1, NULL), 7);
}

Test(store, expunge_and_tombstones)
{
	each(expunge);
}

static void copy(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	uint32_t f = rig_folder(r, a, "Archive");
	for (unsigned i = 0; i < 3; i++)
		rig_deliver(r, a, STORE_INBOX, "text", 4, NULL);
	uint32_t kw[] = {2, 2}, range[] = {2, 9};
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_flags(op, a, STORE_INBOX, kw, 1, STORE_FLAGS_ADD, STORE_FLAGGED, SPAN("first second"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	op = rig_op(r, STORE_COMMIT);
	store_tx_copy(op, a, STORE_INBOX, f, range, 1, false);
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[0].uid, 1);
	cr_expect_eq(op->res[0].n, 2);
	cr_expect_neq(op->res[0].uidvalidity, 0);
	store_op_free(&op);
	op = rig_sync(r, a, STORE_INBOX, 0, false);
	store_id oid = op->view->ent[2].oid, blob = op->view->ent[2].blob;
	store_op_free(&op);
	op = rig_op(r, STORE_COMMIT);
	store_tx_copy(op, a, STORE_INBOX, f, range, 1, true);
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->res[0].uid, 3);
	store_op_free(&op);
	for (int again = 0; again < 2; again++) {
		op = rig_sync(r, a, f, 0, false);
		cr_assert_eq(op->view->n_ent, 4);
		cr_expect_eq(op->view->ent[3].oid, oid);
		cr_expect_neq(op->view->ent[1].oid, oid);
		cr_expect_eq(op->view->ent[3].blob, blob);
		cr_expect_eq(op->view->ent[0].kw, 3);
		cr_expect_eq(op->view->ent[2].flags, STORE_FLAGGED);
		store_op_free(&op);
		op = rig_sync(r, a, STORE_INBOX, 0, false);
		cr_expect_eq(op->view->n_ent, 1);
		store_op_free(&op);
		rig_reopen(r);
	}
	/* within one folder, and the body lives as long as one entry does */
	op = rig_op(r, STORE_COMMIT);
	store_tx_copy(op, a, f, f, range, 1, true);
	cr_expect_eq(rig_done(r, op), ERR_OK);
	cr_expect_eq(rig_expunge(r, a, f, 1, 6), ERR_OK);
	cr_expect(rig_blob_is(r, blob, "text", 4));
	cr_expect_eq(rig_expunge(r, a, f, 7, 7), ERR_OK);
	cr_expect_not(rig_blob_is(r, blob, "text", 4));
	op = rig_op(r, STORE_COMMIT);
	store_tx_copy(op, a, f, 99, range, 1, true);
	cr_expect_eq(rig_done(r, op), ERR_NOT_FOUND);
}

Test(store, copy_and_move)
{
	each(copy);
}

enum folder_verb { CREATE, DELETE, RENAME };
static enum err folder_do(struct rig *r, uint64_t a, enum folder_verb verb, const char *name, const char *to)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	if (verb == CREATE)
		store_tx_folder_create(op, a, span_str(name));
	else if (verb == DELETE)
		store_tx_folder_delete(op, a, span_str(name));
	else
		store_tx_folder_rename(op, a, span_str(name), span_str(to));
	return rig_done(r, op);
}

static void expect_folders(struct rig *r, uint64_t a, const char *want)
{
	char got[512] = "";
	struct store_op *op = rig_op(r, STORE_FOLDERS);
	op->acct = a;
	cr_assert_eq(rig_run(r, op), ERR_OK);
	for (uint32_t i = 0; i < op->view->n_folder; i++) {
		const struct store_folder *f = &op->view->folders[i];
		size_t n = strlen(got);
		(void)snprintf(got + n, sizeof(got) - n, "%s%s%s%s", i ? " " : "", f->name, f->noselect ? "-" : "",
			       f->subscribed ? "+" : "");
	}
	store_op_free(&op);
	cr_expect_str_eq(got, want);
}

static void folders(struct rig *r)
{
	static const struct {
		enum folder_verb verb;
		const char *name, *to;
		enum err want;
	} step[] = {
		{CREATE, "inbox", NULL, ERR_EXISTS},
		{CREATE, "a/b/c/", NULL, ERR_OK},
		{CREATE, "a/b", NULL, ERR_EXISTS},
		{CREATE, "", NULL, ERR_SYNTAX},
		{CREATE, "/x", NULL, ERR_SYNTAX},
		{CREATE, "x//y", NULL, ERR_SYNTAX},
		{CREATE, "x\ny", NULL, ERR_SYNTAX},
		{CREATE, "Inbox/sub", NULL, ERR_OK},
		{DELETE, "INBOX", NULL, ERR_DENIED},
		{DELETE, "none", NULL, ERR_NOT_FOUND},
		{DELETE, "a", NULL, ERR_OK},
		{DELETE, "a", NULL, ERR_DENIED},
		{RENAME, "none", "x", ERR_NOT_FOUND},
		{RENAME, "a/b", "INBOX", ERR_EXISTS},
		{RENAME, "a/b", "a/b/d", ERR_DENIED},
		{RENAME, "a/b", "new/place", ERR_OK},
		{RENAME, "INBOX", "old", ERR_OK},
	};
	uint64_t a = rig_account(r, "a@example.net");
	rig_deliver(r, a, STORE_INBOX, "text", 4, NULL);
	for (unsigned i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		enum err e = folder_do(r, a, step[i].verb, step[i].name, step[i].to);
		cr_expect_eq(e, step[i].want, "step %u: %s", i, err_name(e));
	}
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_subscribe(op, a, SPAN("new/place/c"), true);
	store_tx_subscribe(op, a, SPAN("nowhere"), true);
	store_tx_subscribe(op, a, SPAN("a"), true);
	store_tx_subscribe(op, a, SPAN("a"), false);
	cr_expect_eq(rig_done(r, op), ERR_OK);
	for (int again = 0; again < 2; again++) {
		expect_folders(r, a, "INBOX INBOX/sub a- new new/place new/place/c+ nowhere-+ old");
		rig_reopen(r);
	}
	op = rig_op(r, STORE_FOLDERS);
	op->acct = a;
	cr_assert_eq(rig_run(r, op), ERR_OK);
	uint32_t v = 0;
	for (uint32_t i = 0; i < op->view->n_folder; i++) {
		for (uint32_t j = 0; j < i; j++)
			cr_expect(op->view->folders[i].id == 0 ||
				  op->view->folders[i].uidvalidity != op->view->folders[j].uidvalidity);
		if (strcmp(op->view->folders[i].name, "old") == 0)
			v = op->view->folders[i].exists;
	}
	cr_expect_eq(v, 1);
	store_op_free(&op);
	char longname[600];
	memset(longname, 'x', sizeof(longname));
	longname[599] = '\0';
	cr_expect_eq(folder_do(r, a, CREATE, longname, NULL), ERR_TOO_LONG);
	/* a name that came back has another UIDVALIDITY */
	op = rig_sync(r, a, rig_folder(r, a, "again"), 0, false);
	uint32_t before = op->view->folder.uidvalidity;
	store_op_free(&op);
	cr_expect_eq(folder_do(r, a, DELETE, "again", NULL), ERR_OK);
	op = rig_sync(r, a, rig_folder(r, a, "again"), 0, false);
	cr_expect_gt(op->view->folder.uidvalidity, before);
	store_op_free(&op);
	cr_expect_eq(folder_do(r, 77, CREATE, "x", NULL), ERR_NOT_FOUND);
}

Test(store, folders)
{
	each(folders);
}

static void accounts(struct rig *r)
{
	struct store_account got;
	cr_expect_not(store_account_find(r->s, SPAN("a@example.net"), &got));
	uint64_t a = rig_account(r, "a@example.net"), b = rig_account(r, "b@example.net");
	cr_expect_neq(a, b);
	struct store_op *op = rig_op(r, STORE_COMMIT);
	store_tx_account_add(op, SPAN("a@example.net"), SPAN("other"));
	cr_expect_eq(rig_done(r, op), ERR_EXISTS);
	op = rig_op(r, STORE_COMMIT);
	store_tx_account_pass(op, SPAN("a@example.net"), SPAN("changed"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	rig_deliver(r, b, STORE_INBOX, "text", 4, NULL);
	for (int again = 0; again < 2; again++) {
		cr_assert(store_account_find(r->s, SPAN("a@example.net"), &got));
		cr_expect_eq(got.id, a);
		cr_expect_str_eq(got.pass, "changed");
		cr_expect_str_eq(got.name, "a@example.net");
		op = rig_op(r, STORE_ACCOUNTS);
		cr_assert_eq(rig_run(r, op), ERR_OK);
		cr_assert_eq(op->n_accounts, 2);
		cr_expect_str_eq(op->accounts[1].name, "b@example.net");
		store_op_free(&op);
		rig_reopen(r);
	}
	op = rig_op(r, STORE_ACCOUNTS);
	op->since = a;
	cr_assert_eq(rig_run(r, op), ERR_OK);
	cr_expect_eq(op->n_accounts, 1);
	store_op_free(&op);
	op = rig_op(r, STORE_COMMIT);
	store_tx_account_remove(op, SPAN("b@example.net"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	cr_expect_not(store_account_find(r->s, SPAN("b@example.net"), &got));
	enum err e;
	rig_deliver(r, b, STORE_INBOX, "text", 4, &e);
	cr_expect_eq(e, ERR_NOT_FOUND);
	rig_reopen(r);
	cr_expect_not(store_account_find(r->s, SPAN("b@example.net"), &got));
	cr_expect_neq(rig_account(r, "b@example.net"), b);
	op = rig_op(r, STORE_COMMIT);
	store_tx_account_remove(op, SPAN("nobody"));
	cr_expect_eq(rig_done(r, op), ERR_NOT_FOUND);
}

Test(store, accounts)
{
	each(accounts);
}

static enum err queue_do(struct rig *r, int verb, store_id item, store_id blob, const char *state)
{
	struct store_op *op = rig_op(r, STORE_COMMIT);
	if (verb == 0)
		store_tx_qput(op, item, blob, 7, span_str(state));
	else if (verb == 1)
		store_tx_qset(op, item, 8, span_str(state));
	else
		store_tx_qdone(op, item);
	return rig_done(r, op);
}

static void queue(struct rig *r)
{
	store_id blob = store_id_new(r->c), q1 = store_id_new(r->c), q2 = store_id_new(r->c);
	struct store_op *op = rig_op(r, STORE_COMMIT);
	op->blob = blob;
	op->body = rig_bytes(r, "message", 7);
	store_tx_blob(op, blob, 0, 0);
	store_tx_qput(op, q1, blob, 5, SPAN("one"));
	store_tx_qput(op, q2, blob, 6, SPAN("two"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	cr_expect_eq(queue_do(r, 0, q1, blob, ""), ERR_EXISTS);
	cr_expect_eq(queue_do(r, 0, store_id_new(r->c), 12345, ""), ERR_NOT_FOUND);
	cr_expect_eq(queue_do(r, 1, q1, 0, "one again"), ERR_OK);
	cr_expect_eq(queue_do(r, 1, 12345, 0, ""), ERR_NOT_FOUND);
	cr_expect_eq(queue_do(r, 2, q2, 0, NULL), ERR_OK);
	cr_expect_eq(queue_do(r, 2, q2, 0, NULL), ERR_NOT_FOUND);
	for (int again = 0; again < 2; again++) {
		op = rig_op(r, STORE_QSCAN);
		cr_assert_eq(rig_run(r, op), ERR_OK);
		cr_assert_eq(op->n_items, 1);
		cr_expect_eq(op->items[0].id, q1);
		cr_expect_eq(op->items[0].due_us, 8);
		cr_expect(span_eq(op->items[0].state, SPAN("one again")));
		store_op_free(&op);
		op = rig_op(r, STORE_QSCAN);
		op->since = q1;
		cr_assert_eq(rig_run(r, op), ERR_OK);
		cr_expect_eq(op->n_items, 0);
		store_op_free(&op);
		cr_expect(rig_blob_is(r, blob, "message", 7));
		rig_reopen(r);
	}
	/* from the queue into a mailbox in one batch */
	uint64_t a = rig_account(r, "a@example.net");
	op = rig_op(r, STORE_COMMIT);
	store_tx_qdone(op, q1);
	store_tx_deliver(op, a, STORE_INBOX, blob, 0, SPAN(""), 0);
	cr_expect_eq(rig_done(r, op), ERR_OK);
	cr_expect(rig_blob_is(r, blob, "message", 7));
	cr_expect_eq(rig_expunge(r, a, STORE_INBOX, 1, 1), ERR_OK);
	cr_expect_not(rig_blob_is(r, blob, "message", 7));
	/* an item twice in one batch is refused whole */
	op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, "m", 1);
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_qput(op, q1, op->blob, 1, SPAN(""));
	store_tx_qdone(op, q1);
	cr_expect_neq(rig_done(r, op), ERR_OK);
}

Test(store, queue)
{
	each(queue);
}

static void whole(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	struct store_op *op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, "text", 4);
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_deliver(op, a, STORE_INBOX, op->blob, 0, SPAN(""), 0);
	store_tx_deliver(op, a + 1, STORE_INBOX, op->blob, 0, SPAN(""), 0);
	cr_expect_eq(rig_done(r, op), ERR_NOT_FOUND);
	op = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_expect_eq(op->view->n_ent, 0);
	cr_expect_eq(op->view->folder.uidnext, 1);
	store_op_free(&op);
	op = rig_op(r, STORE_COMMIT);
	store_tx_folder_create(op, a, SPAN("x"));
	store_tx_folder_create(op, a, SPAN("y"));
	cr_expect_eq(rig_done(r, op), ERR_UNSUPPORTED);
	op = rig_op(r, STORE_COMMIT);
	store_tx_subscribe(op, a, SPAN("x"), true);
	store_tx_folder_create(op, a, SPAN("x"));
	cr_expect_eq(rig_done(r, op), ERR_OK);
	expect_folders(r, a, "INBOX x+");
	op = rig_op(r, STORE_COMMIT);
	buf_add_u8(&op->tx, 200);
	op->n_mut = 1;
	cr_expect_eq(rig_done(r, op), ERR_SYNTAX);
	op = rig_op(r, STORE_READ);
	op->blob = 99;
	op->len = 1;
	cr_expect_eq(rig_done(r, op), ERR_NOT_FOUND);
	op = rig_sync(r, a, 99, 0, false);
	cr_expect_eq(op->err, ERR_NOT_FOUND);
	store_op_free(&op);
}

Test(store, whole_or_not_at_all)
{
	each(whole);
}

static void recent(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	rig_deliver(r, a, STORE_INBOX, "x", 1, NULL);
	rig_deliver(r, a, STORE_INBOX, "x", 1, NULL);
	struct store_op *op = rig_sync(r, a, STORE_INBOX, 0, true);
	cr_expect_eq(op->view->recent_from, 1);
	cr_expect_eq(op->view->folder.recent, 2);
	store_op_free(&op);
	rig_deliver(r, a, STORE_INBOX, "x", 1, NULL);
	rig_reopen(r);
	op = rig_sync(r, a, STORE_INBOX, 0, true);
	cr_expect_eq(op->view->recent_from, 3);
	cr_expect_eq(op->view->folder.recent, 1);
	store_op_free(&op);
	op = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_expect_eq(op->view->folder.recent, 0);
	cr_expect_eq(op->view->recent_from, 4);
	store_op_free(&op);
}

Test(store, recent_is_claimed_once)
{
	each(recent);
}

/* Until max ops are back, at most so long. */
static unsigned poll_for(struct rig *r, struct store_op **out, unsigned max, unsigned ms)
{
	unsigned n = 0;
	for (uint64_t end = clock_us() + ms * 1000; n < max && clock_us() < end;) {
		n += store_poll(r->c, out + n, max - n);
		if (r->threaded || !store_step(r->s))
			usleep(20);
	}
	return n;
}

static void watch(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	uint32_t f = rig_folder(r, a, "f");
	struct store_op *op = rig_sync(r, a, f, 0, false), *got[4], *w[4];
	uint64_t since = op->view->folder.modseq;
	store_op_free(&op);
	for (unsigned i = 0; i < 4; i++) {
		w[i] = rig_op(r, STORE_WATCH);
		w[i]->acct = a;
		w[i]->folder = f;
		w[i]->since = since;
	}
	store_submit(r->c, w[0]);
	cr_expect_eq(poll_for(r, got, 4, 20), 0);
	cr_expect_eq(store_pending(r->c), 1);
	op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, "x", 1);
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_deliver(op, a, f, op->blob, 0, SPAN(""), 0);
	store_submit(r->c, op);
	cr_assert_eq(poll_for(r, got, 2, 10000), 2);
	cr_expect_eq(got[0], w[0]);
	cr_expect_eq(w[0]->err, ERR_OK);
	store_op_free(&op);
	cr_expect_eq(rig_done(r, w[1]), ERR_OK); /* since is behind by now */
	w[2]->since = w[3]->since = since + 1;
	store_submit(r->c, w[2]);
	cr_expect_eq(poll_for(r, got, 1, 20), 0);
	store_watch_cancel(r->c, w[2]);
	store_watch_cancel(r->c, w[2]);
	cr_assert_eq(poll_for(r, got, 1, 10000), 1);
	cr_expect_eq(w[2]->err, ERR_CLOSED);
	store_submit(r->c, w[3]);
	cr_expect_eq(poll_for(r, got, 1, 20), 0);
	op = rig_op(r, STORE_COMMIT);
	store_tx_folder_delete(op, a, SPAN("f"));
	store_submit(r->c, op);
	cr_assert_eq(poll_for(r, got, 2, 10000), 2);
	cr_expect_eq(w[3]->err, ERR_NOT_FOUND);
	store_op_free(&op);
	store_op_free(&w[0]);
	store_op_free(&w[2]);
	store_op_free(&w[3]);
	op = rig_op(r, STORE_WATCH); /* left to the close */
	op->acct = a;
	op->folder = STORE_INBOX;
	op->since = 1000;
	store_submit(r->c, op);
}

Test(store, watch)
{
	each(watch);
}

static void lock(struct rig *r)
{
	uint64_t a = rig_account(r, "a@example.net");
	static const struct {
		enum store_verb verb;
		uint32_t gen;
		enum err want;
	} step[] = {
		{STORE_UNLOCK, 1, ERR_NOT_FOUND},
		{STORE_LOCK, 1, ERR_OK},
		{STORE_LOCK, 1, ERR_BUSY},
		{STORE_LOCK, 2, ERR_BUSY},
		{STORE_UNLOCK, 2, ERR_NOT_FOUND}, /* not the holder: nothing */
		{STORE_LOCK, 2, ERR_BUSY},
		{STORE_UNLOCK, 1, ERR_OK},
		{STORE_LOCK, 2, ERR_OK},
	};
	for (unsigned i = 0; i < 8; i++) {
		struct store_op *op = store_op_new(r->c, step[i].verb, 5, step[i].gen);
		op->acct = a;
		cr_expect_eq(rig_done(r, op), step[i].want, "step %u", i);
	}
	rig_reopen(r);
	struct store_op *op = rig_op(r, STORE_LOCK);
	op->acct = a;
	cr_expect_eq(rig_done(r, op), ERR_OK);
}

Test(store, pop3_lock)
{
	each(lock);
}

static void ids(struct rig *r)
{
	store_id x = store_id_new(r->c), y = store_id_new(r->c), z = store_id_new(store_core(r->s, 1));
	cr_expect(x != y && y != z && x != z && x != 0);
	rig_reopen(r);
	cr_expect_gt(store_id_new(r->c), y);
	cr_expect_neq(store_id_new(r->c) >> 48, y >> 48);
}

Test(store, ids_are_new_after_each_start)
{
	each(ids);
}

/* A pool that is used up says so, and many ops at once, some large, come back in order: also from a disk
 * that finishes groups in any order. */
static void many(struct rig *r)
{
	static uint8_t text[200001];
	uint64_t a = rig_account(r, "a@example.net");
	struct store_op *op[64], *got[64];
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 64; i++) {
			op[i] = rig_op(r, STORE_COMMIT);
			op[i]->blob = store_id_new(r->c);
			op[i]->body = rig_bytes(r, text, i % 10 * 20000 + 1);
			store_tx_blob(op[i], op[i]->blob, 0, 0);
			store_tx_deliver(op[i], a, STORE_INBOX, op[i]->blob, 0, SPAN(""), 0);
			store_submit(r->c, op[i]);
		}
		cr_expect_null(store_op_new(r->c, STORE_READ, 0, 0));
		cr_assert_eq(poll_for(r, got, 64, 20000), 64);
		for (unsigned i = 0; i < 64; i++) {
			cr_expect_eq(got[i], op[i]);
			cr_expect_eq(op[i]->err, ERR_OK);
			cr_expect_eq(op[i]->res[1].uid, round * 64 + i + 1);
			store_op_free(&op[i]);
		}
	}
	struct store_op *s = rig_sync(r, a, STORE_INBOX, 0, false);
	cr_expect_eq(s->view->n_ent, 320);
	store_op_free(&s);
}

Test(store, many_at_once_in_order)
{
	each(many);
}
