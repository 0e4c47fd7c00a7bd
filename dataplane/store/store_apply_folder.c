/*
 * store_apply_folder.c: what mutations of folders, subscriptions and accounts do.
 *
 * 1. INBOX has id STORE_INBOX and can neither be deleted nor change its name; 2. every name above a folder
 * is a folder, too, perhaps one that is only a name (noselect: deleted while others lay below it);
 * 3. a UIDVALIDITY is the time in seconds or, if that was used before in the account, one more than the
 * last: rising and never used twice.
 */
#include <stdlib.h>
#include <string.h>
#include "store_apply.h"

#define INBOX     SPAN("INBOX")
#define NAME_PART '/'

/* RFC 3501 5.1: INBOX in any case is the same. */
enum err folder_name_canon(struct span in, char out[INDEX_NAME_MAX + 1])
{
	if (in.len > 1 && in.p[in.len - 1] == NAME_PART) /* CREATE "a/": RFC 3501 6.3.3 */
		in.len--;
	if (in.len > INDEX_NAME_MAX)
		return ERR_TOO_LONG;
	if (in.len == 0)
		return ERR_SYNTAX;
	uint8_t before = NAME_PART;
	for (size_t i = 0; i < in.len; i++) {
		if (in.p[i] < 0x20 || in.p[i] == 0x7f || (in.p[i] == NAME_PART && before == NAME_PART))
			return ERR_SYNTAX;
		before = in.p[i];
	}
	if (before == NAME_PART)
		return ERR_SYNTAX;
	memcpy(out, in.p, in.len);
	out[in.len] = '\0';
	if (span_istarts(in, INBOX) && (in.len == INBOX.len || in.p[INBOX.len] == NAME_PART))
		memcpy(out, INBOX.p, INBOX.len);
	return ERR_OK;
}

static bool is_inbox(const char *name)
{
	return span_eq(span_str(name), INBOX);
}

/* Does name lie below top? */
static bool name_below(const char *name, const char *top)
{
	size_t n = strlen(top);
	return strncmp(name, top, n) == 0 && name[n] == NAME_PART;
}

static bool has_below(const struct account *a, const char *top)
{
	for (uint32_t i = 0; i < a->n_folder; i++) {
		if (name_below(a->folder[i]->name, top))
			return true;
	}
	return false;
}

static uint32_t uidvalidity_next(const struct batch *b, struct account *a)
{
	uint32_t t = b->wall_s > UINT32_MAX ? UINT32_MAX : (uint32_t)b->wall_s;
	a->uv_last = t > a->uv_last ? t : a->uv_last + 1;
	return a->uv_last;
}

/* How many parts a name has: so many folders may be made with it. */
static uint32_t name_parts(const char *name)
{
	uint32_t n = 1;
	for (; *name; name++)
		n += *name == NAME_PART;
	return n;
}

/* The account and the name in canonical form. */
static enum err named(const struct batch *b, const struct mut *m, struct account **a,
		      char name[INDEX_NAME_MAX + 1])
{
	*a = index_account(b->ix, m->acct);
	return *a ? folder_name_canon(m->name, name) : ERR_NOT_FOUND;
}

static enum err check_new_name(const struct account *a, const char *name)
{
	const struct folder *f = index_folder_named(a, span_str(name));
	if (f && !f->noselect)
		return ERR_EXISTS;
	return a->n_folder + name_parts(name) > INDEX_FOLDERS_MAX ? ERR_TOO_MANY : ERR_OK;
}

static struct folder *folder_make(struct batch *b, struct account *a, struct span name)
{
	b->changed = true;
	return index_folder_add(a, a->next_folder, name, uidvalidity_next(b, a));
}

/* The names above one that are not there yet. */
static void make_above(struct batch *b, struct account *a, const char *name)
{
	for (const char *p = name; *p; p++) {
		struct span top = span_of(name, (size_t)(p - name));
		if (*p == NAME_PART && !index_folder_named(a, top))
			(void)folder_make(b, a, top);
	}
}

enum err check_folder_create(struct batch *b, const struct mut *m)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	enum err e = named(b, m, &a, name);
	return e == ERR_OK ? check_new_name(a, name) : e;
}

static struct folder *folder_create(struct batch *b, struct account *a, const char *name)
{
	struct folder *old = index_folder_named(a, span_str(name)); /* noselect, or check would have said EXISTS */
	if (old)
		index_folder_remove(b->ix, a, old);
	make_above(b, a, name);
	return folder_make(b, a, span_str(name));
}

void apply_folder_create(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	CHECK(named(b, m, &a, name) == ERR_OK);
	const struct folder *f = folder_create(b, a, name);
	*r = (struct store_result){.id = f->id, .modseq = f->modseq, .uidvalidity = f->uidvalidity};
}

enum err check_folder_delete(struct batch *b, const struct mut *m)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	enum err e = named(b, m, &a, name);
	if (e != ERR_OK)
		return e;
	if (is_inbox(name))
		return ERR_DENIED;
	const struct folder *f = index_folder_named(a, span_str(name));
	if (!f)
		return ERR_NOT_FOUND;
	return f->noselect && has_below(a, name) ? ERR_DENIED : ERR_OK;
}

void apply_folder_delete(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	CHECK(named(b, m, &a, name) == ERR_OK);
	struct folder *f = index_folder_named(a, span_str(name));
	r->n = f->n_ent;
	r->id = f->id;
	index_folder_remove(b->ix, a, f);
	b->changed = true;
	if (has_below(a, name)) /* RFC 3501 6.3.4: the name stays */
		folder_make(b, a, span_str(name))->noselect = true;
}

enum err check_folder_rename(struct batch *b, const struct mut *m)
{
	struct account *a;
	char from[INDEX_NAME_MAX + 1], to[INDEX_NAME_MAX + 1];
	enum err e = named(b, m, &a, from);
	if (e == ERR_OK)
		e = folder_name_canon(m->to, to);
	if (e != ERR_OK)
		return e;
	const struct folder *f = index_folder_named(a, span_str(from));
	if (!f)
		return ERR_NOT_FOUND;
	if (index_folder_named(a, span_str(to)))
		return ERR_EXISTS;
	if (name_below(to, from) && !is_inbox(from))
		return ERR_DENIED;
	for (uint32_t i = 0; i < a->n_folder; i++) {
		const char *name = a->folder[i]->name;
		if (name_below(name, from) && strlen(name) - strlen(from) + strlen(to) > INDEX_NAME_MAX)
			return ERR_TOO_LONG;
	}
	return check_new_name(a, to);
}

static void rename_one(struct folder *f, const char *from, const char *to)
{
	char name[2 * INDEX_NAME_MAX + 1];
	size_t n = strlen(to), rest = strlen(f->name) - strlen(from);
	memcpy(name, to, n);
	memcpy(name + n, f->name + strlen(from), rest);
	char *old = f->name;
	f->name = index_strdup(span_of(name, n + rest));
	free(old);
}

void apply_folder_rename(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a;
	char from[INDEX_NAME_MAX + 1], to[INDEX_NAME_MAX + 1];
	CHECK(named(b, m, &a, from) == ERR_OK && folder_name_canon(m->to, to) == ERR_OK);
	struct folder *f = index_folder_named(a, span_str(from));
	if (is_inbox(from)) { /* RFC 3501 6.3.5: its messages move, what lies below it stays */
		struct folder *dst = folder_create(b, a, to);
		(void)entries_copy(b, index_folder(a, STORE_INBOX), dst, m, true, true, r);
		f = dst;
	} else {
		make_above(b, a, to);
		for (uint32_t i = 0; i < a->n_folder; i++) {
			if (a->folder[i] != f && name_below(a->folder[i]->name, from))
				rename_one(a->folder[i], from, to);
		}
		rename_one(f, from, to);
		b->changed = true;
	}
	r->id = f->id;
	r->modseq = f->modseq;
	r->uidvalidity = f->uidvalidity;
}

enum err check_subscribe(struct batch *b, const struct mut *m)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	enum err e = named(b, m, &a, name);
	return e == ERR_OK && m->mode && a->n_sub >= INDEX_SUBS_MAX ? ERR_TOO_MANY : e;
}

void apply_subscribe(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a;
	char name[INDEX_NAME_MAX + 1];
	CHECK(named(b, m, &a, name) == ERR_OK);
	r->n = index_subscribe(a, span_str(name), m->mode);
	b->changed |= r->n > 0;
}

/* ---- accounts ---- */

static enum err account_fields(const struct mut *m)
{
	struct store_account *x = NULL;
	if (m->name.len == 0 || memchr(m->name.p, '\0', m->name.len))
		return ERR_SYNTAX;
	if (m->name.len >= sizeof(x->name) || m->pass.len >= sizeof(x->pass))
		return ERR_TOO_LONG;
	return m->pass.len && memchr(m->pass.p, '\0', m->pass.len) ? ERR_SYNTAX : ERR_OK;
}

enum err check_account_add(struct batch *b, const struct mut *m)
{
	enum err e = account_fields(m);
	return e == ERR_OK && index_account_named(b->ix, m->name) ? ERR_EXISTS : e;
}

enum err check_account_named(struct batch *b, const struct mut *m)
{
	enum err e = account_fields(m);
	return e == ERR_OK && !index_account_named(b->ix, m->name) ? ERR_NOT_FOUND : e;
}

static void published(struct batch *b, const struct account *a, enum index_pub what)
{
	b->changed = true;
	if (b->ix->publish)
		b->ix->publish(b->ix->arg, a, what);
}

void apply_account_add(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a = index_account_add(b->ix, 0, m->name, m->pass);
	const struct folder *f = folder_make(b, a, INBOX);
	CHECK(f->id == STORE_INBOX);
	*r = (struct store_result){.id = a->id, .uidvalidity = f->uidvalidity};
	published(b, a, INDEX_PUB_ADD);
}

void apply_account_pass(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a = index_account_named(b->ix, m->name);
	free(a->pass);
	a->pass = index_strdup(m->pass);
	r->id = a->id;
	published(b, a, INDEX_PUB_CHANGE);
}

void apply_account_remove(struct batch *b, const struct mut *m, struct store_result *r)
{
	struct account *a = index_account_named(b->ix, m->name);
	r->id = a->id;
	published(b, a, INDEX_PUB_REMOVE);
	index_account_remove(b->ix, a);
}
