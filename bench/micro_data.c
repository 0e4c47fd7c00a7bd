/*
 * micro_data.c: cost of the DATA scanner and of dot-stuffing, which every byte of mail goes
 * through: time-stamp counter cycles and CPU nanoseconds a byte for several kinds of text, cut into
 * chunks as TCP brings them, beside the plain byte by byte scanner. Best of five runs; about a
 * second in all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif
#include "check.h"
#include "clock.h"
#include "mail_data.h"

#define TEXT_LEN  (1u << 20)
#define CHUNK_LEN 1448u /* an Ethernet segment with timestamps */

static uint64_t cycles(void)
{
#ifdef __x86_64__
	return __rdtsc();
#else
	return 0;
#endif
}

static const struct {
	const char *name, *line;
} kinds[] = {
	{"lines of 76",
	 "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NT\r\n"},
	{"lines of 20", "a line of short text\r\n"},
	{"8-bit text",
	 "Gr\xc3\xbc\xc3\x9f"
	 "e aus K\xc3\xb6ln, und noch ein wenig mehr davon, f\xc3\xbcr eine ganze Zeile.\r\n"},
	{"empty lines", "\r\n"},
	{"dots before lines",
	 "..a line that begins with a dot, as in none but a hostile or an odd message\r\n"},
	{"bare LF", "a line that ends as it does on disk, with a line feed and nothing else\n"},
};

static uint8_t *make(const char *line)
{
	uint8_t *text = malloc(TEXT_LEN);
	size_t n = strlen(line);

	for (size_t i = 0; i < TEXT_LEN; i++)
		text[i] = (uint8_t)line[i % n];
	return text;
}

static uint64_t run_scan(const uint8_t *text)
{
	struct mail_data_scan s;
	uint64_t kept = 0;

	mail_data_scan_init(&s);
	for (size_t off = 0; off < TEXT_LEN;) {
		size_t len = TEXT_LEN - off < CHUNK_LEN ? TEXT_LEN - off : CHUNK_LEN;
		struct mail_run runs[16];
		struct mail_data_step step = mail_data_scan(&s, text + off, len, runs, 16);

		kept += step.n_runs;
		off += step.consumed;
	}
	return kept + s.size;
}

static uint64_t run_stuff(const uint8_t *text)
{
	struct mail_stuff s;
	uint64_t n_all = 0;

	mail_stuff_init(&s);
	for (size_t off = 0; off < TEXT_LEN;) {
		size_t len = TEXT_LEN - off < CHUNK_LEN ? TEXT_LEN - off : CHUNK_LEN, n;
		struct mail_edit edits[16];

		off += mail_stuff_chunk(&s, text + off, len, edits, 16, &n);
		n_all += n;
	}
	return n_all;
}

/* What the scanner would be byte by byte: the same findings, without the runs. */
static uint64_t run_plain(const uint8_t *text)
{
	enum { SOL, MID, CR, DOT } state = SOL;
	uint64_t lines = 0, line_len = 0, longest = 0, dots = 0;
	uint32_t flags = 0;

	for (size_t i = 0; i < TEXT_LEN; i++) {
		uint8_t c = text[i];

		flags |= (c == 0 ? MAIL_DATA_NUL : 0u) | (c >= 0x80 ? MAIL_DATA_8BIT : 0u);
		line_len++;
		if (c == '\n') {
			flags |= state == CR ? 0u : MAIL_DATA_BARE_LF;
			lines++;
			longest = line_len > longest ? line_len : longest;
			line_len = 0;
			state = state == CR ? SOL : MID;
		} else if (c == '.' && state == SOL) {
			dots++;
			state = DOT;
		} else {
			flags |= state == CR ? MAIL_DATA_BARE_CR : 0u;
			state = c == '\r' ? CR : MID;
		}
	}
	return flags + lines + longest + dots;
}

static volatile uint64_t sink;

static void measure(const char *kind, const char *what, uint64_t (*run)(const uint8_t *),
		    const uint8_t *text)
{
	uint64_t best_ns = UINT64_MAX, best_cycles = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t ns = clock_thread_cpu_ns(), c = cycles();

		for (int k = 0; k < 8; k++)
			sink += run(text);
		c = (cycles() - c) / 8;
		ns = (clock_thread_cpu_ns() - ns) / 8;
		best_ns = ns < best_ns ? ns : best_ns;
		best_cycles = c < best_cycles ? c : best_cycles;
	}
	printf("%-18s %-14s %6.2f cycles/byte %7.3f ns/byte\n", kind, what,
	       (double)best_cycles / TEXT_LEN, (double)best_ns / TEXT_LEN);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		uint8_t *text = make(kinds[i].line);

		measure(kinds[i].name, "scan", run_scan, text);
		measure(kinds[i].name, "stuff", run_stuff, text);
		measure(kinds[i].name, "byte by byte", run_plain, text);
		free(text);
	}
	return 0;
}
