/*
 * fuzz_pred.c: any bytes as an operator's expression. What parses is asked about two rows; an expression and its
 * "not" never agree.
 */
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "pred.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct row {
	uint64_t n;
	const char *text[2];
};

static bool get_n(const void *row, unsigned i, union pred_value *v)
{
	v->n = ((const struct row *)row)->n;
	return i == 0;
}

static bool get_text(const void *row, unsigned i, union pred_value *v)
{
	const struct row *r = row;
	if (i > 1 || r->text[i] == NULL)
		return false;
	v->s = span_str(r->text[i]);
	return true;
}

static bool get_addr(const void *row, unsigned i, union pred_value *v)
{
	memset(&v->addr, (int)((const struct row *)row)->n, sizeof(v->addr));
	return i == 0;
}

static const struct pred_field fields[] = {
	{"text", PRED_TEXT, get_text, ""}, {"n", PRED_NUMBER, get_n, ""},   {"id", PRED_HEX, get_n, ""},  {"rtt", PRED_TIME, get_n, ""},
	{"age", PRED_AGE, get_n, ""},      {"due", PRED_UNTIL, get_n, ""},  {"flag", PRED_FLAG, get_n, ""}, {"peer", PRED_ADDR, get_addr, ""},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct row rows[] = {{0, {NULL, NULL}}, {42, {"alice@example.net", "b"}}};
	static struct pred p, q;
	char why[160];
	if (size > PRED_TEXT_MAX - 8)
		return 0;
	uint8_t *copy = malloc(size + 1); /* exact but for one: the sanitizer sees the first byte beyond */
	CHECK(copy != NULL);
	memcpy(copy, data, size);
	if (pred_parse(&p, span_of(copy, size), fields, ARRAY_LEN(fields), 1000, why, sizeof(why)) == ERR_OK && p.n > 0) {
		char text[PRED_TEXT_MAX];
		memcpy(text, "not (", 5);
		memcpy(text + 5, data, size);
		text[5 + size] = ')';
		enum err e = pred_parse(&q, span_of(text, size + 6), fields, ARRAY_LEN(fields), 1000, why, sizeof(why));
		CHECK(e == ERR_OK || e == ERR_TOO_MANY);
		for (size_t i = 0; i < ARRAY_LEN(rows); i++)
			CHECK(e != ERR_OK || pred_match(&p, &rows[i]) != pred_match(&q, &rows[i]));
	}
	free(copy);
	return 0;
}
