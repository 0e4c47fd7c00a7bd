/* conf_file.h: veredus.conf to an immutable struct conf (conf.h). */
#ifndef VEREDUS_CONF_FILE_H
#define VEREDUS_CONF_FILE_H

#include <stddef.h>
#include "conf.h"
#include "err.h"

/* Reads and checks the file. On error *why is "FILE:LINE: reason" and *out is NULL. Free with conf_destroy. */
enum err conf_read(const char *file, struct conf **out, char *why, size_t why_size);
void conf_destroy(struct conf **c);

#endif
