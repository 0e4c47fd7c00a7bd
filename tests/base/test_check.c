/* test_check.c: a check that holds is silent, one that fails aborts. */
#include <criterion/criterion.h>
#include <signal.h>
#include "check.h"

Test(check, holds)
{
	int n = 0;
	CHECK(++n == 1);
	cr_expect_eq(n, 1, "the condition runs once");
}

Test(check, fails, .signal = SIGABRT)
{
	CHECK(1 + 1 == 3);
}
