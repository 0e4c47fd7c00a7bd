/*
 * fake_store_state.c: accounts, folders, blobs and queue items of the store's stand-in: finding, adding, copying.
 */
#include <stdlib.h>
#include "fake_store_int.h"

void *fake_grow(void *v, uint32_t n, size_t size)
{
	if ((n & (n - 1)) == 0) { /* room doubles at 0, 1, 2, 4 ... */
		v = realloc(v, (n ? (size_t)n * 2 : 1) * size);
		CHECK(v != NULL);
	}
	return v;
}

/* A copy whose room is what grow expects for n elements. */
void *fake_dup_array(const void *v, uint32_t n, size_t size)
{
	size_t cap = 1;
	if (n == 0)
		return NULL;
	while (cap < n)
		cap *= 2;
	void *out = malloc(cap * size);
	CHECK(out != NULL);
	memcpy(out, v, n * size);
	return out;
}

char *fake_dup_span(struct span s)
{
	return strndup((const char *)s.p, s.len);
}

void fake_folder_free(struct ffolder *f)
{
	for (uint32_t i = 0; i < f->n_kw; i++)
		free(f->kw[i]);
	free(f->f.name);
	free(f->ent);
	free(f->gone);
}

void fake_account_free(struct faccount *a)
{
	for (uint32_t i = 0; i < a->n_folder; i++)
		fake_folder_free(&a->folder[i]);
	for (uint32_t i = 0; i < a->n_sub; i++)
		free(a->sub[i]);
	free(a->folder);
	free(a->sub);
}

void fake_state_free(struct fstate *st)
{
	for (uint32_t i = 0; i < st->n_acct; i++)
		fake_account_free(&st->acct[i]);
	for (uint32_t i = 0; i < st->n_item; i++)
		free((void *)(uintptr_t)st->item[i].state.p);
	free(st->acct);
	free(st->item);
	*st = (struct fstate){0};
}

struct fstate fake_state_copy(const struct fstate *st)
{
	struct fstate c = *st;
	c.acct = fake_dup_array(st->acct, st->n_acct, sizeof(*st->acct));
	for (uint32_t i = 0; i < c.n_acct; i++) {
		struct faccount *a = &c.acct[i];
		a->folder = fake_dup_array(a->folder, a->n_folder, sizeof(*a->folder));
		for (uint32_t j = 0; j < a->n_folder; j++) {
			struct ffolder *f = &a->folder[j];
			f->f.name = strdup(f->f.name);
			f->ent = fake_dup_array(f->ent, f->n_ent, sizeof(*f->ent));
			f->gone = fake_dup_array(f->gone, f->n_gone, sizeof(*f->gone));
			for (uint32_t k = 0; k < f->n_kw; k++)
				f->kw[k] = strdup(f->kw[k]);
		}
		a->sub = fake_dup_array(a->sub, a->n_sub, sizeof(*a->sub));
		for (uint32_t j = 0; j < a->n_sub; j++)
			a->sub[j] = strdup(a->sub[j]);
	}
	c.item = fake_dup_array(st->item, st->n_item, sizeof(*st->item));
	for (uint32_t i = 0; i < c.n_item; i++) {
		struct span s = c.item[i].state;
		c.item[i].state = span_of(fake_dup_array(s.p, (uint32_t)s.len, 1), s.len);
	}
	return c;
}

struct faccount *fake_account_by_id(struct store *s, uint64_t id)
{
	for (uint32_t i = 0; i < s->st.n_acct; i++)
		if (s->st.acct[i].a.id == id)
			return &s->st.acct[i];
	return NULL;
}

struct faccount *fake_account_by_name(const struct store *s, struct span name)
{
	for (uint32_t i = 0; i < s->st.n_acct; i++)
		if (span_ieq(span_str(s->st.acct[i].a.name), name))
			return &s->st.acct[i];
	return NULL;
}

struct ffolder *fake_folder_by_id(struct faccount *a, uint32_t id)
{
	for (uint32_t i = 0; a && i < a->n_folder; i++)
		if (a->folder[i].f.id == id)
			return &a->folder[i];
	return NULL;
}

bool fake_is_inbox(struct span name)
{
	return span_ieq(name, SPAN("INBOX"));
}

struct ffolder *fake_folder_by_name(struct faccount *a, struct span name)
{
	for (uint32_t i = 0; a && i < a->n_folder; i++) {
		struct span n = span_str(a->folder[i].f.name);
		if (span_eq(n, name) || (fake_is_inbox(n) && fake_is_inbox(name)))
			return &a->folder[i];
	}
	return NULL;
}

struct ffolder *fake_folder_add(struct faccount *a, struct span name)
{
	a->folder = fake_grow(a->folder, a->n_folder, sizeof(*a->folder));
	struct ffolder *f = &a->folder[a->n_folder++];
	*f = (struct ffolder){.recent_from = 1};
	f->f.id = a->next_folder++;
	f->f.uidvalidity = a->next_validity++;
	f->f.uidnext = 1;
	f->f.modseq = 1;
	f->f.name = fake_is_inbox(name) ? strdup("INBOX") : fake_dup_span(name);
	return f;
}

struct fblob *fake_blob_find(struct store *s, store_id id)
{
	for (uint32_t i = 0; i < s->n_blob; i++)
		if (s->blob[i]->id == id)
			return s->blob[i];
	return NULL;
}

struct fblob *fake_blob_get(struct store *s, store_id id)
{
	struct fblob *b = fake_blob_find(s, id);
	if (b)
		return b;
	s->blob = fake_grow(s->blob, s->n_blob, sizeof(*s->blob));
	b = calloc(1, sizeof(*b));
	CHECK(b != NULL);
	b->id = id;
	buf_init(&b->bytes);
	s->blob[s->n_blob++] = b;
	return b;
}

