/* check.c: the end of a process whose invariant broke. Recovery is the normal start-up path. */
#include "check.h"
#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, what);
	abort();
}
