/*
 * imap_search_parse.c: search keys into a tree. Depth, nodes and texts are bounded, so that neither the stack nor the
 * time for a message depends on what the client can write into a command.
 */
#include "imap_search_parse.h"
#include "check.h"
#include "mail_codec.h"
#include "mail_header.h"
#include "store.h"

enum arg { ARG_NONE, ARG_TEXT, ARG_FIELD_TEXT, ARG_ATOM, ARG_DATE, ARG_NUMBER, ARG_SET, ARG_KEY, ARG_TWO_KEYS };

#define NAME(s) {(const uint8_t *)(s), sizeof(s) - 1}
/* RFC 3501 section 9, search-key, in its order. field: what FROM and its kin look at. \Recent is the session's own bit. */
#define RECENT (1u << 29)
static const struct {
	struct span name;
	enum imap_key key;
	enum arg arg;
	uint32_t flags;
	struct span field;
} keys[] = {
	{NAME("ALL"), IMAP_KEY_AND, ARG_NONE, 0, {0}},
	{NAME("ANSWERED"), IMAP_KEY_FLAG, ARG_NONE, STORE_ANSWERED, {0}},
	{NAME("BCC"), IMAP_KEY_HEADER, ARG_TEXT, 0, NAME("Bcc")},
	{NAME("BEFORE"), IMAP_KEY_BEFORE, ARG_DATE, 0, {0}},
	{NAME("BODY"), IMAP_KEY_BODY, ARG_TEXT, 0, {0}},
	{NAME("CC"), IMAP_KEY_HEADER, ARG_TEXT, 0, NAME("Cc")},
	{NAME("DELETED"), IMAP_KEY_FLAG, ARG_NONE, STORE_DELETED, {0}},
	{NAME("FLAGGED"), IMAP_KEY_FLAG, ARG_NONE, STORE_FLAGGED, {0}},
	{NAME("FROM"), IMAP_KEY_HEADER, ARG_TEXT, 0, NAME("From")},
	{NAME("KEYWORD"), IMAP_KEY_KEYWORD, ARG_ATOM, 0, {0}},
	{NAME("NEW"), IMAP_KEY_NEW, ARG_NONE, 0, {0}},
	{NAME("OLD"), IMAP_KEY_OLD, ARG_NONE, 0, {0}},
	{NAME("ON"), IMAP_KEY_ON, ARG_DATE, 0, {0}},
	{NAME("OLDER"), IMAP_KEY_OLDER, ARG_NUMBER, 0, {0}}, /* RFC 5032 */
	{NAME("RECENT"), IMAP_KEY_FLAG, ARG_NONE, RECENT, {0}},
	{NAME("SEEN"), IMAP_KEY_FLAG, ARG_NONE, STORE_SEEN, {0}},
	{NAME("SINCE"), IMAP_KEY_SINCE, ARG_DATE, 0, {0}},
	{NAME("SUBJECT"), IMAP_KEY_HEADER, ARG_TEXT, 0, NAME("Subject")},
	{NAME("TEXT"), IMAP_KEY_TEXT, ARG_TEXT, 0, {0}},
	{NAME("TO"), IMAP_KEY_HEADER, ARG_TEXT, 0, NAME("To")},
	{NAME("UNANSWERED"), IMAP_KEY_UNFLAG, ARG_NONE, STORE_ANSWERED, {0}},
	{NAME("UNDELETED"), IMAP_KEY_UNFLAG, ARG_NONE, STORE_DELETED, {0}},
	{NAME("UNFLAGGED"), IMAP_KEY_UNFLAG, ARG_NONE, STORE_FLAGGED, {0}},
	{NAME("UNKEYWORD"), IMAP_KEY_UNKEYWORD, ARG_ATOM, 0, {0}},
	{NAME("UNSEEN"), IMAP_KEY_UNFLAG, ARG_NONE, STORE_SEEN, {0}},
	{NAME("DRAFT"), IMAP_KEY_FLAG, ARG_NONE, STORE_DRAFT, {0}},
	{NAME("HEADER"), IMAP_KEY_HEADER, ARG_FIELD_TEXT, 0, {0}},
	{NAME("LARGER"), IMAP_KEY_LARGER, ARG_NUMBER, 0, {0}},
	{NAME("NOT"), IMAP_KEY_NOT, ARG_KEY, 0, {0}},
	{NAME("OR"), IMAP_KEY_OR, ARG_TWO_KEYS, 0, {0}},
	{NAME("SENTBEFORE"), IMAP_KEY_SENTBEFORE, ARG_DATE, 0, {0}},
	{NAME("SENTON"), IMAP_KEY_SENTON, ARG_DATE, 0, {0}},
	{NAME("SENTSINCE"), IMAP_KEY_SENTSINCE, ARG_DATE, 0, {0}},
	{NAME("SMALLER"), IMAP_KEY_SMALLER, ARG_NUMBER, 0, {0}},
	{NAME("UID"), IMAP_KEY_UID, ARG_SET, 0, {0}},
	{NAME("UNDRAFT"), IMAP_KEY_UNFLAG, ARG_NONE, STORE_DRAFT, {0}},
	{NAME("YOUNGER"), IMAP_KEY_YOUNGER, ARG_NUMBER, 0, {0}},
};

static enum err key_parse(struct imap_parser *p, struct imap_search *s, unsigned depth,
			  struct imap_search_node **out);

static struct imap_search_node *node_new(struct imap_parser *p, struct imap_search *s, enum imap_key key)
{
	struct imap_search_node *n;

	if (s->n_nodes == IMAP_SEARCH_NODES)
		return NULL;
	n = arena_zalloc(p->arena, sizeof(*n));
	if (n) {
		n->key = key;
		s->n_nodes++;
	}
	return n;
}

/* Keys with a space between, up to the closing parenthesis or the end. */
static enum err list_parse(struct imap_parser *p, struct imap_search *s, unsigned depth,
			   struct imap_search_node **out)
{
	struct imap_search_node *n = node_new(p, s, IMAP_KEY_AND), **last;
	enum err e;

	if (!n)
		return ERR_TOO_MANY;
	last = &n->a;
	do {
		if ((e = key_parse(p, s, depth, last)) != ERR_OK)
			return e;
		last = &(*last)->next;
	} while (imap_parse_sp(p));
	*out = n;
	return ERR_OK;
}

/* An astring in the charset of the command, as UTF-8 in the arena. */
static enum err text_parse(struct imap_parser *p, struct imap_search *s, struct span *out)
{
	struct span raw;
	struct buf b;

	if (!imap_parse_astring(p, &raw))
		return ERR_SYNTAX;
	if (!s->charset.p || span_ieq(s->charset, SPAN("UTF-8")) || span_ieq(s->charset, SPAN("US-ASCII"))) {
		*out = raw;
		return ERR_OK;
	}
	buf_init(&b);
	mail_charset_to_utf8(&b, s->charset, raw);
	*out = arena_copy(p->arena, buf_span(&b));
	buf_fini(&b);
	return out->p ? ERR_OK : ERR_NO_MEMORY;
}

static enum err set_parse(struct imap_parser *p, struct imap_search *s, struct imap_search_node *n)
{
	struct span text;

	if (!imap_parse_set_text(p, &text))
		return ERR_SYNTAX;
	s->sets[s->n_sets++] = n;
	return imap_set_parse(text, p->arena, &n->set);
}

static enum err arg_parse(struct imap_parser *p, struct imap_search *s, unsigned depth, enum arg arg,
			  struct imap_search_node *n)
{
	struct span date;
	enum err e;

	if (arg == ARG_NONE)
		return ERR_OK;
	if (!imap_parse_sp(p))
		return ERR_SYNTAX;
	switch (arg) {
	case ARG_FIELD_TEXT:
		if (!imap_parse_astring(p, &n->name) || !imap_parse_sp(p))
			return ERR_SYNTAX;
		return text_parse(p, s, &n->text);
	case ARG_TEXT:
		if (n->key != IMAP_KEY_HEADER && ++s->n_texts > IMAP_SEARCH_TEXTS)
			return ERR_TOO_MANY;
		return text_parse(p, s, &n->text);
	case ARG_ATOM:
		s->sets[s->n_sets++] = n;
		return imap_parse_atom(p, &n->name) ? ERR_OK : ERR_SYNTAX;
	case ARG_DATE:
		return imap_parse_astring(p, &date) ? mail_date_day_parse(date, &n->day) : ERR_SYNTAX;
	case ARG_NUMBER:
		return imap_parse_u32(p, &n->number) ? ERR_OK : ERR_SYNTAX;
	case ARG_SET:
		return set_parse(p, s, n);
	case ARG_KEY:
		return key_parse(p, s, depth + 1, &n->a);
	case ARG_TWO_KEYS:
		if ((e = key_parse(p, s, depth + 1, &n->a)) != ERR_OK)
			return e;
		return imap_parse_sp(p) ? key_parse(p, s, depth + 1, &n->a->next) : ERR_SYNTAX;
	default:
		return ERR_SYNTAX;
	}
}

static enum err key_parse(struct imap_parser *p, struct imap_search *s, unsigned depth,
			  struct imap_search_node **out)
{
	struct imap_search_node *n;
	struct span word;
	enum err e;

	if (depth > IMAP_SEARCH_DEPTH)
		return ERR_TOO_MANY;
	if (imap_parse_char(p, '(')) {
		if ((e = list_parse(p, s, depth + 1, out)) != ERR_OK)
			return e;
		return imap_parse_char(p, ')') ? ERR_OK : ERR_SYNTAX;
	}
	if (!(n = node_new(p, s, IMAP_KEY_AND)))
		return ERR_TOO_MANY;
	*out = n;
	if (p->off < p->text.len && (imap_parse_peek(p, '*') || (p->text.p[p->off] >= '0' && p->text.p[p->off] <= '9'))) {
		n->key = IMAP_KEY_SEQ;
		return set_parse(p, s, n);
	}
	if (!imap_parse_atom(p, &word))
		return ERR_SYNTAX;
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		if (!span_ieq(word, keys[i].name))
			continue;
		n->key = keys[i].key;
		n->flags = keys[i].flags;
		n->name = keys[i].field;
		return arg_parse(p, s, depth, keys[i].arg, n);
	}
	return ERR_SYNTAX;
}

static const struct {
	struct span name;
	unsigned bit;
} return_opt[] = {
	{NAME("MIN"), IMAP_RETURN_MIN},
	{NAME("MAX"), IMAP_RETURN_MAX},
	{NAME("COUNT"), IMAP_RETURN_COUNT},
	{NAME("ALL"), IMAP_RETURN_ALL},
};

/* "RETURN (MIN COUNT) ", RFC 4731 3.1; an empty list asks for ALL. */
static bool return_parse(struct imap_parser *p, unsigned *ret)
{
	struct span word;

	if (!imap_parse_word(p, SPAN("RETURN")))
		return true;
	if (!imap_parse_sp(p) || !imap_parse_char(p, '('))
		return false;
	while (imap_parse_atom(p, &word)) {
		unsigned i = 0;

		while (i < ARRAY_LEN(return_opt) && !span_ieq(word, return_opt[i].name))
			i++;
		if (i == ARRAY_LEN(return_opt))
			return false;
		*ret |= return_opt[i].bit;
		if (!imap_parse_sp(p))
			break;
	}
	if (*ret == 0)
		*ret = IMAP_RETURN_ALL;
	return imap_parse_char(p, ')') && imap_parse_sp(p);
}

enum err imap_search_parse(struct imap_parser *p, struct imap_search *s)
{
	enum err e;

	*s = (struct imap_search){0};
	if (!return_parse(p, &s->ret))
		return ERR_SYNTAX;
	if (imap_parse_word(p, SPAN("CHARSET"))) {
		if (!imap_parse_sp(p) || !imap_parse_astring(p, &s->charset) || !imap_parse_sp(p))
			return ERR_SYNTAX;
		if (!mail_charset_known(s->charset))
			return ERR_UNSUPPORTED;
	}
	if ((e = list_parse(p, s, 0, &s->root)) != ERR_OK)
		return e;
	return imap_parse_end(p) ? ERR_OK : ERR_SYNTAX;
}
