/*
 * conf_schema.h: every configuration key is one row here: the parser, `veredusctl config explain` and the
 * reference page all come from it.
 */
#ifndef VEREDUS_CONF_SCHEMA_H
#define VEREDUS_CONF_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schema_type {
	SCHEMA_TEXT,    /* any text */
	SCHEMA_NUMBER,  /* 0..; range applies */
	SCHEMA_BYTES,   /* number with K, M, G, T (powers of 1024) */
	SCHEMA_TIME,    /* number with s, m, h, d; kept in seconds */
	SCHEMA_BOOL,    /* true, false, yes, no, on, off */
	SCHEMA_CHOICE,  /* one word of `choices` */
	SCHEMA_NUMBERS, /* list */
	SCHEMA_PREFIX,  /* list of addresses or networks */
	SCHEMA_ADDRESS, /* list of addresses */
	SCHEMA_HOSTPORT /* "198.18.0.1:25", "[fd00::1]:25" */
};

struct schema_row {
	const char *section; /* "" = top of the file */
	const char *key;
	enum schema_type type;
	bool list;
	const char *dflt;    /* as it would be written; NULL: must be given; "": may be left out */
	uint64_t min, max;   /* of numbers, bytes and seconds */
	const char *choices; /* "a|b" */
	const char *help;
};

struct schema_section {
	const char *name;
	bool titled; /* name { } with a title: port wan { } */
	bool many;
	const char *help;
};

extern const struct schema_row schema_rows[];
extern const size_t schema_n;
extern const struct schema_section schema_sections[];
extern const size_t schema_section_n;

/* The row, or NULL. name: "key" or "section.key". */
const struct schema_row *schema_find(const char *name);
/* Checks and converts one value; false: *why says what was expected (static or in buf). */
bool schema_value(const struct schema_row *row, const char *text, uint64_t *number, char *why, size_t why_size);
const char *schema_type_name(enum schema_type t);

#endif
