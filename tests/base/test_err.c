/* test_err.c: every code has a name and a text, and a wrong one gets an answer too. */
#include <criterion/criterion.h>
#include "err.h"

Test(err, names_and_texts)
{
	cr_expect_eq(ERR_OK, 0);
	cr_expect_str_eq(err_name(ERR_NO_SPACE), "NO_SPACE");
	cr_expect_str_eq(err_text(ERR_NO_SPACE), "out of disk space");
	for (int e = 0; e < ERR__N; e++)
		cr_expect(*err_name((enum err)e) && *err_text((enum err)e));
	cr_expect_str_eq(err_name(ERR__N), "?");
	cr_expect_str_eq(err_text((enum err)12345), "unknown error");
}
