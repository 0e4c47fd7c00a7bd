/*
 * Tests of mail_mime and mail_params: the tree as text, "type/subtype[header:body]lines(children)",
 * for well-formed, odd and hostile messages, whole and cut at every byte; limits; and time, by
 * sizes a quadratic walk would not end with.
 */
#include <stdio.h>
#include <criterion/criterion.h>
#include "buf.h"
#include "mail_mime.h"

#define CRLF "\r\n"

static void show_part(struct buf *b, const struct mail_mime *m, uint32_t i)
{
	const struct mail_part *p = &m->part[i];

	buf_printf(b, SPAN_FMT "/" SPAN_FMT "[%zu+%zu:%zu+%zu]%u", SPAN_ARG(p->type),
		   SPAN_ARG(p->subtype), p->header_off, p->header_len, p->body_off, p->body_len,
		   p->lines);
	if (p->first_child == MAIL_PART_NONE)
		return;
	buf_add_u8(b, '(');
	for (uint32_t k = p->first_child; k != MAIL_PART_NONE; k = m->part[k].next) {
		if (k != p->first_child)
			buf_add_u8(b, ' ');
		show_part(b, m, k);
	}
	buf_add_u8(b, ')');
}

static void check(const struct mail_mime *m)
{
	cr_assert(m->n >= 1 && m->n <= MAIL_PART_MAX);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct mail_part *p = &m->part[i];

		cr_assert(p->header_off + p->header_len == p->body_off);
		cr_assert(p->body_off + p->body_len <= m->msg.len && p->depth <= MAIL_DEPTH_MAX);
		if (i == 0)
			continue;
		const struct mail_part *up = &m->part[p->parent];
		cr_assert(p->parent < i && p->depth == up->depth + 1 && up->kind != MAIL_PART_LEAF);
		cr_assert(p->header_off >= up->body_off);
		cr_assert(p->body_off + p->body_len <= up->body_off + up->body_len);
		if (p->next != MAIL_PART_NONE)
			cr_assert(m->part[p->next].header_off >= p->body_off + p->body_len);
	}
}

/* In memory of exact size; the caller frees with arena_reset and free. */
static struct mail_mime parse(struct arena *a, const char *text, size_t len, uint8_t **p)
{
	struct mail_mime m;

	*p = malloc(len);
	memcpy(*p, text, len);
	arena_init(a, 64 << 20);
	cr_assert(mail_mime_parse(a, span_of(*p, len), &m) == ERR_OK);
	check(&m);
	return m;
}

#define MULTI "Content-Type: multipart/mixed; boundary=b" CRLF CRLF /* 43 + 2 bytes */

static const struct {
	const char *in, *want;
} trees[] = {
	{"", "TEXT/PLAIN[0+0:0+0]0"},
	{"A: b" CRLF CRLF "x" CRLF "y", "TEXT/PLAIN[0+8:8+4]1"},
	{"just text", "TEXT/PLAIN[0+0:0+9]0"},
	{"Content-Type: text/html" CRLF CRLF "x" CRLF, "text/html[0+27:27+3]1"},
	{"Content-Type: text" CRLF CRLF "x", "TEXT/PLAIN[0+22:22+1]0"},
	{"Content-Type: /plain" CRLF CRLF "x", "TEXT/PLAIN[0+24:24+1]0"},
	{"Content-Type: text / (c) html (d)" CRLF CRLF, "text/html[0+37:37+0]0"},
	{MULTI "pre" CRLF "--b" CRLF CRLF "one" CRLF "--b" CRLF "Content-Type: a/b" CRLF CRLF
	       "two" CRLF "--b--" CRLF "post" CRLF,
	 "multipart/mixed[0+45:45+61]10(TEXT/PLAIN[55+2:57+3]0 a/b[67+21:88+3]0)"},
	/* no closing delimiter */
	{MULTI "--b" CRLF CRLF "one" CRLF, "multipart/mixed[0+45:45+12]3(TEXT/PLAIN[50+2:52+5]1)"},
	/* nothing in it */
	{MULTI, "multipart/mixed[0+45:45+0]0"},
	{MULTI "--b--" CRLF, "multipart/mixed[0+45:45+7]1"},
	{MULTI "--b", "multipart/mixed[0+45:45+3]0(TEXT/PLAIN[48+0:48+0]0)"},
	/* empty parts, delimiters back to back, and one that follows the header at once */
	{MULTI "--b" CRLF "--b" CRLF CRLF "--b--",
	 "multipart/mixed[0+45:45+17]3(TEXT/PLAIN[50+0:50+0]0 TEXT/PLAIN[55+2:57+0]0)"},
	{MULTI "--b" CRLF "X: y" CRLF "--b--" CRLF,
	 "multipart/mixed[0+45:45+18]3(TEXT/PLAIN[50+6:56+0]0)"},
	/* white space behind a delimiter; what is none */
	{MULTI "--b \t" CRLF CRLF "x" CRLF "--bx" CRLF "--b y" CRLF " --b" CRLF "-b" CRLF
	       "--b-- " CRLF,
	 "multipart/mixed[0+45:45+43]8(TEXT/PLAIN[52+2:54+24]4)"},
	/* bare LF */
	{"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n",
	 "multipart/mixed[0+43:43+15]4(TEXT/PLAIN[47+1:48+3]0)"},
	/* text behind the closing delimiter is no part */
	{MULTI "--b--" CRLF "--b" CRLF CRLF "x" CRLF, "multipart/mixed[0+45:45+17]4"},
	/* quoted boundary with specials and spaces; folded */
	{"Content-Type: multipart/mixed;" CRLF "\tboundary=\"=_a: b\"" CRLF CRLF
	 "--=_a: b" CRLF CRLF "x" CRLF "--=_a: b--",
	 "multipart/mixed[0+54:54+25]3(TEXT/PLAIN[64+2:66+1]0)"},
	/* a boundary that reads like a field, straight behind a field */
	{"Content-Type: multipart/mixed; boundary=\"x:y\"" CRLF CRLF "--x:y" CRLF "A: b" CRLF
	 "--x:y--" CRLF,
	 "multipart/mixed[0+49:49+22]3(TEXT/PLAIN[56+6:62+0]0)"},
	/* no boundary, an empty one: undivided */
	{"Content-Type: multipart/mixed" CRLF CRLF "--b" CRLF CRLF "x",
	 "multipart/mixed[0+33:33+8]2"},
	{"Content-Type: multipart/mixed; boundary=\"\"" CRLF CRLF "--" CRLF CRLF "x",
	 "multipart/mixed[0+46:46+7]2"},
	/* nested, the inner boundary a longer form of the outer; the inner one never closed */
	{MULTI "--b" CRLF "Content-Type: multipart/x; boundary=bb" CRLF CRLF "--bb" CRLF CRLF
	       "in" CRLF "--b" CRLF CRLF "out" CRLF "--b--",
	 "multipart/mixed[0+45:45+76]9(multipart/x[50+42:92+10]2(TEXT/PLAIN[98+2:100+2]0) "
	 "TEXT/PLAIN[109+2:111+3]0)"},
	/* nested, the outer boundary is the inner with "--" behind it */
	{"Content-Type: multipart/mixed; boundary=b--" CRLF CRLF "--b--" CRLF
	 "Content-Type: multipart/x; boundary=b" CRLF CRLF "--b" CRLF CRLF "in" CRLF
	 "--b--" CRLF CRLF "out",
	 "multipart/mixed[0+47:47+71]8(multipart/x[54+41:95+23]5(TEXT/PLAIN[100+2:102+2]0))"},
	/* the inner one closed, its epilogue */
	{MULTI "--b" CRLF "Content-Type: multipart/x; boundary=i" CRLF CRLF "--i" CRLF CRLF
	       "in" CRLF "--i--" CRLF "--i" CRLF "epi" CRLF "--b--",
	 "multipart/mixed[0+45:45+79]9(multipart/x[50+41:91+26]5(TEXT/PLAIN[96+2:98+2]0))"},
	/* messages in messages; digest */
	{"Content-Type: message/rfc822" CRLF CRLF "Subject: in" CRLF CRLF "x" CRLF,
	 "message/rfc822[0+32:32+18]3(TEXT/PLAIN[32+15:47+3]1)"},
	{"Content-Type: message/rfc822" CRLF "Content-Transfer-Encoding: base64" CRLF CRLF
	 "Subject: in" CRLF,
	 "message/rfc822[0+67:67+13]1"},
	{"Content-Type: multipart/digest; boundary=b" CRLF CRLF "--b" CRLF CRLF "A: b" CRLF CRLF
	 "x" CRLF "--b" CRLF "Content-Type: text/plain" CRLF CRLF "y" CRLF "--b--",
	 "multipart/digest[0+46:46+59]9(MESSAGE/RFC822[51+2:53+9]2(TEXT/PLAIN[53+8:61+1]0) "
	 "text/plain[69+28:97+1]0)"},
	/* a message whose header is cut by the delimiter */
	{MULTI "--b" CRLF "Content-Type: message/rfc822" CRLF CRLF "Subject: x" CRLF "--b" CRLF CRLF
	       "y",
	 "multipart/mixed[0+45:45+57]6(message/rfc822[50+32:82+12]1(TEXT/PLAIN[82+12:94+0]0) "
	 "TEXT/PLAIN[99+2:101+1]0)"},
};

Test(mail_mime, trees)
{
	for (size_t i = 0; i < sizeof(trees) / sizeof(*trees); i++) {
		struct arena a;
		struct buf b;
		uint8_t *p;
		struct mail_mime m = parse(&a, trees[i].in, strlen(trees[i].in), &p);

		buf_init(&b);
		show_part(&b, &m, 0);
		cr_expect(span_eq(buf_span(&b), span_str(trees[i].want)),
			  "%zu: " SPAN_FMT "\nnot %s", i, SPAN_ARG(buf_span(&b)), trees[i].want);
		cr_expect(!m.limited);
		buf_fini(&b);
		arena_reset(&a);
		free(p);
	}
}

Test(mail_mime, cut_and_nul)
{
	for (size_t i = 0; i < sizeof(trees) / sizeof(*trees); i++) {
		for (size_t len = 0; len < strlen(trees[i].in); len++) {
			struct arena a;
			struct mail_mime m;
			uint8_t *p;

			parse(&a, trees[i].in, len, &p);
			if (len) {
				p[len / 2] = 0;
				cr_assert(mail_mime_parse(&a, span_of(p, len), &m) == ERR_OK);
				check(&m);
			}
			arena_reset(&a);
			free(p);
		}
	}
}

static void show_params(struct buf *b, const struct mail_params *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		buf_printf(b, "{" SPAN_FMT "=" SPAN_FMT "}", SPAN_ARG(p->v[i].name),
			   SPAN_ARG(p->v[i].value));
}

Test(mail_mime, parameters)
{
	static const char *const rows[][2] = {
		{"text/plain; charset=us-ascii (Plain text)", "text/plain{charset=us-ascii}"},
		{"text/plain; charset=\"us-ascii\"", "text/plain{charset=us-ascii}"},
		{" text/plain;charset = utf-8 ; x=y;", "text/plain{charset=utf-8}{x=y}"},
		{"a/b; n=\"a\\\"b\\\\c;d\"; m=1", "a/b{n=a\"b\\c;d}{m=1}"},
		{"a/b; n=\"open", "a/b{n=open}"},
		{"a/b; n=\"\"; m=", "a/b{n=}{m=}"},
		{"a/b; n*0*=us-ascii'en'x%20; n*1=y", "a/b{n*0*=us-ascii'en'x%20}{n*1=y}"},
		{"a/b; boundary=a/b=c:d", "a/b{boundary=a/b=c:d}"},
		{"a/b junk; n=1", "a/b{n=1}"},
		{"a/b; =1; n; (c) m (c) = (c) 2", "a/b{m=2}"},
		{"a/b; n=\"x\r\n y\"", "a/b{n=x y}"},
		{"attachment; filename=f.txt", "attachment{filename=f.txt}"},
		{"inline", "inline"},
		{"", "-"},
		{"; x=y", "-"},
		{"\"a\"", "-"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (size_t cut = 0; cut <= strlen(rows[i][0]); cut++) {
			size_t len = strlen(rows[i][0]) - cut;
			struct mail_params params;
			struct span head;
			struct arena a;
			struct buf b;
			char *p = malloc(len);

			memcpy(p, rows[i][0], len);
			arena_init(&a, 65536);
			buf_init(&b);
			if (mail_params_parse(&a, span_of(p, len), &head, &params)) {
				buf_add_span(&b, head);
				show_params(&b, &params);
			} else {
				buf_add_str(&b, "-");
			}
			if (cut == 0)
				cr_expect(span_eq(buf_span(&b), span_str(rows[i][1])),
					  "%s: " SPAN_FMT, rows[i][0], SPAN_ARG(buf_span(&b)));
			buf_fini(&b);
			arena_reset(&a);
			free(p);
		}
	}
}

Test(mail_mime, fields)
{
	static const char text[] =
		"Content-Type: image/png; name=x" CRLF "content-id: <a@b>" CRLF
		"Content-Description: a" CRLF " picture" CRLF
		"Content-Transfer-Encoding: (c) BASE64 " CRLF "Content-MD5: Q2hlY2s=" CRLF
		"Content-Disposition: attachment;" CRLF "\tfilename=\"a b\"" CRLF
		"Content-Language: de, en" CRLF "Content-Location: http://x/y" CRLF
		"Content-Type: text/html" CRLF CRLF;
	struct arena a;
	uint8_t *p;
	struct mail_mime m = parse(&a, text, sizeof(text) - 1, &p);
	struct mail_part *r = &m.part[0];

	cr_expect(span_eq(r->type, SPAN("image")) && span_eq(r->subtype, SPAN("png")) &&
		  r->has_type);
	cr_expect(span_eq(mail_params_get(&r->params, SPAN("NAME")), SPAN("x")));
	cr_expect(mail_params_get(&r->params, SPAN("boundary")).p == NULL);
	cr_expect(span_eq(r->id, SPAN("<a@b>")) && span_eq(r->description, SPAN("a picture")));
	cr_expect(span_eq(r->encoding, SPAN("BASE64")) && span_eq(r->md5, SPAN("Q2hlY2s=")));
	cr_expect(span_eq(r->disposition, SPAN("attachment")));
	cr_expect(span_eq(mail_params_get(&r->disposition_params, SPAN("filename")), SPAN("a b")));
	cr_expect(span_eq(r->language, SPAN("de, en")) && span_eq(r->location, SPAN("http://x/y")));
	arena_reset(&a);
	free(p);
}

/* ---- limits ---- */

static void repeat(struct buf *b, const char *text, size_t n)
{
	while (n-- > 0)
		buf_add_str(b, text);
}

Test(mail_mime, depth_of_multiparts)
{
	struct arena a;
	struct buf b;
	uint8_t *p;

	buf_init(&b);
	for (int i = 0; i < 100000; i++)
		buf_printf(&b, "Content-Type: multipart/x; boundary=b%d" CRLF CRLF "--b%d" CRLF, i,
			   i);
	struct mail_mime m = parse(&a, (char *)b.p, b.len, &p);
	cr_expect(m.n == MAIL_DEPTH_MAX + 1 && m.limited);
	cr_expect(m.part[MAIL_DEPTH_MAX].kind == MAIL_PART_LEAF &&
		  m.part[MAIL_DEPTH_MAX].depth == MAIL_DEPTH_MAX);
	arena_reset(&a);
	buf_fini(&b);
	free(p);
}

Test(mail_mime, depth_of_messages)
{
	struct arena a;
	struct buf b;
	uint8_t *p;

	buf_init(&b);
	repeat(&b, "Content-Type: message/rfc822" CRLF CRLF, 10000);
	struct mail_mime m = parse(&a, (char *)b.p, b.len, &p);
	cr_expect(m.n == MAIL_DEPTH_MAX + 1 && m.limited);
	arena_reset(&a);
	buf_fini(&b);
	free(p);
}

Test(mail_mime, many_parts)
{
	struct arena a;
	struct buf b;
	uint8_t *p;

	buf_init(&b);
	buf_add_str(&b, MULTI);
	repeat(&b, "--b" CRLF CRLF "x" CRLF, MAIL_PART_MAX - 1);
	struct mail_mime m = parse(&a, (char *)b.p, b.len, &p);
	cr_expect(m.n == MAIL_PART_MAX);
	cr_expect(m.part[m.n - 1].body_len == 3);
	arena_reset(&a);
	free(p);
	repeat(&b, "--b" CRLF CRLF "x" CRLF, 100000);
	m = parse(&a, (char *)b.p, b.len, &p);
	cr_expect(m.n == MAIL_PART_MAX && m.limited);
	cr_expect(m.part[m.n - 1].body_len == 3 + 10 * 100000, "the last part holds the rest");
	cr_expect(m.part[m.n - 1].lines == 1 + 3 * 100000);
	cr_expect(m.part[0].lines == 3 * (MAIL_PART_MAX - 1 + 100000));
	arena_reset(&a);
	/* An arena that is too small: what fits, and the rest undivided. */
	arena_init(&a, 4096);
	cr_expect(mail_mime_parse(&a, buf_span(&b), &m) == ERR_OK && m.limited && m.n > 1 &&
		  m.n < 20);
	check(&m);
	arena_reset(&a);
	arena_init(&a, 64);
	cr_expect(mail_mime_parse(&a, buf_span(&b), &m) == ERR_NO_MEMORY);
	arena_reset(&a);
	buf_fini(&b);
	free(p);
}

/* 100 open boundaries, all alike but for the end, and text made of lines that are nearly all of
 * them. */
Test(mail_mime, near_delimiters, .timeout = 60)
{
	char boundary[160];
	struct arena a;
	struct buf b;
	uint8_t *p;

	memset(boundary, 'x', sizeof(boundary));
	buf_init(&b);
	for (int i = 0; i < 100; i++)
		buf_printf(&b,
			   "Content-Type: multipart/x; boundary=%.150s%d" CRLF CRLF
			   "--%.150s%d" CRLF,
			   boundary, i, boundary, i);
	for (int i = 0; i < 40000; i++)
		buf_printf(&b, "--%.150s!" CRLF, boundary);
	struct mail_mime m = parse(&a, (char *)b.p, b.len, &p);
	cr_expect(m.n == 101);
	arena_reset(&a);
	buf_fini(&b);
	free(p);
}

/* A megabyte of each: parameters, semicolons, quotes, comments, fields, folding. */
Test(mail_mime, long_headers, .timeout = 60)
{
	static const char *const piece[] = {"; a=b",	  ";",	   "\"", "(",	"\\", "=",
					    "; n*0*=''x", "\r\n ", " ",	 ";\"", "a",  "()"};

	for (size_t i = 0; i < sizeof(piece) / sizeof(*piece); i++) {
		struct arena a;
		struct buf b;
		uint8_t *p;

		buf_init(&b);
		buf_add_str(&b, "Content-Type: a/b; x=y");
		repeat(&b, piece[i], (1 << 20) / strlen(piece[i]));
		struct mail_mime m = parse(&a, (char *)b.p, b.len, &p);
		cr_expect(m.part[0].params.n <= MAIL_PARAM_MAX);
		arena_reset(&a);
		buf_fini(&b);
		free(p);
	}
}
