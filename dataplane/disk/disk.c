/*
 * disk.c: what all disks share: files of zeros made ahead of their use.
 *
 * Only blocks that were written once make a flush cheap: fallocate leaves unwritten extents whose first
 * write goes through the file system's journal (twice the latency and twice the device bytes, measured).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "disk.h"

#define ZERO_CHUNK (1u << 20)

static enum err zero_fill(struct disk *d, struct disk_file *f, uint64_t size)
{
	uint64_t chunk = size < ZERO_CHUNK ? size : ZERO_CHUNK;
	void *zero = aligned_alloc(DISK_BLOCK, chunk);
	CHECK(zero);
	memset(zero, 0, chunk);
	enum err e = ERR_OK;
	for (uint64_t off = 0; off < size && e == ERR_OK; off += chunk) {
		uint64_t len = size - off < chunk ? size - off : chunk;
		e = d->ops->write(d, f, off, zero, len);
	}
	free(zero);
	return e == ERR_OK ? d->ops->sync(d, f) : e;
}

enum err disk_zero_file(struct disk *d, const char *name, uint64_t size, struct disk_file **out)
{
	char tmp[DISK_NAME_MAX + 1];
	int n = snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	CHECK(n > 0 && (size_t)n < sizeof(tmp) && size % DISK_BLOCK == 0);

	*out = NULL;
	enum err e = d->ops->unlink(d, tmp);
	struct disk_file *f = NULL;
	if (e == ERR_OK)
		e = d->ops->file_open(d, tmp, DISK_CREATE | DISK_DIRECT, &f);
	if (e != ERR_OK)
		return e;
	e = zero_fill(d, f, size);
	if (e == ERR_OK)
		e = d->ops->rename(d, tmp, name);
	if (e == ERR_OK)
		e = d->ops->sync_dir(d);
	if (e != ERR_OK) {
		d->ops->file_close(d, &f);
		(void)d->ops->unlink(d, tmp);
		return e;
	}
	f->size = size;
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	*out = f;
	return ERR_OK;
}
