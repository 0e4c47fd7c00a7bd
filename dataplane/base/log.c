/*
 * log.c: the text log. Each line is one write(2) to stderr, so lines of threads and processes do not mix:
 * "2026-01-31T12:00:00.000000Z W text". Text that came from outside cannot steer a terminal or forge a
 * line: control bytes are written as '?'.
 *
 * A call site is known by its format string. A small table under a lock counts the lines of each in the
 * running second; what was over the limit is reported with the first line that is logged, by anyone,
 * after that second. Two sites that share a row push each other out, which only makes the limit laxer.
 */
#include "log.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "clock.h"

#define LINE_MAX_LEN  2048u
#define PER_SECOND    10u
#define ROWS          64u

struct site {
	const char *fmt;
	uint64_t since_us;
	uint32_t n, left_out;
	enum log_level level;
};

static _Atomic int level_max = LOG_L_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct site sites[ROWS];

void log_set_level(enum log_level max)
{
	atomic_store_explicit(&level_max, (int)max, memory_order_relaxed);
}

/* C0 and DEL, and the C1 controls in UTF-8 (a terminal takes 0xc2 0x9b as CSI), become '?'. */
static void clean(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)p[i];
		if (c == 0xc2 && i + 1 < len && ((uint8_t)p[i + 1] & 0xe0) == 0x80)
			p[i] = p[i + 1] = '?';
		else if (c < 0x20 || c == 0x7f)
			p[i] = '?';
	}
}

static void emit(enum log_level level, const char *fmt, va_list ap)
{
	static const char letters[] = "EWID";
	char line[LINE_MAX_LEN];
	uint64_t us = clock_wall_us();
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;

	gmtime_r(&sec, &tm);
	size_t len = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	len += (size_t)snprintf(line + len, sizeof(line) - len, ".%06uZ %c ", (unsigned)(us % 1000000),
				letters[level & 3]);
	size_t text = len;
	int n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	if (n > 0)
		len += (size_t)n;
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1; /* cut; the last byte is for the newline */
	clean(line + text, len - text);
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}

static void PRINTF(2, 3) emit_args(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}

/* Ends the site's second and says what it left out. */
static void site_close(struct site *s, uint64_t now_us)
{
	if (s->left_out)
		emit_args(s->level, "%u more lines left out: %s", s->left_out, s->fmt);
	s->n = s->left_out = 0;
	s->since_us = now_us;
}

/* Under the lock. May this line be written? */
static bool site_admit(enum log_level level, const char *fmt, uint64_t now_us)
{
	uintptr_t h = (uintptr_t)fmt;
	struct site *s = &sites[(h ^ h >> 6 ^ h >> 12) % ROWS];

	for (struct site *old = sites; old < sites + ROWS; old++) {
		if (old->left_out && now_us - old->since_us >= 1000000)
			site_close(old, now_us);
	}
	if (s->fmt != fmt || now_us - s->since_us >= 1000000) {
		site_close(s, now_us);
		s->fmt = fmt;
		s->level = level;
	}
	if (s->n >= PER_SECOND) {
		s->left_out++;
		return false;
	}
	s->n++;
	return true;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
		return;
	pthread_mutex_lock(&lock);
	bool admitted = site_admit(level, fmt, clock_us());
	pthread_mutex_unlock(&lock);
	if (!admitted)
		return;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}
