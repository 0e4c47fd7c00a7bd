/*
 * disk_uring.c: the real disk: a directory, io_uring, O_DIRECT where the file system takes it.
 *
 * One ring, owned by the thread that called attach. A synced write is one request with RWF_DSYNC: half the
 * CPU of a linked write and fdatasync at the same latency (measured), as long as the thread sleeps in
 * the ring rather than polls. The thread sleeps in one place, io_uring_submit_and_wait_timeout; an eventfd
 * whose read is always armed lets other threads end that sleep.
 * Where io_uring is forbidden (containers, sysctl) requests are done at once with pread and pwritev2: slower,
 * but the same promises.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <poll.h>
#include <unistd.h>
#include "check.h"
#include "disk.h"
#include "log.h"

#define RING_ENTRIES 512

struct uring_disk {
	struct disk base;
	int dir, lock, event;
	bool attached, sync_mode, wake_armed;
	uint64_t wake_value;
	struct io_uring ring;
	struct disk_req *done, **done_tail; /* finished, not yet returned by poll */
};

struct uring_file {
	struct disk_file base;
	int fd;
};

static enum err err_of(int e)
{
	return e == ENOSPC || e == EDQUOT ? ERR_NO_SPACE : ERR_IO;
}

static struct uring_disk *uring_of(struct disk *d)
{
	return (struct uring_disk *)d;
}

static int fd_of(struct disk_file *f)
{
	return ((struct uring_file *)f)->fd;
}

static enum err uring_open(struct disk **out, const char *path, void *arg, char *why, size_t why_size)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		(void)snprintf(why, why_size, "%s: cannot make the directory: %s", path, strerror(errno));
		return ERR_IO;
	}
	struct uring_disk *d = calloc(1, sizeof(*d));
	CHECK(d);
	d->base.ops = &disk_uring_ops;
	d->done_tail = &d->done;
	d->lock = d->event = -1;
	enum err e = ERR_IO;
	d->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir >= 0)
		d->lock = openat(d->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock >= 0)
		d->event = eventfd(0, EFD_CLOEXEC);
	if (d->event < 0) {
		(void)snprintf(why, why_size, "%s: cannot open: %s", path, strerror(errno));
		goto fail;
	}
	if (flock(d->lock, LOCK_EX | LOCK_NB) != 0) {
		(void)snprintf(why, why_size, "%s: in use by another process", path);
		e = ERR_BUSY;
		goto fail;
	}
	*out = &d->base;
	return ERR_OK;
fail:
	if (d->event >= 0)
		close(d->event);
	if (d->lock >= 0)
		close(d->lock);
	if (d->dir >= 0)
		close(d->dir);
	free(d);
	return e;
}

static void uring_close(struct disk **dp)
{
	struct uring_disk *d = uring_of(*dp);
	if (d->attached && !d->sync_mode)
		io_uring_queue_exit(&d->ring);
	close(d->event);
	close(d->lock); /* lets the flock go */
	close(d->dir);
	free(d);
	*dp = NULL;
}

static enum err uring_list(struct disk *d, void (*fn)(void *, const char *, uint64_t), void *arg)
{
	int fd = openat(uring_of(d)->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	const struct dirent *de;
	struct stat st;
	while ((de = readdir(dir))) {
		if (strlen(de->d_name) > DISK_NAME_MAX || fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(st.st_mode))
			fn(arg, de->d_name, (uint64_t)st.st_size);
	}
	closedir(dir);
	return ERR_OK;
}

static enum err uring_file_open(struct disk *d, const char *name, unsigned flags, struct disk_file **out)
{
	int how = O_RDWR | O_CLOEXEC | ((flags & DISK_CREATE) ? O_CREAT : 0);
	int dir = uring_of(d)->dir;
	int fd = openat(dir, name, how | ((flags & DISK_DIRECT) ? O_DIRECT : 0), 0600);
	if (fd < 0 && errno == EINVAL && (flags & DISK_DIRECT))
		fd = openat(dir, name, how, 0600); /* the file system has no direct I/O */
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0) {
		enum err e = errno == ENOENT ? ERR_NOT_FOUND : err_of(errno);
		if (fd >= 0)
			close(fd);
		return e;
	}
	struct uring_file *f = calloc(1, sizeof(*f));
	CHECK(f && strlen(name) <= DISK_NAME_MAX);
	memcpy(f->base.name, name, strlen(name));
	f->base.size = (uint64_t)st.st_size;
	f->fd = fd;
	*out = &f->base;
	return ERR_OK;
}

static void uring_file_close(struct disk *d, struct disk_file **f)
{
	close(fd_of(*f));
	free(*f);
	*f = NULL;
}

static enum err uring_read(struct disk *d, struct disk_file *f, uint64_t off, void *buf, size_t len)
{
	uint8_t *p = buf;
	while (len > 0) {
		ssize_t n = pread(fd_of(f), p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

static enum err write_all(int fd, uint64_t off, const void *buf, size_t len, int flags)
{
	const uint8_t *p = buf;
	while (len > 0) {
		union { const uint8_t *in; void *out; } u = {.in = p};
		struct iovec v = {u.out, len};
		ssize_t n = pwritev2(fd, &v, 1, (off_t)off, flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_of(errno) : ERR_IO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

static enum err uring_write(struct disk *d, struct disk_file *f, uint64_t off, const void *buf, size_t len)
{
	return write_all(fd_of(f), off, buf, len, 0);
}

static enum err uring_sync(struct disk *d, struct disk_file *f)
{
	return fdatasync(fd_of(f)) == 0 ? ERR_OK : err_of(errno);
}

static enum err uring_rename(struct disk *d, const char *from, const char *to)
{
	int dir = uring_of(d)->dir;
	return renameat(dir, from, dir, to) == 0 ? ERR_OK : err_of(errno);
}

static enum err uring_unlink(struct disk *d, const char *name)
{
	return unlinkat(uring_of(d)->dir, name, 0) == 0 || errno == ENOENT ? ERR_OK : err_of(errno);
}

static enum err uring_sync_dir(struct disk *d)
{
	return fsync(uring_of(d)->dir) == 0 ? ERR_OK : err_of(errno);
}

static enum err uring_space(struct disk *d, uint64_t *free_bytes)
{
	struct statvfs v;
	if (fstatvfs(uring_of(d)->dir, &v) != 0)
		return ERR_IO;
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return ERR_OK;
}

static enum err uring_attach(struct disk *base)
{
	static const unsigned tries[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	struct uring_disk *d = uring_of(base);
	CHECK(!d->attached);
	d->attached = true;
	d->sync_mode = true;
	for (unsigned i = 0; i < ARRAY_LEN(tries) && d->sync_mode; i++)
		d->sync_mode = io_uring_queue_init(RING_ENTRIES, &d->ring, tries[i]) != 0;
	if (d->sync_mode)
		log_warn("store: io_uring is not available, disk I/O is done one request at a time");
	return ERR_OK;
}

static void push_done(struct uring_disk *d, struct disk_req *r)
{
	r->next = NULL;
	*d->done_tail = r;
	d->done_tail = &r->next;
}

static struct io_uring_sqe *sqe_get(struct uring_disk *d)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring);
	while (!sqe) {
		(void)io_uring_submit(&d->ring);
		sqe = io_uring_get_sqe(&d->ring);
	}
	return sqe;
}

static void arm_wake(struct uring_disk *d)
{
	struct io_uring_sqe *sqe = sqe_get(d);
	io_uring_prep_read(sqe, d->event, &d->wake_value, sizeof(d->wake_value), 0);
	io_uring_sqe_set_data(sqe, NULL);
	d->wake_armed = true;
}

static void submit_now(struct uring_disk *d, struct disk_req *r)
{
	if (r->verb == DISK_READ)
		r->err = uring_read(&d->base, r->file, r->off, r->buf, r->len);
	else
		r->err = write_all(fd_of(r->file), r->off, r->buf, r->len,
				   r->verb == DISK_WRITE_SYNC ? RWF_DSYNC : 0);
	push_done(d, r);
}

static void uring_submit(struct disk *base, struct disk_req *r)
{
	struct uring_disk *d = uring_of(base);
	if (d->sync_mode) {
		submit_now(d, r);
		return;
	}
	struct io_uring_sqe *sqe = sqe_get(d);
	if (r->verb == DISK_READ) {
		io_uring_prep_read(sqe, fd_of(r->file), r->buf, r->len, r->off);
	} else {
		io_uring_prep_write(sqe, fd_of(r->file), r->buf, r->len, r->off);
		sqe->rw_flags = r->verb == DISK_WRITE_SYNC ? RWF_DSYNC : 0;
	}
	io_uring_sqe_set_data(sqe, r);
}

/* Moves completions from the ring to the done list. */
static void reap(struct uring_disk *d)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;
	io_uring_for_each_cqe(&d->ring, head, cqe) {
		struct disk_req *r = io_uring_cqe_get_data(cqe);
		n++;
		if (!r) {
			d->wake_armed = false;
			continue;
		}
		r->err = cqe->res < 0 ? err_of(-cqe->res) : (uint32_t)cqe->res == r->len ? ERR_OK : ERR_IO;
		push_done(d, r);
	}
	io_uring_cq_advance(&d->ring, n);
}

/* Is a system call worth it: something to submit, or completions that the kernel has yet to put into the ring? */
static bool kernel_has_work(struct uring_disk *d)
{
	unsigned flags = __atomic_load_n(d->ring.sq.kflags, __ATOMIC_RELAXED);
	return io_uring_sq_ready(&d->ring) > 0 || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static unsigned uring_poll(struct disk *base, struct disk_req **out, unsigned max)
{
	struct uring_disk *d = uring_of(base);
	if (!d->sync_mode && !d->done) {
		if (kernel_has_work(d))
			(void)io_uring_submit_and_get_events(&d->ring);
		reap(d);
	}
	unsigned n = 0;
	while (n < max && d->done) {
		out[n++] = d->done;
		d->done = d->done->next;
	}
	if (!d->done)
		d->done_tail = &d->done;
	return n;
}

static void uring_wait(struct disk *base, uint64_t timeout_us)
{
	struct uring_disk *d = uring_of(base);
	if (d->done)
		return;
	if (d->sync_mode) {
		struct pollfd p = {d->event, POLLIN, 0};
		if (poll(&p, 1, (int)(timeout_us / 1000 + 1)) == 1)
			(void)!read(d->event, &d->wake_value, sizeof(d->wake_value));
		return;
	}
	if (!d->wake_armed)
		arm_wake(d);
	struct __kernel_timespec ts = {(long long)(timeout_us / 1000000), (long long)(timeout_us % 1000000) * 1000};
	struct io_uring_cqe *cqe;
	(void)io_uring_submit_and_wait_timeout(&d->ring, &cqe, 1, &ts, NULL);
	reap(d);
}

static void uring_wake(struct disk *d)
{
	uint64_t one = 1;
	(void)!write(uring_of(d)->event, &one, sizeof(one));
}

const struct disk_ops disk_uring_ops = {
	.name = "io_uring",
	.open = uring_open,
	.close = uring_close,
	.list = uring_list,
	.file_open = uring_file_open,
	.file_close = uring_file_close,
	.read = uring_read,
	.write = uring_write,
	.sync = uring_sync,
	.rename = uring_rename,
	.unlink = uring_unlink,
	.sync_dir = uring_sync_dir,
	.space = uring_space,
	.attach = uring_attach,
	.submit = uring_submit,
	.poll = uring_poll,
	.wait = uring_wait,
	.wake = uring_wake,
};
