/*
 * disk.h: block I/O behind one const table: io_uring (disk_uring.c), memory (disk_mem.c, for tests and
 * benchmarks), and a faulty disk over memory (disk_faulty.c: power cuts, EIO, ENOSPC).
 *
 * A disk is one opened directory of flat files. The asynchronous half (attach, submit, poll, wait) belongs
 * to one thread; the blocking half may be used by any thread, for files that no other thread writes.
 * Invariants: 1. a DISK_WRITE_SYNC that completes ERR_OK is on stable storage, whatever happened to other
 * writes of the file; 2. a name made or replaced by create, rename or unlink is stable only after
 * sync_dir; 3. every request comes back through poll exactly once, in any order; 4. requests are whole:
 * a short transfer is ERR_IO.
 * Alignment: offset, length and buffer of every request and of blocking calls on a file opened with
 * DISK_DIRECT must be multiples of DISK_BLOCK, because the file may be open with O_DIRECT.
 */
#ifndef VEREDUS_DISK_H
#define VEREDUS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define DISK_BLOCK    4096u
#define DISK_NAME_MAX 63u

struct disk_ops;

/* Implementations embed these two as their first member. */
struct disk {
	const struct disk_ops *ops;
};
struct disk_file {
	char name[DISK_NAME_MAX + 1];
	uint64_t size; /* bytes when it was opened */
};

enum disk_verb {
	DISK_READ,
	DISK_WRITE,
	DISK_WRITE_SYNC /* write, then stable: one flush */
};

enum disk_flag {
	DISK_CREATE = 1, /* make it, empty, if it does not exist */
	DISK_DIRECT = 2  /* past the page cache where the file system can */
};

struct disk_req {
	/* in */
	struct disk_file *file;
	void *buf;
	uint64_t off;
	uint32_t len;
	enum disk_verb verb;
	void *user;
	/* out */
	enum err err; /* OK, IO, NO_SPACE */
	/* the disk's own */
	struct disk_req *next;
	uint64_t priv;
};

struct disk_ops {
	const char *name;
	/* Opens or makes the directory and locks it against a second process: ERR_BUSY. why: one line. */
	enum err (*open)(struct disk **out, const char *path, void *arg, char *why, size_t why_size);
	/* After the last request came back; files are closed before. */
	void (*close)(struct disk **d);

	/* ---- blocking ---- */
	enum err (*list)(struct disk *d, void (*fn)(void *arg, const char *name, uint64_t size), void *arg);
	enum err (*file_open)(struct disk *d, const char *name, unsigned flags, struct disk_file **out);
	void (*file_close)(struct disk *d, struct disk_file **f);
	enum err (*read)(struct disk *d, struct disk_file *f, uint64_t off, void *buf, size_t len);
	enum err (*write)(struct disk *d, struct disk_file *f, uint64_t off, const void *buf, size_t len);
	enum err (*sync)(struct disk *d, struct disk_file *f);
	enum err (*rename)(struct disk *d, const char *from, const char *to);
	enum err (*unlink)(struct disk *d, const char *name); /* a missing name is ERR_OK */
	enum err (*sync_dir)(struct disk *d);
	enum err (*space)(struct disk *d, uint64_t *free_bytes);

	/* ---- asynchronous, all by one thread ---- */
	/* Once, by the thread that will submit. */
	enum err (*attach)(struct disk *d);
	void (*submit)(struct disk *d, struct disk_req *r);
	/* Starts what was submitted, returns what is done; never sleeps. */
	unsigned (*poll)(struct disk *d, struct disk_req **out, unsigned max);
	/* Starts what was submitted, then sleeps until a request is done, wake() or the time is over. */
	void (*wait)(struct disk *d, uint64_t timeout_us);
	/* By any thread: ends a wait that runs, or the next one. */
	void (*wake)(struct disk *d);
};

extern const struct disk_ops disk_uring_ops;

/* Makes the file name a pre-written one: size bytes of zeros under a temporary name, synced, renamed, directory
 * synced, so that later writes change no metadata and the name never stands for less. Blocking; on an error
 * nothing is left behind (as far as the disk allows). size: a multiple of DISK_BLOCK. */
enum err disk_zero_file(struct disk *d, const char *name, uint64_t size, struct disk_file **out);

#endif
