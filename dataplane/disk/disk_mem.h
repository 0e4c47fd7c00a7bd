/* disk_mem.h: the memory disk's contents, which outlive the store that used them. Tests and benchmarks. */
#ifndef VEREDUS_DISK_MEM_H
#define VEREDUS_DISK_MEM_H

#include "disk.h"

struct disk_mem; /* pass it as disk_arg */

extern const struct disk_ops disk_mem_ops;

struct disk_mem *disk_mem_create(void);
void disk_mem_destroy(struct disk_mem **m);
/* Bytes that all files together may hold; 0 = no limit. */
void disk_mem_set_capacity(struct disk_mem *m, uint64_t bytes);
/* The bytes of a file, to look at or to spoil; NULL if there is none. */
uint8_t *disk_mem_bytes(struct disk_mem *m, const char *name, uint64_t *size);
/* Replaces or makes a file. */
void disk_mem_put(struct disk_mem *m, const char *name, const void *p, uint64_t size);
/* Calls fn for each file. */
void disk_mem_each(struct disk_mem *m, void (*fn)(void *arg, const char *name, uint64_t size), void *arg);

#endif
