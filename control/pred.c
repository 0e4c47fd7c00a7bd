/*
 * pred.c: the predicate language (pred.h): a recursive descent parser into a table of nodes, and the walk over it.
 * Bounded in text, nodes and depth; nothing is allocated.
 */
#include "pred.h"

#include <stdio.h>

#include "check.h"

enum node_kind { NODE_TEST, NODE_NOT, NODE_AND, NODE_OR };
enum op { OP_SET, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_HAS, OP_HAS_NOT };

struct op_row {
	const char *text;
	uint8_t op;
};

/* Longer ones first. */
static const struct op_row ops[] = {
	{"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE}, {"!~", OP_HAS_NOT}, {"==", OP_EQ},
	{"=", OP_EQ},  {"<", OP_LT},  {">", OP_GT},  {"~", OP_HAS},
};

#define MASK(op)  (1u << (op))
#define EQUAL_OPS (MASK(OP_EQ) | MASK(OP_NE))
#define ORDER_OPS (MASK(OP_LT) | MASK(OP_LE) | MASK(OP_GT) | MASK(OP_GE))

static const uint16_t ops_of[] = {
	[PRED_TEXT] = EQUAL_OPS | MASK(OP_HAS) | MASK(OP_HAS_NOT),
	[PRED_NUMBER] = EQUAL_OPS | ORDER_OPS,
	[PRED_HEX] = EQUAL_OPS | ORDER_OPS,
	[PRED_TIME] = EQUAL_OPS | ORDER_OPS,
	[PRED_AGE] = EQUAL_OPS | ORDER_OPS,
	[PRED_UNTIL] = EQUAL_OPS | ORDER_OPS,
	[PRED_ADDR] = EQUAL_OPS,
	[PRED_FLAG] = EQUAL_OPS,
};

struct unit_row {
	const char *name;
	uint64_t factor;
};

static const struct unit_row time_units[] = {
	{"us", 1},           {"ms", 1000},         {"s", 1000000},         {"m", 60000000},
	{"h", 3600000000u},  {"d", 86400000000u},
};
static const struct unit_row size_units[] = {
	{"", 1}, {"k", 1u << 10}, {"m", 1u << 20}, {"g", 1u << 30}, {"t", 1ull << 40},
};

struct parser {
	struct pred *p;
	const struct pred_field *fields;
	size_t n_field;
	size_t at;      /* in p->text */
	unsigned depth;
	enum err err;
	char *why;
	size_t why_size;
};

/* ---- reading ---- */

static bool fail(struct parser *ps, enum err e, const char *what, struct span s)
{
	if (ps->err == ERR_OK) {
		ps->err = e;
		(void)snprintf(ps->why, ps->why_size, "%s%s" SPAN_FMT "%s at byte %zu of the expression", what,
			       s.len > 0 ? " '" : "", SPAN_ARG(span_head(s, 60)), s.len > 0 ? "'" : "", ps->at + 1);
	}
	return false;
}

static struct span rest(const struct parser *ps)
{
	return span_of(ps->p->text + ps->at, ps->p->text_len - ps->at);
}

static void skip_blank(struct parser *ps)
{
	while (ps->at < ps->p->text_len && (ps->p->text[ps->at] == ' ' || ps->p->text[ps->at] == '\t'))
		ps->at++;
}

/* Bytes of a field's name or of a bare value. */
static size_t word_len(struct span s, bool value)
{
	const char *const ends = value ? " \t()\"" : " \t()\"=!<>~";
	size_t n = 0;
	while (n < s.len && strchr(ends, s.p[n]) == NULL)
		n++;
	return n;
}

static bool take_word(struct parser *ps, struct span word)
{
	skip_blank(ps);
	struct span r = rest(ps);
	if (!span_ieq(span_head(r, word_len(r, false)), word))
		return false;
	ps->at += word.len;
	return true;
}

static bool take_byte(struct parser *ps, char c)
{
	skip_blank(ps);
	if (ps->at >= ps->p->text_len || ps->p->text[ps->at] != c)
		return false;
	ps->at++;
	return true;
}

/* A quoted value, unescaped in place (it only gets shorter). */
static bool take_quoted(struct parser *ps, struct span *out)
{
	char *text = ps->p->text;
	size_t from = ++ps->at, to = from;
	while (ps->at < ps->p->text_len && text[ps->at] != '"') {
		if (text[ps->at] == '\\' && ps->at + 1 < ps->p->text_len)
			ps->at++;
		text[to++] = text[ps->at++];
	}
	if (ps->at >= ps->p->text_len)
		return fail(ps, ERR_SYNTAX, "no closing quote", span_of("", 0));
	ps->at++;
	*out = span_of(text + from, to - from);
	return true;
}

static bool take_value(struct parser *ps, struct span *out)
{
	skip_blank(ps);
	struct span r = rest(ps);
	if (r.len > 0 && r.p[0] == '"')
		return take_quoted(ps, out);
	*out = span_head(r, word_len(r, true));
	if (out->len == 0)
		return fail(ps, ERR_SYNTAX, "a value is missing", span_of("", 0));
	ps->at += out->len;
	return true;
}

/* ---- values ---- */

static bool with_unit(struct span s, const struct unit_row *units, size_t n_unit, uint64_t *out)
{
	size_t digits = 0;
	while (digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	struct span unit = span_from(s, digits);
	for (size_t i = 0; i < n_unit; i++) {
		if (!span_ieq(unit, span_str(units[i].name)))
			continue;
		uint64_t n;
		if (!span_u64(span_head(s, digits), UINT64_MAX / units[i].factor, &n))
			return false;
		*out = n * units[i].factor;
		return true;
	}
	return false;
}

static bool value_number(struct span s, struct pred_node *n)
{
	return with_unit(s, size_units, ARRAY_LEN(size_units), &n->value.n);
}

static bool value_time(struct span s, struct pred_node *n)
{
	if (span_eq(s, SPAN("0"))) /* needs no unit */
		return true;
	return with_unit(s, time_units, ARRAY_LEN(time_units), &n->value.n);
}

static bool value_hex(struct span s, struct pred_node *n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = ascii_lower(s.p[i]);
		unsigned d = c >= '0' && c <= '9' ? c - '0' + 0u : c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
		if (d > 15)
			return false;
		v = v << 4 | d;
	}
	n->value.n = v;
	return s.len > 0 && s.len <= 16;
}

static bool value_text(struct span s, struct pred_node *n)
{
	n->value.s = s;
	return true;
}

static bool value_addr(struct span s, struct pred_node *n)
{
	struct ip_prefix p;
	if (!ip_prefix_parse(s, &p))
		return false;
	n->value.addr = p.addr;
	n->prefix_len = p.len;
	return true;
}

static bool value_flag(struct span s, struct pred_node *n)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"yes", true}, {"true", true}, {"1", true}, {"no", false}, {"false", false}, {"0", false}};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (span_ieq(s, span_str(words[i].word))) {
			n->value.n = words[i].value;
			return true;
		}
	}
	return false;
}

struct type_row {
	bool (*read)(struct span s, struct pred_node *n);
	const char *wanted;
};

static const struct type_row types[] = {
	[PRED_TEXT] = {value_text, "text is wanted, not"},
	[PRED_NUMBER] = {value_number, "a number (K, M, G, T may follow) is wanted, not"},
	[PRED_HEX] = {value_hex, "a hexadecimal id is wanted, not"},
	[PRED_TIME] = {value_time, "a time (us, ms, s, m, h, d) is wanted, not"},
	[PRED_AGE] = {value_time, "a time (us, ms, s, m, h, d) is wanted, not"},
	[PRED_UNTIL] = {value_time, "a time (us, ms, s, m, h, d) is wanted, not"},
	[PRED_ADDR] = {value_addr, "an address or prefix is wanted, not"},
	[PRED_FLAG] = {value_flag, "yes or no is wanted, not"},
};

/* ---- the grammar ---- */

static bool parse_or(struct parser *ps, uint8_t *out);

static struct pred_node *node_new(struct parser *ps, enum node_kind kind, uint8_t *out)
{
	if (ps->p->n == PRED_NODES_MAX) {
		(void)fail(ps, ERR_TOO_MANY, "too many conditions", span_of("", 0));
		return NULL;
	}
	*out = (uint8_t)ps->p->n++;
	struct pred_node *n = &ps->p->node[*out];
	*n = (struct pred_node){.kind = (uint8_t)kind};
	return n;
}

static bool parse_test(struct parser *ps, uint8_t *out)
{
	skip_blank(ps);
	struct span r = rest(ps), name = span_head(r, word_len(r, false));
	struct pred_node *n = node_new(ps, NODE_TEST, out);
	if (n == NULL)
		return false;
	for (size_t i = 0; i < ps->n_field && n->field == NULL; i++)
		if (span_ieq(name, span_str(ps->fields[i].name)))
			n->field = &ps->fields[i];
	if (n->field == NULL)
		return fail(ps, ERR_SYNTAX, name.len > 0 ? "no field" : "a field is missing", name);
	ps->at += name.len;
	skip_blank(ps);
	r = rest(ps);
	for (size_t i = 0; i < ARRAY_LEN(ops) && n->op == OP_SET; i++) {
		struct span text = span_str(ops[i].text);
		if (span_eq(span_head(r, text.len), text)) {
			n->op = ops[i].op;
			ps->at += text.len;
		}
	}
	if (n->op == OP_SET)
		return true;
	if (!(ops_of[n->field->type] >> n->op & 1))
		return fail(ps, ERR_SYNTAX, "that comparison is not for", name);
	struct span v;
	if (!take_value(ps, &v))
		return false;
	const struct type_row *t = &types[n->field->type];
	return t->read(v, n) || fail(ps, ERR_SYNTAX, t->wanted, v);
}

static bool parse_factor(struct parser *ps, uint8_t *out)
{
	if (ps->depth == PRED_DEPTH_MAX)
		return fail(ps, ERR_TOO_MANY, "nested too deeply", span_of("", 0));
	ps->depth++;
	bool ok;
	if (take_word(ps, SPAN("not"))) {
		uint8_t inner;
		struct pred_node *n;
		ok = parse_factor(ps, &inner) && (n = node_new(ps, NODE_NOT, out)) != NULL;
		if (ok)
			n->left = inner;
	} else if (take_byte(ps, '(')) {
		ok = parse_or(ps, out) &&
		     (take_byte(ps, ')') || fail(ps, ERR_SYNTAX, "a ')' is missing", span_of("", 0)));
	} else {
		ok = parse_test(ps, out);
	}
	ps->depth--;
	return ok;
}

/* factor *( word factor ), left to right. */
static bool parse_chain(struct parser *ps, struct span word, enum node_kind kind,
			bool (*inner)(struct parser *ps, uint8_t *out), uint8_t *out)
{
	if (!inner(ps, out))
		return false;
	while (take_word(ps, word)) {
		uint8_t left = *out, right;
		struct pred_node *n;
		if (!inner(ps, &right) || (n = node_new(ps, kind, out)) == NULL)
			return false;
		n->left = left;
		n->right = right;
	}
	return true;
}

static bool parse_and(struct parser *ps, uint8_t *out)
{
	return parse_chain(ps, SPAN("and"), NODE_AND, parse_factor, out);
}

static bool parse_or(struct parser *ps, uint8_t *out)
{
	return parse_chain(ps, SPAN("or"), NODE_OR, parse_and, out);
}

enum err pred_parse(struct pred *p, struct span text, const struct pred_field *fields, size_t n_field, uint64_t wall_us,
		    char *why, size_t why_size)
{
	struct parser ps = {.p = p, .fields = fields, .n_field = n_field, .why = why, .why_size = why_size};
	p->wall_us = wall_us;
	p->n = 0;
	p->root = 0;
	if (text.len >= sizeof(p->text)) {
		(void)snprintf(why, why_size, "the expression is longer than %d bytes", PRED_TEXT_MAX);
		return ERR_TOO_LONG;
	}
	if (text.len > 0)
		memcpy(p->text, text.p, text.len);
	p->text_len = text.len;
	skip_blank(&ps);
	if (ps.at == p->text_len)
		return ERR_OK;
	if (!parse_or(&ps, &p->root))
		return ps.err;
	skip_blank(&ps);
	if (ps.at < p->text_len)
		(void)fail(&ps, ERR_SYNTAX, "'and' or 'or' is wanted before", rest(&ps));
	return ps.err;
}

/* ---- asking ---- */

/* '*' is any run of bytes; linear but for backing up to the last '*'. */
static bool glob(struct span pattern, struct span s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
	while (i < s.len) {
		if (p < pattern.len && pattern.p[p] == '*') {
			star = p++;
			mark = i;
		} else if (p < pattern.len && ascii_lower(pattern.p[p]) == ascii_lower(s.p[i])) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++mark;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.p[p] == '*')
		p++;
	return p == pattern.len;
}

static bool contains(struct span s, struct span part)
{
	for (size_t i = 0; i + part.len <= s.len; i++)
		if (span_ieq(span_of(s.p + i, part.len), part))
			return true;
	return false;
}

static bool number_test(uint8_t op, uint64_t a, uint64_t b)
{
	const bool answer[] = {
		[OP_SET] = a != 0, [OP_EQ] = a == b, [OP_NE] = a == b, [OP_LT] = a < b,
		[OP_LE] = a <= b,  [OP_GT] = a > b,  [OP_GE] = a >= b,
	};
	return answer[op];
}

/* Of one value. != and !~ are asked as = and ~ here, and turned round over all values. */
static bool value_test(const struct pred *p, const struct pred_node *n, const union pred_value *v)
{
	switch (n->field->type) {
	case PRED_TEXT:
		if (n->op == OP_SET)
			return v->s.len > 0;
		return n->op == OP_HAS || n->op == OP_HAS_NOT ? contains(v->s, n->value.s) : glob(n->value.s, v->s);
	case PRED_ADDR:
		if (n->op == OP_SET)
			return !ip_is_any(&v->addr);
		return ip_in_prefix(&v->addr, &(struct ip_prefix){n->value.addr, n->prefix_len});
	case PRED_FLAG:
		return n->op == OP_SET ? v->n != 0 : (v->n != 0) == (n->value.n != 0);
	case PRED_AGE:
		return number_test(n->op, p->wall_us > v->n ? p->wall_us - v->n : 0, n->value.n);
	case PRED_UNTIL:
		return number_test(n->op, v->n > p->wall_us ? v->n - p->wall_us : 0, n->value.n);
	case PRED_NUMBER:
	case PRED_HEX:
	case PRED_TIME:
		return number_test(n->op, v->n, n->value.n);
	}
	return false;
}

static bool node_match(const struct pred *p, uint8_t at, const void *row)
{
	const struct pred_node *n = &p->node[at];
	switch ((enum node_kind)n->kind) {
	case NODE_NOT:
		return !node_match(p, n->left, row);
	case NODE_AND:
		return node_match(p, n->left, row) && node_match(p, n->right, row);
	case NODE_OR:
		return node_match(p, n->left, row) || node_match(p, n->right, row);
	case NODE_TEST:
		break;
	}
	bool any = false;
	union pred_value v;
	for (unsigned i = 0; !any && n->field->get(row, i, &v); i++)
		any = value_test(p, n, &v);
	return any != (n->op == OP_NE || n->op == OP_HAS_NOT);
}

bool pred_match(const struct pred *p, const void *row)
{
	return p->n == 0 || node_match(p, p->root, row);
}
