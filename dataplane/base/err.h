/* err.h: the codes of err.def. Broken invariants are CHECK() (check.h), never one of these. */
#ifndef VEREDUS_ERR_H
#define VEREDUS_ERR_H

enum err {
#define ERR(name, text) ERR_##name,
#include "err.def"
#undef ERR
	ERR__N
};

/* "NO_SPACE"; never NULL. */
const char *err_name(enum err e);
/* "out of disk space"; never NULL. */
const char *err_text(enum err e);

#endif
