/* test_stat.c: counters add, and every row has a name and a help text. */
#include <criterion/criterion.h>
#include <string.h>
#include "stat.h"

Test(stat, counts)
{
	static struct stat s;
	stat_inc(&s, STAT_tcp_ooo);
	stat_add(&s, STAT_tcp_ooo, 41);
	cr_expect_eq(stat_get(&s, STAT_tcp_ooo), 42);
	cr_expect_eq(stat_get(&s, STAT_tcp_dup), 0);
	cr_expect_str_eq(stat_name(STAT_tcp_ooo), "tcp_ooo");
	for (int i = 0; i < STAT__N; i++) {
		cr_expect(*stat_help((enum stat_id)i));
		for (int j = 0; j < i; j++)
			cr_assert_str_neq(stat_name((enum stat_id)i), stat_name((enum stat_id)j));
	}
}
