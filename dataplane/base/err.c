/* err.c: the names and texts of err.def as tables. */
#include "err.h"
#include "check.h"

static const char *const names[] = {
#define ERR(name, text) #name,
#include "err.def"
#undef ERR
};
static const char *const texts[] = {
#define ERR(name, text) text,
#include "err.def"
#undef ERR
};

const char *err_name(enum err e)
{
	return (unsigned)e < ARRAY_LEN(names) ? names[e] : "?";
}

const char *err_text(enum err e)
{
	return (unsigned)e < ARRAY_LEN(texts) ? texts[e] : "unknown error";
}
