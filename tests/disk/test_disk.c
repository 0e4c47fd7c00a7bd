/*
 * test_disk.c: the table's promises on every disk: files, names, requests in any order, waking; and what the
 * faulty disk loses at a cut.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "clock.h"
#include "disk_faulty.h"

struct any {
	const char *name;
	struct disk_mem *mem;
	struct disk_faulty *faulty;
	struct disk *d;
	char path[64];
};

static const char *const names[] = {"mem", "faulty", "uring", "uring on tmpfs"};

static void any_open(struct any *a, unsigned i)
{
	char why[200] = "";
	*a = (struct any){.name = names[i]};
	enum err e;
	if (i < 2) {
		a->mem = disk_mem_create();
		a->faulty = disk_faulty_create(a->mem, 1);
		e = i ? disk_faulty_ops.open(&a->d, "x", a->faulty, why, sizeof(why))
		      : disk_mem_ops.open(&a->d, "x", a->mem, why, sizeof(why));
	} else {
		(void)snprintf(a->path, sizeof(a->path), "%s/veredus-disk-XXXXXX", i == 2 ? "/tmp" : "/dev/shm");
		cr_assert_not_null(mkdtemp(a->path));
		e = disk_uring_ops.open(&a->d, a->path, NULL, why, sizeof(why));
	}
	cr_assert_eq(e, ERR_OK, "%s: %s", a->name, why);
	cr_assert_eq(a->d->ops->attach(a->d), ERR_OK);
}

static void any_close(struct any *a)
{
	a->d->ops->close(&a->d);
	disk_faulty_destroy(&a->faulty);
	disk_mem_destroy(&a->mem);
	if (a->path[0]) {
		char cmd[96];
		(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", a->path);
		cr_expect_eq(system(cmd), 0);
	}
}

static void each(void (*fn)(struct any *a))
{
	for (unsigned i = 0; i < 4; i++) {
		struct any a;
		any_open(&a, i);
		fn(&a);
		any_close(&a);
	}
}

static void count(void *arg, const char *name, uint64_t size)
{
	if (strcmp(name, "lock") != 0)
		*(uint64_t *)arg += size + 1;
}

static void files(struct any *a)
{
	struct disk *d = a->d;
	struct disk_file *f, *g;
	uint8_t *p = aligned_alloc(4096, 8192), *q = aligned_alloc(4096, 8192);
	memset(p, 7, 8192);
	cr_expect_eq(d->ops->file_open(d, "none", 0, &f), ERR_NOT_FOUND, "%s", a->name);
	cr_assert_eq(d->ops->file_open(d, "a", DISK_CREATE | DISK_DIRECT, &f), ERR_OK);
	cr_expect_eq(d->ops->write(d, f, 4096, p, 8192), ERR_OK);
	cr_expect_eq(d->ops->sync(d, f), ERR_OK);
	cr_expect_eq(d->ops->read(d, f, 4096, q, 8192), ERR_OK);
	cr_expect_eq(memcmp(p, q, 8192), 0);
	cr_expect_eq(d->ops->read(d, f, 0, q, 4096), ERR_OK);
	cr_expect_eq(q[0], 0);
	cr_expect_eq(d->ops->read(d, f, 8192, q, 8192), ERR_IO, "%s: past the end", a->name);
	d->ops->file_close(d, &f);
	cr_assert_eq(disk_zero_file(d, "b", 3 << 20, &f), ERR_OK);
	cr_expect_eq(f->size, 3u << 20);
	cr_expect_eq(d->ops->rename(d, "a", "b"), ERR_OK);
	cr_expect_eq(d->ops->sync_dir(d), ERR_OK);
	cr_assert_eq(d->ops->file_open(d, "b", 0, &g), ERR_OK);
	cr_expect_eq(g->size, 12288);
	uint64_t n = 0, room = 0;
	cr_expect_eq(d->ops->list(d, count, &n), ERR_OK);
	cr_expect_eq(n, 12289, "%s: one file is left: %llu", a->name, (unsigned long long)n);
	cr_expect_eq(d->ops->unlink(d, "b"), ERR_OK);
	cr_expect_eq(d->ops->unlink(d, "b"), ERR_OK);
	cr_expect_eq(d->ops->space(d, &room), ERR_OK);
	cr_expect_gt(room, 0);
	d->ops->file_close(d, &f);
	d->ops->file_close(d, &g);
	free(p);
	free(q);
}

Test(disk, files_and_names)
{
	each(files);
}

static void requests(struct any *a)
{
	struct disk *d = a->d;
	struct disk_file *f;
	struct disk_req r[600], *out[64];
	uint8_t *p = aligned_alloc(4096, 600 * 4096);
	cr_assert_eq(disk_zero_file(d, "a", 600 * 4096, &f), ERR_OK);
	for (int round = 0; round < 2; round++) { /* more than the ring takes at once */
		unsigned back = 0, seen[600] = {0};
		for (unsigned i = 0; i < 600; i++) {
			if (round == 0)
				memset(p + i * 4096, (int)i, 4096);
			else
				memset(p + i * 4096, 255, 4096);
			r[i] = (struct disk_req){.file = f, .buf = p + i * 4096, .off = i * 4096, .len = 4096, .user = &seen[i],
						 .verb = round ? DISK_READ : i % 2 ? DISK_WRITE : DISK_WRITE_SYNC};
			d->ops->submit(d, &r[i]);
		}
		for (uint64_t end = clock_us() + 10000000; back < 600 && clock_us() < end;) {
			unsigned n = d->ops->poll(d, out, 64);
			for (unsigned i = 0; i < n; i++) {
				cr_expect_eq(out[i]->err, ERR_OK);
				(*(unsigned *)out[i]->user)++;
			}
			back += n;
			if (n == 0)
				d->ops->wait(d, 1000);
		}
		cr_assert_eq(back, 600, "%s: %u came back", a->name, back);
		for (unsigned i = 0; i < 600; i++)
			cr_expect_eq(seen[i], 1);
	}
	for (unsigned i = 0; i < 600; i++)
		cr_expect_eq(p[i * 4096 + 9], (uint8_t)i, "%s: block %u", a->name, i);
	struct disk_req bad = {.file = f, .buf = p, .off = 600 * 4096, .len = 4096, .verb = DISK_READ};
	d->ops->submit(d, &bad);
	while (d->ops->poll(d, out, 1) == 0)
		d->ops->wait(d, 1000);
	cr_expect_eq(bad.err, ERR_IO);
	d->ops->file_close(d, &f);
	free(p);
}

Test(disk, requests_come_back_once)
{
	each(requests);
}

static void *waker(void *arg)
{
	struct disk *d = arg;
	usleep(20000);
	d->ops->wake(d);
	return NULL;
}

static void waking(struct any *a)
{
	for (int i = 0; i < 3; i++) {
		pthread_t t;
		uint64_t t0 = clock_us();
		struct disk_req *out[1];
		cr_assert_eq(pthread_create(&t, NULL, waker, a->d), 0);
		a->d->ops->wait(a->d, 5000000);
		cr_expect_lt(clock_us() - t0, 3000000, "%s: nobody woke it", a->name);
		cr_expect_eq(a->d->ops->poll(a->d, out, 1), 0);
		pthread_join(t, NULL);
	}
	uint64_t t0 = clock_us();
	a->d->ops->wait(a->d, 10000);
	cr_expect_gt(clock_us() - t0, 5000, "%s: a wake counts once", a->name);
}

Test(disk, waking)
{
	each(waking);
}

/* ---- the faulty disk ---- */

static uint8_t image_byte(struct disk_cut *c, enum disk_cut_mode mode, uint64_t seed, const char *name, size_t off)
{
	struct disk_mem *m = disk_cut_image(c, mode, seed);
	uint64_t size;
	const uint8_t *p = disk_mem_bytes(m, name, &size);
	uint8_t v = off < size ? p[off] : 255;
	disk_mem_destroy(&m);
	return v;
}

Test(faulty, what_a_cut_leaves)
{
	struct disk_mem *m = disk_mem_create();
	struct disk_faulty *f = disk_faulty_create(m, 1);
	struct disk *d;
	struct disk_file *file;
	char why[100];
	uint8_t zero[8192] = {0}, one[8192], two[8192];
	memset(one, 1, sizeof(one));
	memset(two, 2, sizeof(two));
	disk_mem_put(m, "a", zero, sizeof(zero));
	cr_assert_eq(disk_faulty_ops.open(&d, "x", f, why, sizeof(why)), ERR_OK);
	disk_faulty_record(f);
	cr_assert_eq(d->ops->file_open(d, "a", 0, &file), ERR_OK);
	cr_expect_eq(d->ops->write(d, file, 0, one, 8192), ERR_OK);
	uint64_t unsynced = disk_faulty_events(f);
	cr_expect_eq(d->ops->sync(d, file), ERR_OK);
	uint64_t synced = disk_faulty_events(f);
	cr_expect_eq(d->ops->write(d, file, 0, two, 8192), ERR_OK);
	cr_expect_eq(d->ops->rename(d, "a", "b"), ERR_OK);
	uint64_t renamed = disk_faulty_events(f);
	cr_expect_eq(d->ops->sync_dir(d), ERR_OK);
	d->ops->file_close(d, &file);
	d->ops->close(&d);

	struct disk_cut *c = disk_cut_begin(f);
	cr_expect_eq(image_byte(c, DISK_CUT_KEEP, 1, "a", 0), 0);
	disk_cut_advance(c, unsynced);
	cr_expect_eq(image_byte(c, DISK_CUT_KEEP, 1, "a", 0), 1);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "a", 0), 0);
	bool torn = false, kept = false, lost = false;
	for (uint64_t seed = 0; seed < 50; seed++) {
		torn |= image_byte(c, DISK_CUT_TORN, seed, "a", 0) != image_byte(c, DISK_CUT_TORN, seed, "a", 7000);
		kept |= image_byte(c, DISK_CUT_REORDER, seed, "a", 0) == 1;
		lost |= image_byte(c, DISK_CUT_REORDER, seed, "a", 0) == 0;
	}
	cr_expect(torn && kept && lost);
	disk_cut_advance(c, synced);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "a", 0), 1);
	disk_cut_advance(c, renamed);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "a", 0), 1);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "b", 0), 255);
	cr_expect_eq(image_byte(c, DISK_CUT_KEEP, 1, "b", 0), 2);
	disk_cut_advance(c, UINT64_MAX);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "b", 0), 1);
	cr_expect_eq(image_byte(c, DISK_CUT_DROP, 1, "a", 0), 255);
	disk_cut_end(&c);
	disk_faulty_destroy(&f);
	disk_mem_destroy(&m);
}

Test(faulty, the_nth_call_fails)
{
	struct disk_mem *m = disk_mem_create();
	struct disk_faulty *f = disk_faulty_create(m, 1);
	struct disk *d;
	struct disk_file *file;
	char why[100];
	uint8_t p[4096] = {0};
	cr_assert_eq(disk_faulty_ops.open(&d, "x", f, why, sizeof(why)), ERR_OK);
	cr_assert_eq(d->ops->file_open(d, "a", DISK_CREATE, &file), ERR_OK);
	disk_faulty_fail(f, DISK_FAULT_WRITE, 2, 2, ERR_NO_SPACE);
	static const enum err want[] = {ERR_OK, ERR_NO_SPACE, ERR_NO_SPACE, ERR_OK};
	for (unsigned i = 0; i < 4; i++) {
		cr_expect_eq(d->ops->sync(d, file), ERR_OK);
		cr_expect_eq(d->ops->write(d, file, 0, p, sizeof(p)), want[i], "write %u", i);
	}
	cr_expect_eq(disk_faulty_calls(f, DISK_FAULT_WRITE | DISK_FAULT_SYNC), 8);
	d->ops->file_close(d, &file);
	d->ops->close(&d);
	disk_faulty_destroy(&f);
	disk_mem_destroy(&m);
}
