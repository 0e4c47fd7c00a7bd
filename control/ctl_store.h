/* ctl_store.h: what veredusctl does with a store's directory itself, without a server. */
#ifndef VEREDUS_CTL_STORE_H
#define VEREDUS_CTL_STORE_H

#include <stdbool.h>

/* Reads everything that is in use in the store at path and changes nothing; findings and a summary to standard output, progress
 * to standard error when that is a terminal. 0 whole; 1 something is wrong; 2 it could not look (not a store, in use). */
int ctl_store_check(const char *path, bool json);

#endif
