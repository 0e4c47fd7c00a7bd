/* stat.c: the names and help texts of stat.def as tables. */
#include "stat.h"
#include "check.h"

static const char *const names[] = {
#define STAT(name, help) #name,
#include "stat.def"
#undef STAT
};
static const char *const helps[] = {
#define STAT(name, help) help,
#include "stat.def"
#undef STAT
};

const char *stat_name(enum stat_id id)
{
	CHECK((unsigned)id < ARRAY_LEN(names));
	return names[id];
}

const char *stat_help(enum stat_id id)
{
	CHECK((unsigned)id < ARRAY_LEN(helps));
	return helps[id];
}
