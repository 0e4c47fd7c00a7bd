/*
 * imap_set.c: sequence sets. n log n in the number of ranges, for they are sorted once; see imap_set.h.
 */
#include "imap_set.h"
#include <stdlib.h>

/* "7" or "*" at *off. */
static bool parse_number(struct span t, size_t *off, uint32_t *out)
{
	uint64_t v;
	size_t i = *off;

	if (i < t.len && t.p[i] == '*') {
		*out = IMAP_SET_STAR;
		*off = i + 1;
		return true;
	}
	while (i < t.len && t.p[i] >= '0' && t.p[i] <= '9')
		i++;
	if (!span_u64(span_of(t.p + *off, i - *off), UINT32_MAX, &v) || v == 0)
		return false;
	/* the highest number stands for "*" here; one below names the same: nothing */
	*out = v == IMAP_SET_STAR ? IMAP_SET_STAR - 1 : (uint32_t)v;
	*off = i;
	return true;
}

enum err imap_set_parse(struct span text, struct arena *a, struct imap_set *out)
{
	size_t off = 0, n = 1;

	for (size_t i = 0; i < text.len; i++)
		n += text.p[i] == ',';
	*out = (struct imap_set){.v = arena_alloc(a, n * sizeof(*out->v))};
	if (!out->v)
		return ERR_NO_MEMORY;
	for (;;) {
		struct imap_range *r = &out->v[out->n];

		if (!parse_number(text, &off, &r->lo))
			return ERR_SYNTAX;
		r->hi = r->lo;
		if (off < text.len && text.p[off] == ':') {
			off++;
			if (!parse_number(text, &off, &r->hi))
				return ERR_SYNTAX;
		}
		out->n++;
		if (off == text.len)
			return ERR_OK;
		if (text.p[off++] != ',')
			return ERR_SYNTAX;
	}
}

static int range_order(const void *a, const void *b)
{
	const struct imap_range *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Sorts and merges ranges of indexes. */
static void normalise(struct imap_set *s)
{
	uint32_t n = 0;

	if (s->n > 1)
		qsort(s->v, s->n, sizeof(*s->v), range_order);
	for (uint32_t i = 0; i < s->n; i++) {
		struct imap_range r = s->v[i];

		if (n && (uint64_t)r.lo <= (uint64_t)s->v[n - 1].hi + 1) {
			if (r.hi > s->v[n - 1].hi)
				s->v[n - 1].hi = r.hi;
		} else {
			s->v[n++] = r;
		}
	}
	s->n = n;
}

/* "*" is the highest number in use; a range may be written in either order. */
static struct imap_range range_fix(struct imap_range r, uint32_t star)
{
	uint32_t lo = r.lo == IMAP_SET_STAR ? star : r.lo;
	uint32_t hi = r.hi == IMAP_SET_STAR ? star : r.hi;

	return lo <= hi ? (struct imap_range){lo, hi} : (struct imap_range){hi, lo};
}

enum err imap_set_resolve_seq(struct imap_set *s, uint32_t count, bool lenient)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		bool star = s->v[i].lo == IMAP_SET_STAR || s->v[i].hi == IMAP_SET_STAR;
		struct imap_range r = range_fix(s->v[i], count);

		if (r.hi > count) {
			if (!star && !lenient)
				return ERR_NOT_FOUND;
			r.hi = count;
			if (star && r.lo > count)
				r.lo = count;
		}
		if (r.lo == 0)
			r.lo = 1; /* "*" of an empty folder */
		if (r.lo > r.hi)
			continue;
		s->v[n++] = (struct imap_range){r.lo - 1, r.hi - 1};
	}
	s->n = n;
	normalise(s);
	return ERR_OK;
}

uint32_t imap_uid_find(const struct store_ent *ent, uint32_t from, uint32_t count, uint32_t uid)
{
	uint32_t lo = from, hi = count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (ent[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void imap_set_resolve_uid(struct imap_set *s, const struct store_ent *ent, uint32_t count)
{
	uint32_t n = 0, star = count ? ent[count - 1].uid : 0;

	for (uint32_t i = 0; i < s->n; i++) {
		struct imap_range r = range_fix(s->v[i], star);
		uint32_t lo = imap_uid_find(ent, 0, count, r.lo);
		uint32_t hi = r.hi == UINT32_MAX ? count : imap_uid_find(ent, lo, count, r.hi + 1);

		if (lo < hi)
			s->v[n++] = (struct imap_range){lo, hi - 1};
	}
	s->n = n;
	normalise(s);
}

bool imap_set_has(const struct imap_set *s, uint32_t index)
{
	uint32_t lo = 0, hi = s->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (s->v[mid].hi < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->n && s->v[lo].lo <= index;
}

uint32_t *imap_set_uids(const struct imap_set *s, const struct store_ent *ent, struct arena *a)
{
	uint32_t *out = arena_alloc(a, (size_t)s->n * 2 * sizeof(*out) + 1);

	for (uint32_t i = 0; out && i < s->n; i++) {
		out[2 * i] = ent[s->v[i].lo].uid;
		out[2 * i + 1] = ent[s->v[i].hi].uid;
	}
	return out;
}

static void run_write(struct imap_set_writer *w)
{
	if (!w->open)
		return;
	if (w->some)
		buf_add_u8(w->out, ',');
	if (w->run.lo == w->run.hi)
		buf_printf(w->out, "%u", w->run.lo);
	else
		buf_printf(w->out, "%u:%u", w->run.lo, w->run.hi);
	w->some = true;
	w->open = false;
}

void imap_set_put(struct imap_set_writer *w, uint32_t number)
{
	if (w->open && number == w->run.hi + 1) {
		w->run.hi = number;
		return;
	}
	run_write(w);
	w->run = (struct imap_range){number, number};
	w->open = true;
}

void imap_set_end(struct imap_set_writer *w)
{
	run_write(w);
}
