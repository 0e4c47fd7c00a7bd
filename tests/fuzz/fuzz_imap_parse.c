/*
 * The parsers behind IMAP commands, each on the same bytes: tokens, flags, sets, FETCH items, SEARCH keys, LIST
 * patterns. The first byte chooses nothing: all run. A parser that fails must not have moved.
 */
#include "check.h"
#include "imap_fetch_parse.h"
#include "imap_int.h"
#include "imap_search_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tokens(struct span text, struct arena *a)
{
	static bool (*const parse[])(struct imap_parser *, struct span *) = {
		imap_parse_tag,     imap_parse_atom,    imap_parse_string, imap_parse_astring,
		imap_parse_nstring, imap_parse_pattern, imap_parse_set_text,
	};

	for (unsigned i = 0; i < ARRAY_LEN(parse); i++) {
		struct imap_parser p = imap_parser_of(text, a);
		struct span out = {0};

		while (!imap_parse_end(&p)) {
			size_t before = p.off;

			if (!parse[i](&p, &out)) {
				CHECK(p.off == before);
				p.off++;
			} else {
				CHECK(p.off > before && p.off <= text.len && (out.p || !out.len));
			}
		}
	}
}

static void sets(struct span text, struct arena *a)
{
	static const struct store_ent ent[3] = {{.uid = 2}, {.uid = 5}, {.uid = UINT32_MAX}};
	struct imap_set s;

	if (imap_set_parse(text, a, &s) != ERR_OK)
		return;
	imap_set_resolve_uid(&s, ent, 3);
	CHECK(s.n <= 2);
	for (uint32_t i = 0; i < s.n; i++)
		CHECK(s.v[i].lo <= s.v[i].hi && s.v[i].hi < 3);
	if (imap_set_parse(text, a, &s) == ERR_OK && imap_set_resolve_seq(&s, 7, true) == ERR_OK) {
		for (uint32_t i = 0; i < s.n; i++)
			CHECK(s.v[i].lo <= s.v[i].hi && s.v[i].hi < 7 && (!i || s.v[i].lo > s.v[i - 1].hi + 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct imap_parser p;
	struct imap_flags flags;
	struct imap_fetch_list list;
	static struct imap_search search;
	struct arena a;
	uint64_t n;

	if (size > IMAP_LINE_MAX)
		return 0;
	arena_init(&a, IMAP_ARENA_MAX);
	tokens(text, &a);
	sets(text, &a);
	p = imap_parser_of(text, &a);
	imap_parse_flags(&p, false, &flags);
	p = imap_parser_of(text, &a);
	imap_fetch_parse(&p, true, &list);
	p = imap_parser_of(text, &a);
	imap_search_parse(&p, &search);
	imap_name_decode(&a, text);
	imap_literal_announced(text, &n);
	ptrdiff_t sp = span_find(text, ' ');
	if (sp >= 0)
		imap_list_match(span_head(text, (size_t)sp), span_from(text, (size_t)sp + 1));
	arena_reset(&a);
	return 0;
}
