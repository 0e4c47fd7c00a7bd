/*
 * pred.h: the one language in which operators choose rows: connections, queued mail, whatever has a table of
 * fields. Text once parsed is a constant tree that any thread may ask about any row.
 *
 *   expression = term *( "or" term )          term = factor *( "and" factor )
 *   factor = "not" factor / "(" expression ")" / field [ op value ]
 *   op = "=" / "!=" / "<" / "<=" / ">" / ">=" / "~" / "!~"        value = word / "quoted \" \\"
 *
 * A field alone: a flag is set, a number is not 0, a text is not empty. Text: "=" in any case, "*" stands for any
 * run of bytes; "~" is "contains". Numbers take K, M, G, T (of 1024), times us, ms, s, m, h, d. An address is
 * compared with an address or a prefix. A field with several values (recipients) matches when one of them does, and
 * "!=", "!~" are the opposite of "=" and "~".
 */
#ifndef VEREDUS_PRED_H
#define VEREDUS_PRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"
#include "ip.h"
#include "span.h"

enum pred_type {
	PRED_TEXT,
	PRED_NUMBER,
	PRED_HEX,   /* an id: written in hexadecimal */
	PRED_TIME,  /* microseconds; written with a unit */
	PRED_AGE,   /* a point of the wall clock, us, in the past; compared as "how long ago" */
	PRED_UNTIL, /* the same in the future; compared as "how long still"; 0 when it is past */
	PRED_ADDR,
	PRED_FLAG
};

union pred_value {
	uint64_t n;
	struct span s;
	struct ip_addr addr;
};

struct pred_field {
	const char *name;
	enum pred_type type;
	/* Value i of the row; false: there is none. Values 0, 1, ... until false are looked at. */
	bool (*get)(const void *row, unsigned i, union pred_value *out);
	const char *help;
};

#define PRED_TEXT_MAX  2048 /* bytes of an expression */
#define PRED_NODES_MAX 64
#define PRED_DEPTH_MAX 16   /* parentheses and "not" */

struct pred_node {
	uint8_t kind, op;
	uint8_t left, right;            /* of "and", "or"; left of "not" */
	const struct pred_field *field;
	union pred_value value;
	uint8_t prefix_len;             /* with value.addr */
};

struct pred {
	uint64_t wall_us; /* "now" of PRED_AGE and PRED_UNTIL */
	unsigned n;       /* nodes; 0: every row matches */
	uint8_t root;
	struct pred_node node[PRED_NODES_MAX];
	char text[PRED_TEXT_MAX]; /* values point here */
	size_t text_len;
};

/* Empty (or blank) text matches every row. ERR_SYNTAX, TOO_LONG, TOO_MANY: *why says what and where. p must stay
 * where it is; fields must outlive it. */
enum err pred_parse(struct pred *p, struct span text, const struct pred_field *fields, size_t n_field, uint64_t wall_us,
		    char *why, size_t why_size);
/* Reads p and the row only. */
bool pred_match(const struct pred *p, const void *row);

#endif
