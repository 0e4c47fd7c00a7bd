/*
 * imap_fetch_parse.c: the items of FETCH: names, macros, sections, partials. See imap_fetch_parse.h.
 */
#include "imap_fetch_parse.h"
#include "check.h"

#define NAME(s) {(const uint8_t *)(s), sizeof(s) - 1}

/* fetch-att without sections. */
static const struct {
	struct span name;
	enum imap_att att;
	enum imap_need need;
} plain_att[] = {
	{NAME("FLAGS"), IMAP_ATT_FLAGS, IMAP_NEED_NONE},
	{NAME("UID"), IMAP_ATT_UID, IMAP_NEED_NONE},
	{NAME("INTERNALDATE"), IMAP_ATT_INTERNALDATE, IMAP_NEED_NONE},
	{NAME("RFC822.SIZE"), IMAP_ATT_SIZE, IMAP_NEED_NONE},
	{NAME("ENVELOPE"), IMAP_ATT_ENVELOPE, IMAP_NEED_HEAD},
	{NAME("BODY"), IMAP_ATT_BODY, IMAP_NEED_ALL},
	{NAME("BODYSTRUCTURE"), IMAP_ATT_BODYSTRUCTURE, IMAP_NEED_ALL},
};

/* The old names of sections: "functionally equivalent" but for the name that is answered. */
static const struct {
	struct span name;
	const char *shown;
	enum mail_section_kind kind;
	bool peek;
} old_att[] = {
	{NAME("RFC822"), "RFC822", MAIL_SECTION_ALL, false},
	{NAME("RFC822.HEADER"), "RFC822.HEADER", MAIL_SECTION_HEADER, true},
	{NAME("RFC822.TEXT"), "RFC822.TEXT", MAIL_SECTION_TEXT, false},
};

/* Macros stand alone, never in a list. */
static const struct {
	struct span name;
	enum imap_att att[6];
	unsigned n;
} macro[] = {
	{NAME("FAST"), {IMAP_ATT_FLAGS, IMAP_ATT_INTERNALDATE, IMAP_ATT_SIZE}, 3},
	{NAME("ALL"), {IMAP_ATT_FLAGS, IMAP_ATT_INTERNALDATE, IMAP_ATT_SIZE, IMAP_ATT_ENVELOPE}, 4},
	{NAME("FULL"),
	 {IMAP_ATT_FLAGS, IMAP_ATT_INTERNALDATE, IMAP_ATT_SIZE, IMAP_ATT_ENVELOPE, IMAP_ATT_BODY}, 5},
};

static struct imap_fetch_item *item_new(struct imap_parser *p, enum imap_att att)
{
	struct imap_fetch_item *it = arena_zalloc(p->arena, sizeof(*it));

	if (it)
		it->att = att;
	return it;
}

static enum err item_add(struct imap_fetch_list *l, struct imap_fetch_item *it)
{
	if (!it)
		return ERR_NO_MEMORY;
	/* twice the same plain item is answered once */
	if (it->att != IMAP_ATT_SECTION && (l->mask >> it->att & 1))
		return ERR_OK;
	if (l->n++ == IMAP_FETCH_ITEM_MAX)
		return ERR_TOO_MANY;
	l->mask |= 1u << it->att;
	*l->last = it;
	l->last = &it->next;
	return ERR_OK;
}

static enum err plain_add(struct imap_parser *p, struct imap_fetch_list *l, enum imap_att att)
{
	struct imap_fetch_item *it = item_new(p, att);

	for (unsigned i = 0; it && i < ARRAY_LEN(plain_att); i++) {
		if (plain_att[i].att == att)
			it->need = plain_att[i].need;
	}
	return item_add(l, it);
}

static enum err section_add(struct imap_fetch_list *l, struct imap_fetch_item *it)
{
	it->whole = it->sec->kind == MAIL_SECTION_ALL && it->sec->n_path == 0;
	it->need = it->whole                          ? IMAP_NEED_NONE
		   : mail_section_is_header(it->sec) ? IMAP_NEED_HEAD
						      : IMAP_NEED_ALL;
	return item_add(l, it);
}

/*
 * The text between '[' and its ']' . Header names may be strings; those that are literals are written anew as
 * quoted strings, so that mail_section_parse need not know of literals.
 */
static enum err section_text(struct imap_parser *p, struct span *out)
{
	size_t start = p->off, cap = 0, n = 0;
	uint8_t *copy = NULL;

	while (p->off < p->text.len && !imap_parse_peek(p, ']')) {
		uint8_t c = p->text.p[p->off];
		size_t from = p->off;
		struct span s;

		if (c != '"' && c != '{') {
			p->off++;
			if (copy)
				copy[n++] = c;
			continue;
		}
		if (!imap_parse_string(p, &s))
			return ERR_SYNTAX;
		if (c == '{' && !copy) {
			cap = 2 * p->text.len;
			copy = arena_alloc(p->arena, cap);
			if (!copy)
				return ERR_NO_MEMORY;
			n = from - start;
			memcpy(copy, p->text.p + start, n);
		}
		if (!copy)
			continue;
		if (n + 2 * s.len + 2 > cap)
			return ERR_SYNTAX;
		copy[n++] = '"';
		for (size_t i = 0; i < s.len; i++) {
			if (s.p[i] == '"' || s.p[i] == '\\')
				copy[n++] = '\\';
			copy[n++] = s.p[i];
		}
		copy[n++] = '"';
	}
	*out = copy ? span_of(copy, n) : span_of(p->text.p + start, p->off - start);
	return imap_parse_char(p, ']') ? ERR_OK : ERR_SYNTAX;
}

/* "<off.max>" (max is nz-number) */
static bool partial_parse(struct imap_parser *p, struct imap_fetch_item *it)
{
	if (!imap_parse_char(p, '<'))
		return true;
	it->partial = true;
	return imap_parse_u32(p, &it->off) && imap_parse_char(p, '.') && imap_parse_u32(p, &it->max) &&
	       it->max > 0 && imap_parse_char(p, '>');
}

/* Behind "BODY[" or "BODY.PEEK[". */
static enum err section_parse(struct imap_parser *p, struct imap_fetch_list *l)
{
	struct imap_fetch_item *it = item_new(p, IMAP_ATT_SECTION);
	struct span text;
	enum err e;

	if (!it || !(it->sec = arena_zalloc(p->arena, sizeof(*it->sec))))
		return ERR_NO_MEMORY;
	if ((e = section_text(p, &text)) != ERR_OK || (e = mail_section_parse(p->arena, text, it->sec)) != ERR_OK)
		return e;
	if (!partial_parse(p, it))
		return ERR_SYNTAX;
	return section_add(l, it);
}

static enum err old_add(struct imap_parser *p, struct imap_fetch_list *l, unsigned i)
{
	struct imap_fetch_item *it = item_new(p, IMAP_ATT_SECTION);

	if (!it || !(it->sec = arena_zalloc(p->arena, sizeof(*it->sec))))
		return ERR_NO_MEMORY;
	it->name = old_att[i].shown;
	it->sec->kind = old_att[i].kind;
	l->seen |= !old_att[i].peek;
	return section_add(l, it);
}

/* The letters and dots of an item's name: an atom would run on into "[". */
static struct span att_name(struct imap_parser *p)
{
	size_t i = p->off;

	while (i < p->text.len) {
		uint8_t c = ascii_upper(p->text.p[i]);

		if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '.')
			break;
		i++;
	}
	struct span s = span_of(p->text.p + p->off, i - p->off);
	p->off = i;
	return s;
}

static enum err att_parse(struct imap_parser *p, struct imap_fetch_list *l)
{
	struct span name = att_name(p);

	if (imap_parse_char(p, '[')) {
		if (span_ieq(name, SPAN("BODY")))
			l->seen = true;
		else if (!span_ieq(name, SPAN("BODY.PEEK")))
			return ERR_SYNTAX;
		return section_parse(p, l);
	}
	for (unsigned i = 0; i < ARRAY_LEN(plain_att); i++) {
		if (span_ieq(name, plain_att[i].name))
			return plain_add(p, l, plain_att[i].att);
	}
	for (unsigned i = 0; i < ARRAY_LEN(old_att); i++) {
		if (span_ieq(name, old_att[i].name))
			return old_add(p, l, i);
	}
	return ERR_SYNTAX;
}

static enum err macro_parse(struct imap_parser *p, struct imap_fetch_list *l, bool *found)
{
	enum err e = ERR_OK;

	*found = true;
	for (unsigned i = 0; i < ARRAY_LEN(macro); i++) {
		if (!imap_parse_word(p, macro[i].name))
			continue;
		for (unsigned k = 0; k < macro[i].n && e == ERR_OK; k++)
			e = plain_add(p, l, macro[i].att[k]);
		return e;
	}
	*found = false;
	return ERR_OK;
}

static enum err items_parse(struct imap_parser *p, struct imap_fetch_list *l)
{
	bool found;
	enum err e = macro_parse(p, l, &found);

	if (found || e != ERR_OK)
		return e;
	if (!imap_parse_char(p, '('))
		return att_parse(p, l);
	do {
		if ((e = att_parse(p, l)) != ERR_OK)
			return e;
	} while (imap_parse_sp(p));
	return imap_parse_char(p, ')') ? ERR_OK : ERR_SYNTAX;
}

enum err imap_fetch_parse(struct imap_parser *p, bool uid, struct imap_fetch_list *l)
{
	enum err e;
	unsigned n_whole = 0;

	*l = (struct imap_fetch_list){.last = &l->first};
	/* RFC 3501 6.4.8: UID FETCH always answers with UID; in front, where a reader has it soonest */
	if (uid && (e = plain_add(p, l, IMAP_ATT_UID)) != ERR_OK)
		return e;
	if ((e = items_parse(p, l)) != ERR_OK)
		return e;
	for (struct imap_fetch_item *it = l->first; it; it = it->next) {
		if (it->need > l->need)
			l->need = it->need;
		if (it->whole) {
			n_whole++;
			l->stream = it;
		}
	}
	/* two of them, or one beside items that need all of it: from memory */
	if (n_whole > 1 || (n_whole && l->need == IMAP_NEED_ALL)) {
		l->stream = NULL;
		l->need = IMAP_NEED_ALL;
	}
	return ERR_OK;
}
