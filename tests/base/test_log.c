/* test_log.c: stderr goes into a pipe; the form of a line, control bytes, length and the rate limit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "log.h"

static int keep, fds[2];
static char text[65536];

static void start(void)
{
	keep = dup(STDERR_FILENO);
	cr_assert_eq(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
}

/* What was logged since start(), as a string. */
static char *stop(void)
{
	size_t n = 0;
	ssize_t got;
	dup2(keep, STDERR_FILENO);
	close(fds[1]);
	close(keep);
	while ((got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	close(fds[0]);
	text[n] = '\0';
	return text;
}

static unsigned count(const char *s, const char *what)
{
	unsigned n = 0;
	for (; (s = strstr(s, what)); s += strlen(what))
		n++;
	return n;
}

Test(log, form_of_a_line)
{
	start();
	log_info("session %d opened", 7);
	char *s = stop();
	unsigned y, mo, d, h, mi, sec, us;
	int end = 0;
	cr_expect_eq(sscanf(s, "%4u-%2u-%2uT%2u:%2u:%2u.%6uZ I session 7 opened%n", &y, &mo, &d, &h, &mi,
			    &sec, &us, &end),
		     7, "%s", s);
	cr_expect_str_eq(s + end, "\n");
	cr_expect(y >= 2024 && mo >= 1 && mo <= 12);
}

Test(log, levels)
{
	start();
	log_error("one");
	log_debug("hidden");
	log_set_level(LOG_L_DEBUG);
	log_debug("shown");
	log_set_level(LOG_L_ERROR);
	log_warn("hidden");
	char *s = stop();
	cr_expect_eq(count(s, "\n"), 2, "%s", s);
	cr_expect(strstr(s, "Z E one\n") && strstr(s, "Z D shown\n") && !strstr(s, "hidden"));
}

Test(log, control_bytes_and_length)
{
	static char longer[10000];
	memset(longer, 'x', sizeof(longer) - 1);
	start();
	log_info("a%sb", "\r\n2026 E forged\x1b[2J\x7f\t\xc2\x9b\xc3\xa4");
	log_info("%s!", longer);
	char *s = stop();
	cr_expect_eq(count(s, "\n"), 2);
	cr_expect(strstr(s, "a??2026 E forged?[2J????\xc3\xa4" "b\n"), "%s", s);
	cr_expect(strlen(s) < 4096 && s[strlen(s) - 2] == 'x');
}

Test(log, rate_limit)
{
	start();
	for (int i = 0; i < 100; i++)
		log_warn("many %d", i);
	for (int i = 0; i < 3; i++)
		log_info("few %d", i);
	usleep(1100000);
	log_info("later");
	char *s = stop();
	unsigned many = count(s, " W many ");
	cr_expect(many >= 10 && many <= 20, "%u", many); /* 20: the loop crossed a second */
	cr_expect_eq(count(s, " I few "), 3);
	cr_expect(strstr(s, "more lines left out: many %d\n"), "%s", s);
	cr_expect_eq(count(s, "left out"), 1);
}
