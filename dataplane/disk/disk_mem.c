/*
 * disk_mem.c: a disk in memory. Requests are done when they are submitted and come back in order.
 *
 * The contents (struct disk_mem) belong to the caller, so that a test can close a store, spoil a byte and
 * open it again. One mutex, because the blocking half may run on helper threads. Files that are open
 * when they are unlinked keep their bytes until they are closed.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "check.h"
#include "disk_mem.h"

struct mem_node {
	char name[DISK_NAME_MAX + 1]; /* empty: unlinked */
	uint8_t *p;
	uint64_t size, cap;
	unsigned opens;
	struct mem_node *next;
};

struct disk_mem {
	pthread_mutex_t lock;
	struct mem_node *head;
	uint64_t capacity, used;
	bool locked; /* by a store */
};

struct mem_disk {
	struct disk base;
	struct disk_mem *m;
	struct disk_req *done, **done_tail;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
};

struct mem_file {
	struct disk_file base;
	struct mem_node *node;
};

static void mem_copy_name(char dst[DISK_NAME_MAX + 1], const char *name)
{
	CHECK(strlen(name) <= DISK_NAME_MAX);
	memset(dst, 0, DISK_NAME_MAX + 1);
	memcpy(dst, name, strlen(name));
}

static struct mem_node *mem_find(struct disk_mem *m, const char *name)
{
	for (struct mem_node *n = m->head; n; n = n->next) {
		if (n->name[0] != '\0' && strcmp(n->name, name) == 0)
			return n;
	}
	return NULL;
}

static struct mem_node *mem_make(struct disk_mem *m, const char *name)
{
	struct mem_node *n = calloc(1, sizeof(*n));
	CHECK(n);
	mem_copy_name(n->name, name);
	struct mem_node **at = &m->head;
	while (*at)
		at = &(*at)->next;
	*at = n;
	return n;
}

/* Frees a node that has neither a name nor an opener. */
static void mem_drop(struct disk_mem *m, struct mem_node *n)
{
	if (n->name[0] != '\0' || n->opens > 0)
		return;
	struct mem_node **at = &m->head;
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	m->used -= n->size;
	free(n->p);
	free(n);
}

struct disk_mem *disk_mem_create(void)
{
	struct disk_mem *m = calloc(1, sizeof(*m));
	CHECK(m && pthread_mutex_init(&m->lock, NULL) == 0);
	return m;
}

void disk_mem_destroy(struct disk_mem **mp)
{
	struct disk_mem *m = *mp;
	if (!m)
		return;
	while (m->head) {
		struct mem_node *n = m->head;
		m->head = n->next;
		free(n->p);
		free(n);
	}
	pthread_mutex_destroy(&m->lock);
	free(m);
	*mp = NULL;
}

void disk_mem_set_capacity(struct disk_mem *m, uint64_t bytes)
{
	m->capacity = bytes;
}

uint8_t *disk_mem_bytes(struct disk_mem *m, const char *name, uint64_t *size)
{
	struct mem_node *n = mem_find(m, name);
	*size = n ? n->size : 0;
	return n ? n->p : NULL;
}

static enum err mem_resize(struct disk_mem *m, struct mem_node *n, uint64_t size)
{
	if (m->capacity && size > n->size && m->used + (size - n->size) > m->capacity)
		return ERR_NO_SPACE;
	if (size > n->cap) {
		n->cap = size + size / 4;
		n->p = realloc(n->p, n->cap);
		CHECK(n->p);
	}
	if (size > n->size)
		memset(n->p + n->size, 0, size - n->size);
	m->used = m->used - n->size + size;
	n->size = size;
	return ERR_OK;
}

void disk_mem_put(struct disk_mem *m, const char *name, const void *p, uint64_t size)
{
	struct mem_node *n = mem_find(m, name);
	if (!n)
		n = mem_make(m, name);
	uint64_t cap = m->capacity;
	m->capacity = 0;
	CHECK(mem_resize(m, n, size) == ERR_OK);
	m->capacity = cap;
	if (size)
		memcpy(n->p, p, size);
}

void disk_mem_each(struct disk_mem *m, void (*fn)(void *arg, const char *name, uint64_t size), void *arg)
{
	for (struct mem_node *n = m->head; n; n = n->next) {
		if (n->name[0] != '\0')
			fn(arg, n->name, n->size);
	}
}

static struct disk_mem *mem_of(struct disk *d)
{
	return ((struct mem_disk *)d)->m;
}

static enum err mem_open(struct disk **out, const char *path, void *arg, char *why, size_t why_size)
{
	struct disk_mem *m = arg;
	if (m->locked) {
		(void)snprintf(why, why_size, "%s: in use by another store", path);
		return ERR_BUSY;
	}
	struct mem_disk *d = calloc(1, sizeof(*d));
	CHECK(d && pthread_mutex_init(&d->lock, NULL) == 0 && pthread_cond_init(&d->cond, NULL) == 0);
	d->base.ops = &disk_mem_ops;
	d->m = m;
	d->done_tail = &d->done;
	m->locked = true;
	*out = &d->base;
	return ERR_OK;
}

static void mem_close(struct disk **dp)
{
	struct mem_disk *d = (struct mem_disk *)*dp;
	d->m->locked = false;
	pthread_cond_destroy(&d->cond);
	pthread_mutex_destroy(&d->lock);
	free(d);
	*dp = NULL;
}

static enum err mem_list(struct disk *d, void (*fn)(void *, const char *, uint64_t), void *arg)
{
	disk_mem_each(mem_of(d), fn, arg);
	return ERR_OK;
}

static enum err mem_file_open(struct disk *d, const char *name, unsigned flags, struct disk_file **out)
{
	struct disk_mem *m = mem_of(d);
	pthread_mutex_lock(&m->lock);
	struct mem_node *n = mem_find(m, name);
	if (!n && (flags & DISK_CREATE))
		n = mem_make(m, name);
	if (n) {
		struct mem_file *f = calloc(1, sizeof(*f));
		CHECK(f);
		mem_copy_name(f->base.name, name);
		f->base.size = n->size;
		f->node = n;
		n->opens++;
		*out = &f->base;
	}
	pthread_mutex_unlock(&m->lock);
	return n ? ERR_OK : ERR_NOT_FOUND;
}

static void mem_file_close(struct disk *d, struct disk_file **fp)
{
	struct disk_mem *m = mem_of(d);
	struct mem_file *f = (struct mem_file *)*fp;
	pthread_mutex_lock(&m->lock);
	f->node->opens--;
	mem_drop(m, f->node);
	pthread_mutex_unlock(&m->lock);
	free(f);
	*fp = NULL;
}

static enum err mem_read(struct disk *d, struct disk_file *f, uint64_t off, void *buf, size_t len)
{
	struct disk_mem *m = mem_of(d);
	struct mem_node *n = ((struct mem_file *)f)->node;
	pthread_mutex_lock(&m->lock);
	bool ok = off <= n->size && len <= n->size - off;
	if (ok && len)
		memcpy(buf, n->p + off, len);
	pthread_mutex_unlock(&m->lock);
	return ok ? ERR_OK : ERR_IO;
}

static enum err mem_write(struct disk *d, struct disk_file *f, uint64_t off, const void *buf, size_t len)
{
	struct disk_mem *m = mem_of(d);
	struct mem_node *n = ((struct mem_file *)f)->node;
	enum err e = ERR_OK;
	pthread_mutex_lock(&m->lock);
	if (off + len > n->size)
		e = mem_resize(m, n, off + len);
	if (e == ERR_OK && len)
		memcpy(n->p + off, buf, len);
	pthread_mutex_unlock(&m->lock);
	return e;
}

static enum err mem_sync(struct disk *d, struct disk_file *f)
{
	return ERR_OK;
}

static enum err mem_unlink(struct disk *d, const char *name)
{
	struct disk_mem *m = mem_of(d);
	pthread_mutex_lock(&m->lock);
	struct mem_node *n = mem_find(m, name);
	if (n) {
		n->name[0] = '\0';
		mem_drop(m, n);
	}
	pthread_mutex_unlock(&m->lock);
	return ERR_OK;
}

static enum err mem_rename(struct disk *d, const char *from, const char *to)
{
	struct disk_mem *m = mem_of(d);
	(void)mem_unlink(d, to);
	pthread_mutex_lock(&m->lock);
	struct mem_node *n = mem_find(m, from);
	if (n)
		mem_copy_name(n->name, to);
	pthread_mutex_unlock(&m->lock);
	return n ? ERR_OK : ERR_NOT_FOUND;
}

static enum err mem_sync_dir(struct disk *d)
{
	return ERR_OK;
}

static enum err mem_space(struct disk *d, uint64_t *free_bytes)
{
	struct disk_mem *m = mem_of(d);
	*free_bytes = m->capacity == 0 ? UINT64_MAX / 2 : m->capacity > m->used ? m->capacity - m->used : 0;
	return ERR_OK;
}

static enum err mem_attach(struct disk *d)
{
	return ERR_OK;
}

static void mem_submit(struct disk *base, struct disk_req *r)
{
	struct mem_disk *d = (struct mem_disk *)base;
	r->err = r->verb == DISK_READ ? mem_read(base, r->file, r->off, r->buf, r->len)
				      : mem_write(base, r->file, r->off, r->buf, r->len);
	r->next = NULL;
	*d->done_tail = r;
	d->done_tail = &r->next;
}

static unsigned mem_poll(struct disk *base, struct disk_req **out, unsigned max)
{
	struct mem_disk *d = (struct mem_disk *)base;
	unsigned n = 0;
	while (n < max && d->done) {
		out[n++] = d->done;
		d->done = d->done->next;
	}
	if (!d->done)
		d->done_tail = &d->done;
	return n;
}

static void mem_wait(struct disk *base, uint64_t timeout_us)
{
	struct mem_disk *d = (struct mem_disk *)base;
	struct timespec ts;
	if (d->done)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	uint64_t ns = (uint64_t)ts.tv_nsec + timeout_us % 1000000 * 1000;
	ts.tv_sec += (time_t)(timeout_us / 1000000 + ns / 1000000000);
	ts.tv_nsec = (long)(ns % 1000000000);
	pthread_mutex_lock(&d->lock);
	while (!d->woken && pthread_cond_timedwait(&d->cond, &d->lock, &ts) == 0)
		;
	d->woken = false;
	pthread_mutex_unlock(&d->lock);
}

static void mem_wake(struct disk *base)
{
	struct mem_disk *d = (struct mem_disk *)base;
	pthread_mutex_lock(&d->lock);
	d->woken = true;
	pthread_cond_signal(&d->cond);
	pthread_mutex_unlock(&d->lock);
}

const struct disk_ops disk_mem_ops = {
	.name = "memory",
	.open = mem_open,
	.close = mem_close,
	.list = mem_list,
	.file_open = mem_file_open,
	.file_close = mem_file_close,
	.read = mem_read,
	.write = mem_write,
	.sync = mem_sync,
	.rename = mem_rename,
	.unlink = mem_unlink,
	.sync_dir = mem_sync_dir,
	.space = mem_space,
	.attach = mem_attach,
	.submit = mem_submit,
	.poll = mem_poll,
	.wait = mem_wait,
	.wake = mem_wake,
};
