/*
 * script_seg.c: segments of packet scripts: from text, to bytes, from bytes, to text, and compared. Pure.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "script.h"

static const char flag_letters[] = "FSRPAUEW"; /* bit 0 first */

uint8_t script_byte(unsigned peer, uint64_t off)
{
	return (uint8_t)(off * 7 + (off >> 8) * 13 + peer * 101);
}

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v & 0xffff);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* ---- text in ---- */

static bool number(const char *w, int64_t *out)
{
	char *end;

	*out = strtoll(w, &end, 10);
	return end != w && *end == 0;
}

bool script_match_parse(const char *w, struct script_match *m)
{
	char low[32];
	const char *dots;

	*m = (struct script_match){.set = true, .lo = INT64_MIN, .hi = INT64_MAX};
	if (*w == '#') {
		m->abs = true;
		w++;
	}
	if (strcmp(w, "*") == 0)
		return true;
	if (strncmp(w, ">=", 2) == 0)
		return number(w + 2, &m->lo);
	if (strncmp(w, "<=", 2) == 0)
		return number(w + 2, &m->hi);
	dots = strstr(w, "..");
	if (dots && (size_t)(dots - w) < sizeof(low)) {
		memcpy(low, w, (size_t)(dots - w));
		low[dots - w] = 0;
		return number(low, &m->lo) && number(dots + 2, &m->hi);
	}
	if (!number(w, &m->lo))
		return false;
	m->hi = m->lo;
	return true;
}

static bool seq_parse(char *w, struct script_seg *g)
{
	char *plus = strchr(w, '+');
	int64_t len = 0;

	if (plus) {
		*plus = 0;
		if (!number(plus + 1, &len) || len < 0 || len > 60000)
			return false;
	}
	g->len = (uint32_t)len;
	return script_match_parse(w, &g->seq);
}

static bool sack_parse(const char *w, struct script_seg *g)
{
	unsigned a, b;
	char end;

	if (strcmp(w, "none") == 0) {
		g->n_sack = 0;
		return true;
	}
	if (g->n_sack == SCRIPT_SACKS || sscanf(w, "%u-%u%c", &a, &b, &end) != 2)
		return false;
	if (g->n_sack < 0)
		g->n_sack = 0;
	g->sack[g->n_sack++] = (struct script_range){a, b};
	return true;
}

static bool hex_parse(const char *w, struct script_seg *g)
{
	for (; *w; w += 2) {
		unsigned v;
		if (g->n_raw_opt == sizeof(g->raw_opt) || sscanf(w, "%2x", &v) != 1 || !w[1])
			return false;
		g->raw_opt[g->n_raw_opt++] = (uint8_t)v;
	}
	return true;
}

/* Takes a key and perhaps values; returns how many words, 0: wrong. */
static unsigned key_parse(char **w, unsigned n, struct script_seg *g)
{
	const struct {
		const char *name;
		struct script_match *m;
	} numbers[] = {{"ack", &g->ack}, {"win", &g->win}, {"mss", &g->mss}, {"ws", &g->ws},
		       {"urg", &g->urg}, {"ecn", &g->ecn}};
	const struct {
		const char *name;
		bool *b;
	} words[] = {{"sackok", &g->sackok},   {"nosackok", &g->no_sackok}, {"nots", &g->no_ts},
		     {"badsum", &g->bad_sum}, {"noopts", &g->no_opts}};
	int64_t v;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(w[0], words[i].name) == 0) {
			*words[i].b = true;
			return 1;
		}
	if (n < 2)
		return 0;
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (strcmp(w[0], numbers[i].name) == 0)
			return script_match_parse(w[1], numbers[i].m) ? 2 : 0;
	if (strcmp(w[0], "sack") == 0)
		return sack_parse(w[1], g) ? 2 : 0;
	if (strcmp(w[0], "opt") == 0)
		return hex_parse(w[1], g) ? 2 : 0;
	if (strcmp(w[0], "kinds") == 0 && strlen(w[1]) < sizeof(g->opts)) {
		strcpy(g->opts, w[1]);
		return 2;
	}
	if (strcmp(w[0], "ts") == 0 && n >= 3) {
		g->echo_last = strcmp(w[2], "last") == 0;
		return script_match_parse(w[1], &g->tsval) &&
				       (g->echo_last || script_match_parse(w[2], &g->tsecr))
			       ? 3
			       : 0;
	}
	if (!number(w[1], &v) || v < 0 || v > 100000)
		return 0;
	if (strcmp(w[0], "x") == 0 && v > 0)
		g->repeat = (uint32_t)v;
	else if (strcmp(w[0], "doff") == 0 && v < 16)
		g->doff = (int)v;
	else if (strcmp(w[0], "cut") == 0)
		g->cut = (int)v;
	else
		return 0;
	return 2;
}

bool script_seg_parse(char **w, unsigned n, struct script_seg *g, char *err, size_t size)
{
	*g = (struct script_seg){.repeat = 1, .n_sack = -1, .doff = -1, .cut = -1};
	if (n < 2) {
		snprintf(err, size, "flags and a sequence number are wanted");
		return false;
	}
	for (const char *c = w[0]; *c; c++) {
		const char *at = strchr(flag_letters, *c);
		if (*c == '-' && !c[1])
			break;
		if (!at) {
			snprintf(err, size, "flag '%c' is none of %s", *c, flag_letters);
			return false;
		}
		g->flags |= (uint8_t)(1u << (at - flag_letters));
	}
	g->psh_told = (g->flags & 8) != 0;
	if (!seq_parse(w[1], g)) {
		snprintf(err, size, "sequence number \"%s\"", w[1]);
		return false;
	}
	for (unsigned i = 2; i < n;) {
		unsigned used = key_parse(w + i, n - i, g);
		if (!used) {
			snprintf(err, size, "\"%s %s\"", w[i], i + 1 < n ? w[i + 1] : "");
			return false;
		}
		i += used;
	}
	return true;
}

/* ---- bytes out ---- */

static uint32_t absolute(const struct script_match *m, uint32_t origin)
{
	return (uint32_t)m->lo + (m->abs ? 0 : origin);
}

static size_t put_options(const struct script *s, const struct script_flow *f, const struct script_seg *g,
			  uint8_t *start)
{
	uint8_t *p = start;

	if (g->no_opts)
		return 0;
	if (g->mss.set) {
		*p++ = 2;
		*p++ = 4;
		p = put16(p, (uint32_t)g->mss.lo);
	}
	if (g->sackok) {
		p = put16(p, 0x0101);
		p = put16(p, 0x0402);
	}
	if ((f->use_ts || g->tsval.set) && !g->no_ts) {
		uint32_t val = (uint32_t)(1000 + vtcp_now(s->stack) / 1000), ecr = f->ts_last;
		if (g->tsval.set && g->tsval.lo != INT64_MIN)
			val = (uint32_t)g->tsval.lo;
		if (g->tsecr.set)
			ecr = absolute(&g->tsecr, f->ts_first);
		p = put32(p, 0x0101080a);
		p = put32(put32(p, val), ecr);
	}
	if (g->ws.set) {
		p = put16(p, 0x0103);
		*p++ = 3;
		*p++ = (uint8_t)g->ws.lo;
	}
	if (g->n_sack > 0) {
		p = put16(p, 0x0101);
		*p++ = 5;
		*p++ = (uint8_t)(2 + 8 * g->n_sack);
		for (int i = 0; i < g->n_sack; i++)
			p = put32(put32(p, f->iss + g->sack[i].start), f->iss + g->sack[i].end);
	}
	memcpy(p, g->raw_opt, g->n_raw_opt);
	p += g->n_raw_opt;
	while ((p - start) % 4)
		*p++ = 0;
	return (size_t)(p - start);
}

static uint8_t *put_ip(const struct script *s, uint8_t *ip, uint8_t proto, size_t len, uint8_t ecn)
{
	static const uint8_t peer6[16] = {0xfd, [15] = 2}, own6[16] = {0xfd, [15] = 1};

	if (s->ip6) {
		memset(ip, 0, 40);
		ip[0] = 0x60;
		ip[1] = (uint8_t)(ecn << 4);
		put16(ip + 4, (uint32_t)len);
		ip[6] = proto;
		ip[7] = 64;
		memcpy(ip + 8, peer6, 16);
		memcpy(ip + 24, own6, 16);
		return ip + 40;
	}
	memset(ip, 0, 20);
	ip[0] = 0x45;
	ip[1] = ecn;
	put16(ip + 2, (uint32_t)len + 20);
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = proto;
	put32(ip + 12, 0xc6120002);
	put32(ip + 16, 0xc6120001);
	return ip + 20;
}

size_t script_seg_build(const struct script *s, const struct script_flow *f, const struct script_seg *g,
			uint8_t *ip)
{
	uint8_t opt[120];
	size_t n_opt = put_options(s, f, g, opt), len = 20 + n_opt + g->len;
	uint8_t *t = put_ip(s, ip, 6, len, g->ecn.set ? (uint8_t)g->ecn.lo : 0);
	uint32_t seq = absolute(&g->seq, f->irs);

	memset(t, 0, 20);
	put16(t, f->peer_port);
	put16(t + 2, f->our_port);
	put32(t + 4, seq);
	put32(t + 8, g->ack.set ? absolute(&g->ack, f->iss) : 0);
	t[12] = (uint8_t)((g->doff >= 0 ? (unsigned)g->doff : (20 + n_opt) / 4) << 4);
	t[13] = g->flags;
	put16(t + 14, g->win.set ? (uint32_t)g->win.lo : f->win);
	put16(t + 18, g->urg.set ? (uint32_t)g->urg.lo : 0);
	memcpy(t + 20, opt, n_opt);
	uint32_t off = seq - f->irs - 1 + ((g->flags & 2) != 0);
	for (uint32_t i = 0; i < g->len; i++)
		t[20 + n_opt + i] = script_byte(1, (uint64_t)(int64_t)(int32_t)off + i);
	size_t all = (size_t)(t - ip) + len;
	if (g->cut >= 0 && (size_t)g->cut < len) {
		all = (size_t)(t - ip) + (size_t)g->cut;
		put16(ip + (s->ip6 ? 4 : 2), (uint32_t)g->cut + (s->ip6 ? 0 : 20));
	}
	vtcp_checksum(ip, all);
	if (g->bad_sum)
		t[16] ^= 0x55;
	return all;
}

size_t script_icmp_build(const struct script *s, const struct script_flow *f, const char *kind, uint32_t seq,
			 uint32_t mtu, uint8_t *ip)
{
	static const struct {
		const char *name;
		uint8_t type4, code4, type6, code6;
	} kinds[] = {
		{"net", 3, 0, 1, 0},	{"host", 3, 1, 1, 3},	 {"protocol", 3, 2, 4, 1},
		{"port", 3, 3, 1, 4},	{"toobig", 3, 4, 2, 0},	 {"quench", 4, 0, 0, 0},
		{"expired", 11, 0, 3, 0}, {"parameter", 12, 0, 4, 0},
	};
	size_t hdr = s->ip6 ? 40 : 20, len = 8 + hdr + 20;
	unsigned k = 0;

	while (k < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[k].name, kind) != 0)
		k++;
	if (k == sizeof(kinds) / sizeof(kinds[0]))
		return 0;
	uint8_t *m = put_ip(s, ip, s->ip6 ? 58 : 1, len, 0), *q = m + 8;
	memset(m, 0, len);
	m[0] = s->ip6 ? kinds[k].type6 : kinds[k].type4;
	m[1] = s->ip6 ? kinds[k].code6 : kinds[k].code4;
	put32(m + 4, mtu);
	/* The quoted packet: from us to the peer. */
	uint8_t *t = put_ip(s, q, 6, 20, 0);
	uint8_t swap[16];
	size_t a = s->ip6 ? 8 : 12, n = s->ip6 ? 16 : 4;
	memcpy(swap, q + a, n);
	memcpy(q + a, q + a + n, n);
	memcpy(q + a + n, swap, n);
	put16(t, f->our_port);
	put16(t + 2, f->peer_port);
	put32(t + 4, f->iss + seq);
	put32(t + 8, f->irs + 1);
	t[12] = 0x50;
	t[13] = 0x10;
	/* Of a full packet, of which no more than this is quoted. */
	put16(q + (s->ip6 ? 4 : 2), s->ip6 ? s->mtu - 40 : s->mtu);
	vtcp_checksum(q, hdr + 20);
	vtcp_checksum(ip, hdr + len);
	return hdr + len;
}

/* ---- bytes in ---- */

static void kind_add(struct script_got *g, const char *name)
{
	size_t n = strlen(g->opts);

	snprintf(g->opts + n, sizeof(g->opts) - n, "%s%s", n ? "," : "", name);
}

static bool options_parse(const uint8_t *p, size_t len, struct script_got *g)
{
	for (size_t i = 0; i < len;) {
		uint8_t kind = p[i];
		if (kind == 0)
			return true;
		if (kind == 1) {
			kind_add(g, "nop");
			i++;
			continue;
		}
		if (len - i < 2 || p[i + 1] < 2 || p[i + 1] > len - i)
			return false;
		uint8_t size = p[i + 1];
		const uint8_t *b = p + i + 2;
		if (kind == 2 && size == 4) {
			kind_add(g, "mss");
			g->has_mss = true;
			g->mss = get16(b);
		} else if (kind == 3 && size == 3) {
			kind_add(g, "ws");
			g->has_ws = true;
			g->ws = b[0];
		} else if (kind == 4 && size == 2) {
			kind_add(g, "sackok");
			g->sackok = true;
		} else if (kind == 5 && size % 8 == 2) {
			kind_add(g, "sack");
			for (unsigned k = 0; k < (size - 2u) / 8 && g->n_sack < SCRIPT_SACKS; k++)
				g->sack[g->n_sack++] = (struct script_range){get32(b + 8 * k), get32(b + 8 * k + 4)};
		} else if (kind == 8 && size == 10) {
			kind_add(g, "ts");
			g->has_ts = true;
			g->tsval = get32(b);
			g->tsecr = get32(b + 4);
		} else {
			kind_add(g, "other");
		}
		i += size;
	}
	return true;
}

bool script_got_parse(const uint8_t *ip, size_t len, struct script_got *g)
{
	bool v4 = ip[0] >> 4 == 4;
	size_t hdr = v4 ? (ip[0] & 15u) * 4u : 40;

	memset(g, 0, sizeof(*g));
	if (len < hdr + 20 || (v4 ? ip[9] : ip[6]) != 6)
		return false;
	const uint8_t *t = ip + hdr;
	size_t doff = (t[12] >> 4) * 4u;
	if (doff < 20 || hdr + doff > len)
		return false;
	g->ecn = v4 ? ip[1] & 3 : ip[1] >> 4 & 3;
	g->sport = get16(t);
	g->dport = get16(t + 2);
	g->seq = get32(t + 4);
	g->ack = get32(t + 8);
	g->flags = t[13];
	g->win = get16(t + 14);
	g->urg = get16(t + 18);
	g->data = t + doff;
	g->len = (uint32_t)(len - hdr - doff);
	return options_parse(t + 20, doff - 20, g);
}

/* ---- comparing, text out ---- */

void script_got_print(const struct script_flow *f, const struct script_got *g, char *out, size_t size)
{
	char flags[12], more[160] = "";
	size_t n = 0, k = 0;

	for (unsigned i = 0; i < 8; i++)
		if (g->flags >> i & 1)
			flags[n++] = flag_letters[i];
	flags[n] = 0;
	if (g->flags & 16)
		k += (size_t)snprintf(more + k, sizeof(more) - k, " ack %d", (int)(g->ack - f->irs));
	if (g->has_mss)
		k += (size_t)snprintf(more + k, sizeof(more) - k, " mss %u", g->mss);
	if (g->has_ws)
		k += (size_t)snprintf(more + k, sizeof(more) - k, " ws %u", g->ws);
	if (g->has_ts)
		k += (size_t)snprintf(more + k, sizeof(more) - k, " ts %d %u", (int)(g->tsval - f->ts_first),
				      g->tsecr);
	for (int i = 0; i < g->n_sack; i++)
		k += (size_t)snprintf(more + k, sizeof(more) - k, " sack %d-%d",
				      (int)(g->sack[i].start - f->irs), (int)(g->sack[i].end - f->irs));
	snprintf(out, size, "%s %d+%u%s win %u ecn %u kinds %s", *flags ? flags : "-", (int)(g->seq - f->iss),
		 g->len, more, g->win, g->ecn, *g->opts ? g->opts : "-");
}

static void tell(char *why, size_t size, const char *what, const struct script_match *m, int64_t got)
{
	if (m->lo == m->hi)
		snprintf(why, size, "%s: expected %lld, got %lld", what, (long long)m->lo, (long long)got);
	else
		snprintf(why, size, "%s: expected %lld..%lld, got %lld", what, (long long)m->lo,
			 (long long)m->hi, (long long)got);
}

static bool fits(const struct script_match *m, bool there, uint32_t wire, uint32_t origin, const char *what,
		 char *why, size_t size)
{
	int64_t v = m->abs || !origin ? (int64_t)wire : (int64_t)(int32_t)(wire - origin);

	if (!m->set || (there && v >= m->lo && v <= m->hi))
		return true;
	if (!there)
		snprintf(why, size, "%s: expected, not there", what);
	else
		tell(why, size, what, m, v);
	return false;
}

static bool sack_same(const struct script_flow *f, const struct script_seg *w, const struct script_got *g)
{
	if (w->n_sack < 0)
		return true;
	if (w->n_sack != g->n_sack)
		return false;
	for (int i = 0; i < w->n_sack; i++)
		if (w->sack[i].start != g->sack[i].start - f->irs || w->sack[i].end != g->sack[i].end - f->irs)
			return false;
	return true;
}

bool script_seg_compare(const struct script_flow *f, const struct script_seg *w, const struct script_got *g,
			char *why, size_t size)
{
	uint8_t care = w->psh_told ? 0xff : 0xff & ~8;

	if ((w->flags & care) != (g->flags & care)) {
		snprintf(why, size, "flags differ");
		return false;
	}
	if (w->len != g->len) {
		snprintf(why, size, "length: expected %u, got %u", w->len, g->len);
		return false;
	}
	if (!fits(&w->seq, true, g->seq, f->iss, "sequence number", why, size) ||
	    !fits(&w->ack, true, g->ack, f->irs, "ack", why, size) ||
	    !fits(&w->win, true, g->win, 0, "win", why, size) ||
	    !fits(&w->mss, g->has_mss, g->mss, 0, "mss", why, size) ||
	    !fits(&w->ws, g->has_ws, g->ws, 0, "ws", why, size) ||
	    !fits(&w->urg, true, g->urg, 0, "urg", why, size) ||
	    !fits(&w->ecn, true, g->ecn, 0, "ecn", why, size) ||
	    !fits(&w->tsval, g->has_ts, g->tsval, f->ts_first, "TSval", why, size) ||
	    !fits(&w->tsecr, g->has_ts, g->tsecr, 0, "TSecr", why, size))
		return false;
	if ((w->sackok && !g->sackok) || (w->no_sackok && g->sackok) || (w->no_ts && g->has_ts)) {
		snprintf(why, size, "options: %s", g->opts);
		return false;
	}
	if (*w->opts && strcmp(strcmp(w->opts, "-") == 0 ? "" : w->opts, g->opts) != 0) {
		snprintf(why, size, "kinds: expected %s, got %s", w->opts, g->opts);
		return false;
	}
	if (!sack_same(f, w, g)) {
		snprintf(why, size, "SACK blocks differ");
		return false;
	}
	uint32_t off = g->seq - f->iss - 1 + ((g->flags & 2) != 0);
	for (uint32_t i = 0; i < g->len; i++)
		if (g->data[i] != script_byte(0, (uint64_t)(int64_t)(int32_t)off + i)) {
			snprintf(why, size, "byte %u of the payload is not what was sent", i);
			return false;
		}
	return true;
}
