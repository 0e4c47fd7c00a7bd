/*
 * disk_faulty.c: a disk that loses what was not synced, when it is told to.
 *
 * Every call goes through to a memory disk and, while recording, into a list of events: write (with its
 * bytes), stable (of one file, or of one write), create, rename, unlink, sync_dir. A cut replays the events
 * into two sets: what is stable, and what is pending; an image is the stable set plus a choice of pending
 * writes. Harsher than a real disk in two ways: a synced write makes only itself stable, and pending
 * changes of names may be cut anywhere in their order. Files are known by a number, names point to them.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "disk_faulty.h"
#include "rand.h"

enum event_kind { EV_CREATE, EV_WRITE, EV_STABLE_WRITE, EV_SYNC, EV_RENAME, EV_UNLINK, EV_SYNC_DIR };

struct event {
	enum event_kind kind;
	uint32_t file;                  /* number */
	uint64_t off, len, write;       /* write: index of the event that EV_STABLE_WRITE makes stable */
	uint8_t *data;
	char name[DISK_NAME_MAX + 1], to[DISK_NAME_MAX + 1];
};

struct base_file { /* as it was when recording began */
	char name[DISK_NAME_MAX + 1];
	uint32_t file;
};

struct disk_faulty {
	pthread_mutex_t lock;
	struct disk_mem *m;
	struct rnd rnd;
	bool recording, reorder, lying;
	struct event *ev;
	uint64_t n_ev, cap_ev;
	struct base_file *name; /* current names */
	uint32_t n_name, next_file;
	struct event *base;     /* files of the beginning, as writes */
	uint32_t n_base;
	uint64_t calls[4];
	unsigned fail_kinds;
	uint64_t fail_in, fail_count;
	enum err fail_err;
};

struct faulty_disk {
	struct disk base;
	struct disk_faulty *f;
	struct disk *under;
	struct disk_req **flight;
	unsigned n_flight, cap_flight;
};

struct faulty_file {
	struct disk_file base;
	struct disk_file *under;
	uint32_t file;
};

static void *grow(void *p, uint64_t n, uint64_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 64;
	p = realloc(p, *cap * size);
	CHECK(p);
	return p;
}

struct disk_faulty *disk_faulty_create(struct disk_mem *m, uint64_t seed)
{
	struct disk_faulty *f = calloc(1, sizeof(*f));
	CHECK(f && pthread_mutex_init(&f->lock, NULL) == 0);
	f->m = m;
	f->reorder = true;
	rnd_seed(&f->rnd, seed);
	return f;
}

static void events_free(struct event *ev, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		free(ev[i].data);
	free(ev);
}

void disk_faulty_destroy(struct disk_faulty **fp)
{
	struct disk_faulty *f = *fp;
	if (!f)
		return;
	events_free(f->ev, f->n_ev);
	events_free(f->base, f->n_base);
	free(f->name);
	pthread_mutex_destroy(&f->lock);
	free(f);
	*fp = NULL;
}

void disk_faulty_set_reorder(struct disk_faulty *f, bool on)
{
	f->reorder = on;
}

void disk_faulty_set_lying(struct disk_faulty *f, bool on)
{
	f->lying = on;
}

void disk_faulty_fail(struct disk_faulty *f, unsigned kinds, uint64_t nth, uint64_t count, enum err err)
{
	f->fail_kinds = kinds;
	f->fail_in = nth;
	f->fail_count = count;
	f->fail_err = err;
}

uint64_t disk_faulty_calls(const struct disk_faulty *f, unsigned kinds)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < 4; i++) {
		if (kinds & (1u << i))
			n += f->calls[i];
	}
	return n;
}

/* Counts the call; says whether it is to fail. Locked. */
static enum err call(struct disk_faulty *f, enum disk_fault kind)
{
	f->calls[__builtin_ctz(kind)]++;
	if (!(f->fail_kinds & kind) || f->fail_in == 0)
		return ERR_OK;
	if (f->fail_in > 1) {
		f->fail_in--;
		return ERR_OK;
	}
	if (f->fail_count-- > 1)
		return f->fail_err;
	f->fail_in = 0;
	return f->fail_err;
}

static struct event *event_add(struct disk_faulty *f, enum event_kind kind, uint32_t file)
{
	f->ev = grow(f->ev, f->n_ev, &f->cap_ev, sizeof(*f->ev));
	struct event *e = &f->ev[f->n_ev++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->file = file;
	return e;
}

static uint64_t event_write(struct disk_faulty *f, uint32_t file, uint64_t off, const void *p, uint64_t len)
{
	struct event *e = event_add(f, EV_WRITE, file);
	e->off = off;
	e->len = len;
	e->data = malloc(len ? len : 1);
	CHECK(e->data);
	memcpy(e->data, p, len);
	return f->n_ev - 1;
}

static struct base_file *name_find(struct disk_faulty *f, const char *name)
{
	for (uint32_t i = 0; i < f->n_name; i++) {
		if (strcmp(f->name[i].name, name) == 0)
			return &f->name[i];
	}
	return NULL;
}

static struct base_file *name_add(struct disk_faulty *f, const char *name)
{
	f->name = realloc(f->name, (f->n_name + 1) * sizeof(*f->name));
	CHECK(f->name && strlen(name) <= DISK_NAME_MAX);
	struct base_file *b = &f->name[f->n_name++];
	memset(b, 0, sizeof(*b));
	memcpy(b->name, name, strlen(name));
	b->file = f->next_file++;
	return b;
}

static void name_del(struct disk_faulty *f, const char *name)
{
	struct base_file *b = name_find(f, name);
	if (b)
		*b = f->name[--f->n_name];
}

static void record_base(void *arg, const char *name, uint64_t size)
{
	struct disk_faulty *f = arg;
	struct base_file *b = name_find(f, name);
	if (!b)
		b = name_add(f, name);
	uint64_t len;
	const uint8_t *p = disk_mem_bytes(f->m, name, &len);
	f->base = realloc(f->base, (f->n_base + 1) * sizeof(*f->base));
	CHECK(f->base);
	struct event *e = &f->base[f->n_base++];
	memset(e, 0, sizeof(*e));
	e->file = b->file;
	e->len = size;
	memcpy(e->name, name, strlen(name));
	e->data = malloc(size ? size : 1);
	CHECK(e->data);
	if (size)
		memcpy(e->data, p, size);
}

void disk_faulty_record(struct disk_faulty *f)
{
	CHECK(!f->recording);
	f->recording = true;
	disk_mem_each(f->m, record_base, f);
}

uint64_t disk_faulty_events(const struct disk_faulty *f)
{
	return f->n_ev;
}

/* ---- the table ---- */

static struct disk_faulty *faulty_of(struct disk *d)
{
	return ((struct faulty_disk *)d)->f;
}

static struct disk *under(struct disk *d)
{
	return ((struct faulty_disk *)d)->under;
}

static enum err faulty_open(struct disk **out, const char *path, void *arg, char *why, size_t why_size)
{
	struct disk_faulty *f = arg;
	struct disk *u;
	enum err e = disk_mem_ops.open(&u, path, f->m, why, why_size);
	if (e != ERR_OK)
		return e;
	struct faulty_disk *d = calloc(1, sizeof(*d));
	CHECK(d);
	d->base.ops = &disk_faulty_ops;
	d->f = f;
	d->under = u;
	*out = &d->base;
	return ERR_OK;
}

static void faulty_close(struct disk **dp)
{
	struct faulty_disk *d = (struct faulty_disk *)*dp;
	disk_mem_ops.close(&d->under);
	free(d->flight);
	free(d);
	*dp = NULL;
}

static enum err faulty_list(struct disk *d, void (*fn)(void *, const char *, uint64_t), void *arg)
{
	return disk_mem_ops.list(under(d), fn, arg);
}

static enum err faulty_file_open(struct disk *d, const char *name, unsigned flags, struct disk_file **out)
{
	struct disk_faulty *f = faulty_of(d);
	uint64_t size;
	pthread_mutex_lock(&f->lock);
	struct base_file *b = name_find(f, name);
	bool made = false;
	enum err e = ERR_OK;
	if (!b || !disk_mem_bytes(f->m, name, &size)) {
		made = (flags & DISK_CREATE) && !b;
		e = made ? call(f, DISK_FAULT_NAME) : ERR_OK;
	}
	struct disk_file *u = NULL;
	if (e == ERR_OK)
		e = disk_mem_ops.file_open(under(d), name, flags, &u);
	if (e == ERR_OK) {
		if (!b)
			b = name_add(f, name);
		if (made && f->recording) {
			struct event *ev = event_add(f, EV_CREATE, b->file);
			memcpy(ev->name, b->name, sizeof(ev->name));
		}
		struct faulty_file *ff = calloc(1, sizeof(*ff));
		CHECK(ff);
		ff->base = *u;
		ff->under = u;
		ff->file = b->file;
		*out = &ff->base;
	}
	pthread_mutex_unlock(&f->lock);
	return e;
}

static void faulty_file_close(struct disk *d, struct disk_file **fp)
{
	struct faulty_file *f = (struct faulty_file *)*fp;
	disk_mem_ops.file_close(under(d), &f->under);
	free(f);
	*fp = NULL;
}

static enum err faulty_read(struct disk *d, struct disk_file *ff, uint64_t off, void *buf, size_t len)
{
	struct disk_faulty *f = faulty_of(d);
	pthread_mutex_lock(&f->lock);
	enum err e = call(f, DISK_FAULT_READ);
	pthread_mutex_unlock(&f->lock);
	return e == ERR_OK ? disk_mem_ops.read(under(d), ((struct faulty_file *)ff)->under, off, buf, len) : e;
}

/* Returns the event's index + 1 through *event when it was recorded. */
static enum err write_event(struct disk *d, struct disk_file *ff, uint64_t off, const void *buf, size_t len,
			    uint64_t *event)
{
	struct disk_faulty *f = faulty_of(d);
	struct faulty_file *file = (struct faulty_file *)ff;
	*event = 0;
	pthread_mutex_lock(&f->lock);
	enum err e = call(f, DISK_FAULT_WRITE);
	if (e != ERR_OK)
		len = len / 2 / 512 * 512;
	enum err w = disk_mem_ops.write(under(d), file->under, off, buf, len);
	if (f->recording && w == ERR_OK)
		*event = event_write(f, file->file, off, buf, len) + 1;
	pthread_mutex_unlock(&f->lock);
	return e != ERR_OK ? e : w;
}

static enum err faulty_write(struct disk *d, struct disk_file *f, uint64_t off, const void *buf, size_t len)
{
	uint64_t event;
	return write_event(d, f, off, buf, len, &event);
}

static enum err faulty_sync(struct disk *d, struct disk_file *ff)
{
	struct disk_faulty *f = faulty_of(d);
	pthread_mutex_lock(&f->lock);
	enum err e = call(f, DISK_FAULT_SYNC);
	if (e == ERR_OK && f->recording && !f->lying)
		(void)event_add(f, EV_SYNC, ((struct faulty_file *)ff)->file);
	pthread_mutex_unlock(&f->lock);
	return e;
}

static enum err faulty_rename(struct disk *d, const char *from, const char *to)
{
	struct disk_faulty *f = faulty_of(d);
	pthread_mutex_lock(&f->lock);
	enum err e = call(f, DISK_FAULT_NAME);
	if (e == ERR_OK)
		e = disk_mem_ops.rename(under(d), from, to);
	if (e == ERR_OK) {
		name_del(f, to);
		struct base_file *b = name_find(f, from);
		CHECK(b);
		memset(b->name, 0, sizeof(b->name));
		memcpy(b->name, to, strlen(to));
		if (f->recording) {
			struct event *ev = event_add(f, EV_RENAME, b->file);
			memcpy(ev->name, from, strlen(from));
			memcpy(ev->to, to, strlen(to));
		}
	}
	pthread_mutex_unlock(&f->lock);
	return e;
}

static enum err faulty_unlink(struct disk *d, const char *name)
{
	struct disk_faulty *f = faulty_of(d);
	pthread_mutex_lock(&f->lock);
	struct base_file *b = name_find(f, name);
	enum err e = b ? call(f, DISK_FAULT_NAME) : ERR_OK;
	if (b && e == ERR_OK) {
		e = disk_mem_ops.unlink(under(d), name);
		if (f->recording) {
			struct event *ev = event_add(f, EV_UNLINK, b->file);
			memcpy(ev->name, name, strlen(name));
		}
		name_del(f, name);
	}
	pthread_mutex_unlock(&f->lock);
	return e;
}

static enum err faulty_sync_dir(struct disk *d)
{
	struct disk_faulty *f = faulty_of(d);
	pthread_mutex_lock(&f->lock);
	enum err e = call(f, DISK_FAULT_SYNC);
	if (e == ERR_OK && f->recording)
		(void)event_add(f, EV_SYNC_DIR, 0);
	pthread_mutex_unlock(&f->lock);
	return e;
}

static enum err faulty_space(struct disk *d, uint64_t *free_bytes)
{
	return disk_mem_ops.space(under(d), free_bytes);
}

static enum err faulty_attach(struct disk *d)
{
	return ERR_OK;
}

static void faulty_submit(struct disk *base, struct disk_req *r)
{
	struct faulty_disk *d = (struct faulty_disk *)base;
	if (r->verb == DISK_READ) {
		r->priv = 0;
		r->err = faulty_read(base, r->file, r->off, r->buf, r->len);
	} else {
		r->err = write_event(base, r->file, r->off, r->buf, r->len, &r->priv);
	}
	uint64_t cap = d->cap_flight;
	d->flight = grow(d->flight, d->n_flight, &cap, sizeof(struct disk_req *));
	d->cap_flight = (unsigned)cap;
	d->flight[d->n_flight++] = r;
}

static unsigned faulty_poll(struct disk *base, struct disk_req **out, unsigned max)
{
	struct faulty_disk *d = (struct faulty_disk *)base;
	struct disk_faulty *f = d->f;
	unsigned n = 0;
	while (n < max && d->n_flight > 0) {
		unsigned i = 0;
		if (f->reorder) {
			if (rnd_below(&f->rnd, 3) == 0)
				break;
			i = rnd_below(&f->rnd, d->n_flight);
		}
		struct disk_req *r = d->flight[i];
		memmove(&d->flight[i], &d->flight[i + 1], (--d->n_flight - i) * sizeof(struct disk_req *));
		if (r->verb == DISK_WRITE_SYNC && r->err == ERR_OK && r->priv && !f->lying) {
			pthread_mutex_lock(&f->lock);
			event_add(f, EV_STABLE_WRITE, ((struct faulty_file *)r->file)->file)->write = r->priv - 1;
			pthread_mutex_unlock(&f->lock);
		}
		out[n++] = r;
	}
	return n;
}

static void faulty_wait(struct disk *base, uint64_t timeout_us)
{
	struct faulty_disk *d = (struct faulty_disk *)base;
	if (d->n_flight == 0)
		disk_mem_ops.wait(d->under, timeout_us);
}

static void faulty_wake(struct disk *d)
{
	disk_mem_ops.wake(under(d));
}

const struct disk_ops disk_faulty_ops = {
	.name = "faulty",
	.open = faulty_open,
	.close = faulty_close,
	.list = faulty_list,
	.file_open = faulty_file_open,
	.file_close = faulty_file_close,
	.read = faulty_read,
	.write = faulty_write,
	.sync = faulty_sync,
	.rename = faulty_rename,
	.unlink = faulty_unlink,
	.sync_dir = faulty_sync_dir,
	.space = faulty_space,
	.attach = faulty_attach,
	.submit = faulty_submit,
	.poll = faulty_poll,
	.wait = faulty_wait,
	.wake = faulty_wake,
};

/* ---- cutting the power ---- */

struct cut_file {
	uint8_t *p;
	uint64_t size;
};

struct disk_cut {
	struct disk_faulty *f;
	uint64_t at;
	struct cut_file *file; /* stable contents by number */
	uint32_t n_file;
	struct base_file *name; /* stable names */
	uint32_t n_name;
	uint64_t *pend, *dir_pend; /* events not yet stable: writes; names */
	uint64_t n_pend, cap_pend, n_dir, cap_dir;
};

static void cut_write(struct cut_file *f, const struct event *e, uint64_t from, uint64_t len)
{
	uint64_t end = e->off + from + len;
	if (end > f->size) {
		f->p = realloc(f->p, end);
		CHECK(f->p);
		memset(f->p + f->size, 0, end - f->size);
		f->size = end;
	}
	if (len)
		memcpy(f->p + e->off + from, e->data + from, len);
}

static void cut_name_del(struct disk_cut *c, const char *name)
{
	for (uint32_t i = 0; i < c->n_name; i++) {
		if (strcmp(c->name[i].name, name) == 0) {
			c->name[i] = c->name[--c->n_name];
			return;
		}
	}
}

static void cut_name_put(struct disk_cut *c, const char *name, uint32_t file)
{
	cut_name_del(c, name);
	c->name = realloc(c->name, (c->n_name + 1) * sizeof(*c->name));
	CHECK(c->name);
	struct base_file *b = &c->name[c->n_name++];
	memset(b, 0, sizeof(*b));
	memcpy(b->name, name, strlen(name));
	b->file = file;
}

static void cut_apply_name(struct disk_cut *c, const struct event *e)
{
	cut_name_del(c, e->name);
	if (e->kind != EV_UNLINK)
		cut_name_put(c, e->kind == EV_CREATE ? e->name : e->to, e->file);
}

struct disk_cut *disk_cut_begin(struct disk_faulty *f)
{
	struct disk_cut *c = calloc(1, sizeof(*c));
	CHECK(c && f->recording);
	c->f = f;
	c->n_file = f->next_file;
	c->file = calloc(c->n_file ? c->n_file : 1, sizeof(*c->file));
	CHECK(c->file);
	for (uint32_t i = 0; i < f->n_base; i++) {
		cut_write(&c->file[f->base[i].file], &f->base[i], 0, f->base[i].len);
		cut_name_put(c, f->base[i].name, f->base[i].file);
	}
	return c;
}

/* Makes pending writes stable: all of a file, or one. */
static void cut_settle(struct disk_cut *c, uint32_t file, bool one, uint64_t write)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < c->n_pend; i++) {
		const struct event *e = &c->f->ev[c->pend[i]];
		if (e->file == file && (!one || c->pend[i] == write))
			cut_write(&c->file[file], e, 0, e->len);
		else
			c->pend[n++] = c->pend[i];
	}
	c->n_pend = n;
}

void disk_cut_advance(struct disk_cut *c, uint64_t event)
{
	for (; c->at < event && c->at < c->f->n_ev; c->at++) {
		const struct event *e = &c->f->ev[c->at];
		switch (e->kind) {
		case EV_WRITE:
			c->pend = grow(c->pend, c->n_pend, &c->cap_pend, sizeof(*c->pend));
			c->pend[c->n_pend++] = c->at;
			break;
		case EV_SYNC:
			cut_settle(c, e->file, false, 0);
			break;
		case EV_STABLE_WRITE:
			cut_settle(c, e->file, true, e->write);
			break;
		case EV_SYNC_DIR:
			for (uint64_t i = 0; i < c->n_dir; i++)
				cut_apply_name(c, &c->f->ev[c->dir_pend[i]]);
			c->n_dir = 0;
			break;
		case EV_CREATE:
		case EV_RENAME:
		case EV_UNLINK:
			c->dir_pend = grow(c->dir_pend, c->n_dir, &c->cap_dir, sizeof(*c->dir_pend));
			c->dir_pend[c->n_dir++] = c->at;
			break;
		}
	}
}

/* One pending write on its way into an image. */
static void image_write(struct cut_file *f, const struct event *e, enum disk_cut_mode mode, struct rnd *r)
{
	if (mode == DISK_CUT_DROP || (mode == DISK_CUT_REORDER && rnd_below(r, 2)))
		return;
	if (mode != DISK_CUT_TORN) {
		cut_write(f, e, 0, e->len);
		return;
	}
	uint32_t keep = rnd_below(r, 5); /* none, a prefix, or sectors by chance */
	uint64_t stop = keep == 0 ? 0 : keep < 3 ? rnd_u64(r) % (e->len + 1) / 512 * 512 : e->len;
	for (uint64_t off = 0; off < stop; off += 512) {
		uint64_t len = e->len - off < 512 ? e->len - off : 512;
		if (keep < 3 || rnd_below(r, 4))
			cut_write(f, e, off, len);
	}
}

struct disk_mem *disk_cut_image(struct disk_cut *c, enum disk_cut_mode mode, uint64_t seed)
{
	struct rnd r;
	rnd_seed(&r, seed);
	struct disk_cut im = {.f = c->f, .n_file = c->n_file};
	im.file = calloc(c->n_file ? c->n_file : 1, sizeof(*im.file));
	CHECK(im.file);
	for (uint32_t i = 0; i < c->n_file; i++) {
		im.file[i].size = c->file[i].size;
		im.file[i].p = malloc(c->file[i].size ? c->file[i].size : 1);
		CHECK(im.file[i].p);
		if (c->file[i].size)
			memcpy(im.file[i].p, c->file[i].p, c->file[i].size);
	}
	for (uint64_t i = 0; i < c->n_pend; i++) {
		const struct event *e = &c->f->ev[c->pend[i]];
		image_write(&im.file[e->file], e, mode, &r);
	}
	for (uint32_t i = 0; i < c->n_name; i++)
		cut_name_put(&im, c->name[i].name, c->name[i].file);
	uint64_t n_dir = mode == DISK_CUT_KEEP ? c->n_dir
			 : mode == DISK_CUT_DROP ? 0
						 : rnd_below(&r, (uint32_t)c->n_dir + 1);
	for (uint64_t i = 0; i < n_dir; i++)
		cut_apply_name(&im, &c->f->ev[c->dir_pend[i]]);

	struct disk_mem *m = disk_mem_create();
	for (uint32_t i = 0; i < im.n_name; i++)
		disk_mem_put(m, im.name[i].name, im.file[im.name[i].file].p, im.file[im.name[i].file].size);
	for (uint32_t i = 0; i < im.n_file; i++)
		free(im.file[i].p);
	free(im.file);
	free(im.name);
	return m;
}

void disk_cut_end(struct disk_cut **cp)
{
	struct disk_cut *c = *cp;
	for (uint32_t i = 0; i < c->n_file; i++)
		free(c->file[i].p);
	free(c->file);
	free(c->name);
	free(c->pend);
	free(c->dir_pend);
	free(c);
	*cp = NULL;
}
