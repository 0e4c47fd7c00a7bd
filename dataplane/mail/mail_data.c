/*
 * mail_data.c: end of data and dot-stuffing, see mail_data.h.
 *
 * Both directions work on blocks of up to 64 bytes: bit masks say where CR, LF and '.' stand, and a
 * block in which every CR has its LF and no line begins with a dot (nearly all of them) is done
 * with a few operations on the masks. Any other block goes through the state machine byte by byte;
 * that machine is the definition, the masks only tell where it need not run.
 */
#include "mail_data.h"
#include "check.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "hot.h"

enum {
	SOL,	/* a line begins here: at the start, behind CRLF */
	MID,	/* within a line */
	CR,	/* behind a CR that is content */
	BARE,	/* behind a bare LF (scan only) */
	DOT,	/* behind a dot that began a line and was taken out (scan only) */
	DOT_CR, /* behind that and a CR, kept until we know better (scan only) */
};

#define BLOCK 64u

struct block {
	uint64_t cr, lf, dot;
	uint32_t n; /* valid bytes, 1..64: no mask has a bit from n on */
	bool nul, high;
};

#ifdef __SSE2__
static inline uint64_t quarter(__m128i v, char c, unsigned shift)
{
	return (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c))) << shift;
}

static inline void block_load(struct block *b, const uint8_t *p)
{
	__m128i v[4], least, any;

	b->cr = b->lf = b->dot = 0;
	for (unsigned k = 0; k < 4; k++) {
		v[k] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * k));
		b->cr |= quarter(v[k], '\r', 16 * k);
		b->lf |= quarter(v[k], '\n', 16 * k);
		b->dot |= quarter(v[k], '.', 16 * k);
	}
	least = _mm_min_epu8(_mm_min_epu8(v[0], v[1]), _mm_min_epu8(v[2], v[3]));
	any = _mm_or_si128(_mm_or_si128(v[0], v[1]), _mm_or_si128(v[2], v[3]));
	b->nul = quarter(least, 0, 0) != 0;
	b->high = _mm_movemask_epi8(any) != 0;
}
#else
static inline void block_load(struct block *b, const uint8_t *p)
{
	*b = (struct block){0};
	for (unsigned i = 0; i < BLOCK; i++) {
		b->cr |= (uint64_t)(p[i] == '\r') << i;
		b->lf |= (uint64_t)(p[i] == '\n') << i;
		b->dot |= (uint64_t)(p[i] == '.') << i;
		b->nul |= p[i] == 0;
		b->high |= p[i] >= 0x80;
	}
}
#endif

static inline void block_read(struct block *b, const uint8_t *p, size_t len)
{
	if (LIKELY(len >= BLOCK)) {
		block_load(b, p);
		b->n = BLOCK;
	} else {
		uint8_t pad[BLOCK];

		memset(pad, ' ', sizeof(pad));
		memcpy(pad, p, len);
		block_load(b, pad);
		b->n = (uint32_t)len;
	}
}

/*
 * If the block, entered in state (SOL, MID or CR), has only whole CRLFs and no dot at a line's
 * beginning: true, *crlf marks the LFs and *state is the one behind the block.
 */
static inline bool block_is_plain(const struct block *b, uint32_t *state, uint64_t *crlf)
{
	uint64_t valid = b->n == BLOCK ? ~0ull : (1ull << b->n) - 1;
	uint64_t want_lf = (b->cr << 1 | (*state == CR)) & valid;
	uint64_t begin = b->lf << 1 | (*state == SOL);
	uint64_t last = 1ull << (b->n - 1);

	if (UNLIKELY(want_lf != b->lf || (begin & b->dot)))
		return false;
	*crlf = b->lf;
	*state = b->lf & last ? SOL : b->cr & last ? CR : MID;
	return true;
}

/* ---- the way in ---- */

void mail_data_scan_init(struct mail_data_scan *s)
{
	*s = (struct mail_data_scan){.state = SOL};
}

static inline void scan_line_end(struct mail_data_scan *s)
{
	s->lines++;
	if (s->line_len > s->line_len_max)
		s->line_len_max = s->line_len;
	s->line_len = 0;
}

static inline void scan_plain(struct mail_data_scan *s, const struct block *b, uint64_t crlf)
{
	uint32_t done = 0;

	while (crlf) {
		uint32_t behind = (uint32_t)__builtin_ctzll(crlf) + 1;

		s->line_len += behind - done;
		scan_line_end(s);
		done = behind;
		crlf &= crlf - 1;
	}
	s->line_len += b->n - done;
}

/* One byte that is content, from a state other than DOT and DOT_CR. */
static inline void scan_byte(struct mail_data_scan *s, uint8_t c)
{
	bool whole = c == '\n' && s->state == CR;

	if (s->state == CR && !whole)
		s->flags |= MAIL_DATA_BARE_CR;
	if (c == '.' && (s->state == CR || s->state == BARE))
		s->flags |= MAIL_DATA_HAS_DOT_LINE;
	s->line_len++;
	if (whole) {
		scan_line_end(s);
		s->state = SOL;
	} else if (c == '\n') {
		s->flags |= MAIL_DATA_BARE_LF;
		s->state = BARE;
	} else {
		s->state = c == '\r' ? CR : MID;
	}
}

struct scan_out {
	struct mail_run *runs;
	size_t n, max;
	size_t keep_from; /* the run under way begins here */
};

static inline void scan_emit(struct mail_data_scan *s, struct scan_out *o, size_t to)
{
	if (to > o->keep_from) {
		o->runs[o->n++] =
			(struct mail_run){(uint32_t)o->keep_from, (uint32_t)(to - o->keep_from)};
		s->size += to - o->keep_from;
	}
	o->keep_from = to;
}

/* Bytes i..to of the chunk, one by one. Stops early at the end mark, or with runs full. Returns
 * where. */
static size_t scan_slow(struct mail_data_scan *s, struct scan_out *o, const uint8_t *p, size_t len,
			size_t i, size_t to, struct mail_data_step *step)
{
	for (; i < to; i++) {
		uint8_t c = p[i];

		if (s->state == SOL && c == '.') {
			scan_emit(s, o, i);
			o->keep_from = i + 1;
			s->state = DOT;
			if (o->n == o->max)
				return i + 1;
			continue;
		}
		if (s->state == DOT) {
			s->state = MID;
			if (c == '.')
				s->flags |= MAIL_DATA_HAS_DOT_LINE;
			if (c == '\r') {
				if (i + 1 == len) {
					s->line_len++;
					s->state = DOT_CR;
					continue;
				}
				if (p[i + 1] == '\n') {
					o->keep_from = i + 2;
					step->end = true;
					return i + 2;
				}
			}
		} else if (s->state == DOT_CR) {
			s->state = CR;
			if (c == '\n') {
				/* The CR went out as content with the chunk before this one. */
				s->size--;
				o->keep_from = i + 1;
				step->end = true;
				step->unkeep = 1;
				return i + 1;
			}
		}
		scan_byte(s, c);
	}
	return i;
}

/* A block left early: only what was read of it counts. */
static COLD void scan_flags(struct mail_data_scan *s, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		s->flags |= (p[i] == 0 ? MAIL_DATA_NUL : 0u) | (p[i] >= 0x80 ? MAIL_DATA_8BIT : 0u);
}

struct mail_data_step mail_data_scan(struct mail_data_scan *s, const uint8_t *p, size_t len,
				     struct mail_run *runs, size_t runs_max)
{
	struct mail_data_step step = {0};
	struct scan_out o = {.runs = runs, .max = runs_max};
	size_t i = 0;

	while (i < len) {
		struct block b;
		uint64_t crlf;
		size_t to;

		block_read(&b, p + i, len - i);
		to = i + b.n;
		if (LIKELY(s->state <= CR) && LIKELY(block_is_plain(&b, &s->state, &crlf))) {
			scan_plain(s, &b, crlf);
			i = to;
		} else {
			i = scan_slow(s, &o, p, len, i, to, &step);
		}
		if (UNLIKELY(b.nul || b.high)) {
			if (LIKELY(i == to))
				s->flags |= (b.nul ? MAIL_DATA_NUL : 0u) |
					    (b.high ? MAIL_DATA_8BIT : 0u);
			else
				scan_flags(s, p + to - b.n, i - (to - b.n));
		}
		if (step.end || o.n == o.max)
			break;
	}
	if (!step.end)
		scan_emit(s, &o, i);
	step.consumed = i;
	step.n_runs = o.n;
	return step;
}

void mail_chunk_scan(struct mail_data_scan *s, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len;) {
		struct block b;
		uint64_t crlf;

		block_read(&b, p + i, len - i);
		if (LIKELY(s->state <= CR) && LIKELY(block_is_plain(&b, &s->state, &crlf))) {
			scan_plain(s, &b, crlf);
		} else {
			for (uint32_t k = 0; k < b.n; k++) {
				if (p[i + k] == '.' && s->state == SOL)
					s->flags |= MAIL_DATA_HAS_DOT_LINE;
				scan_byte(s, p[i + k]);
			}
		}
		s->flags |= (b.nul ? MAIL_DATA_NUL : 0u) | (b.high ? MAIL_DATA_8BIT : 0u);
		i += b.n;
	}
	s->size += len;
}

void mail_chunk_end(struct mail_data_scan *s)
{
	if (s->state == CR)
		s->flags |= MAIL_DATA_BARE_CR;
	if (s->state != SOL && s->size > 0)
		s->flags |= MAIL_DATA_OPEN_END;
}

/* ---- the way out ---- */

const struct span mail_insert_text[4] = {
	[MAIL_INSERT_DOT] = {(const uint8_t *)".", 1},
	[MAIL_INSERT_CR] = {(const uint8_t *)"\r", 1},
	[MAIL_INSERT_LF] = {(const uint8_t *)"\n", 1},
	[MAIL_INSERT_LF_DOT] = {(const uint8_t *)"\n.", 2},
};

void mail_stuff_init(struct mail_stuff *s)
{
	s->state = SOL;
}

/* What goes in before c, or -1. */
static inline int stuff_before(uint32_t state, uint8_t c)
{
	if (state == CR)
		return c == '\n' ? -1 : c == '.' ? MAIL_INSERT_LF_DOT : MAIL_INSERT_LF;
	if (c == '\n')
		return MAIL_INSERT_CR;
	return state == SOL && c == '.' ? MAIL_INSERT_DOT : -1;
}

size_t mail_stuff_chunk(struct mail_stuff *s, const uint8_t *p, size_t len, struct mail_edit *edits,
			size_t edits_max, size_t *n_edits)
{
	size_t i = 0, n = 0;

	while (i < len) {
		struct block b;
		uint64_t crlf;
		size_t to;

		block_read(&b, p + i, len - i);
		to = i + b.n;
		if (LIKELY(block_is_plain(&b, &s->state, &crlf))) {
			i = to;
			continue;
		}
		for (; i < to; i++) {
			int what = stuff_before(s->state, p[i]);

			if (what >= 0) {
				if (n == edits_max)
					goto full;
				edits[n++] = (struct mail_edit){(uint32_t)i, (uint32_t)what};
			}
			s->state = p[i] == '\n' ? SOL : p[i] == '\r' ? CR : MID;
		}
	}
full:
	*n_edits = n;
	return i;
}

struct span mail_stuff_end(const struct mail_stuff *s)
{
	return s->state == SOL	? SPAN(".\r\n")
	       : s->state == CR ? SPAN("\n.\r\n")
				: SPAN("\r\n.\r\n");
}

struct span mail_end_mark(struct span tail)
{
	struct mail_stuff s = {.state = SOL};

	if (tail.len > 0) {
		uint8_t last = tail.p[tail.len - 1];

		if (last == '\r')
			s.state = CR;
		else if (last != '\n' || tail.len < 2 || tail.p[tail.len - 2] != '\r')
			s.state = MID;
	}
	return mail_stuff_end(&s);
}
