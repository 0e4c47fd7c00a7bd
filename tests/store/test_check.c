/*
 * test_check.c: the checker finds every flipped bit in a block that is in use, names where, and finds nothing in a store that is whole.
 */
#include <stdio.h>
#include "model.h"

#if defined(__SANITIZE_ADDRESS__)
#define FLIPS 100u
#else
#define FLIPS 1000u
#endif

struct lines {
	unsigned n;
	char last[400];
};

static void line(void *arg, const char *text)
{
	struct lines *l = arg;
	l->n++;
	(void)snprintf(l->last, sizeof(l->last), "%s", text);
}

static enum err check(struct rig *r, struct store_check *out, struct lines *l)
{
	struct store_check_ops ops = {.found = line, .arg = l};
	l->n = 0;
	return store_check(&r->conf, &ops, out, r->why, sizeof(r->why));
}

struct block {
	char name[32];
	uint64_t off;
};

/* Blocks from the front of each segment to the last one that is not zero (its groups stand there), and the checkpoint. */
struct blocks {
	struct disk_mem *mem;
	struct block *v;
	unsigned n, cap;
};

static void add_blocks(void *arg, const char *name, uint64_t size)
{
	struct blocks *b = arg;
	uint64_t n, end = 0;
	const uint8_t *p = disk_mem_bytes(b->mem, name, &n);
	static const uint8_t zero[4096];
	for (uint64_t off = 0; off < n; off += 4096) {
		if (memcmp(p + off, zero, n - off < 4096 ? n - off : 4096) != 0)
			end = off + 4096;
	}
	for (uint64_t off = 0; off < end; off += 4096) {
		if (b->n == b->cap) {
			b->cap = b->cap * 2 + 64;
			b->v = realloc(b->v, b->cap * sizeof(*b->v));
		}
		(void)snprintf(b->v[b->n].name, sizeof(b->v[0].name), "%s", name);
		b->v[b->n++].off = off;
	}
}

/* A store with something of everything, cleanly closed. No segment was used twice: all that is not zero is in use. */
static void build(struct rig *r)
{
	static struct model m;
	struct rnd rnd;
	rig_init(r, RIG_MEM, 1);
	r->conf.segment_size = 1u << 20;
	cr_assert_eq(rig_open(r), ERR_OK);
	uint64_t a = rig_account(r, "a@example.net");
	model_init(&m, a, (uint32_t)(r->wall_us / 1000000), 9000);
	rnd_seed(&rnd, 31);
	for (unsigned i = 0; i < 150; i++)
		cr_assert_eq(rig_done(r, model_step(&m, r, &rnd)), ERR_OK);
	rig_close(r);
}

Test(check, each_flipped_bit_is_found)
{
	struct rig r;
	struct store_check out;
	struct lines l;
	struct rnd rnd;
	build(&r);
	cr_assert_eq(check(&r, &out, &l), ERR_OK, "%s", l.last);
	cr_expect(out.messages > 20 && out.bodies > 30 && out.groups > 50 && out.items > 0 && out.accounts == 1,
		  "%u messages, %u bodies, %u groups, %u items", (unsigned)out.messages, (unsigned)out.bodies,
		  (unsigned)out.groups, (unsigned)out.items);
	struct blocks b = {.mem = r.mem};
	disk_mem_each(r.mem, add_blocks, &b);
	cr_assert_gt(b.n, 100);
	uint64_t seed = 77;
	cr_log_info("seed %llu, %u blocks, %u flips", (unsigned long long)seed, b.n, FLIPS);
	rnd_seed(&rnd, seed);
	for (unsigned i = 0; i < FLIPS; i++) {
		const struct block *x = &b.v[rnd_below(&rnd, b.n)];
		uint64_t size;
		uint8_t *p = disk_mem_bytes(r.mem, x->name, &size);
		uint64_t room = size - x->off < 4096 ? size - x->off : 4096;
		uint64_t byte = x->off + rnd_below(&rnd, (uint32_t)room);
		uint8_t bit = (uint8_t)(1u << rnd_below(&rnd, 8));
		p[byte] ^= bit;
		enum err e = check(&r, &out, &l);
		/* (a version number that grew is refused as such) */
		cr_expect((e == ERR_CORRUPT && l.n > 0) || (e == ERR_UNSUPPORTED && strcmp(x->name, "checkpoint") == 0),
			  "%s byte %llu bit %x: %s", x->name, (unsigned long long)byte, bit, err_name(e));
		if (e == ERR_CORRUPT && strcmp(x->name, "checkpoint") != 0)
			cr_expect_not_null(strstr(l.last, x->name), "%s: %s", x->name, l.last);
		p = disk_mem_bytes(r.mem, x->name, &size);
		p[byte] ^= bit;
	}
	cr_expect_eq(check(&r, &out, &l), ERR_OK, "%s", l.last);
	free(b.v);
	rig_fini(&r);
}

/* It changes nothing, also after a power cut, and what a cut leaves behind is no finding. */
Test(check, a_store_that_was_not_closed)
{
	struct rig r;
	struct store_check out;
	struct lines l;
	rig_init(&r, RIG_MEM, 1);
	cr_assert_eq(rig_open(&r), ERR_OK);
	uint64_t a = rig_account(&r, "a@example.net");
	for (unsigned i = 0; i < 50; i++)
		rig_deliver(&r, a, STORE_INBOX, "text", 4, NULL);
	rig_replay(&r);
	rig_deliver(&r, a, STORE_INBOX, "text", 4, NULL);
	struct disk_mem *m = rig_clone(r.mem);
	disk_mem_put(m, "checkpoint.tmp", "half", 4);
	struct rig x = r;
	x.s = NULL;
	x.conf.disk_arg = m;
	uint64_t size;
	cr_expect_eq(check(&x, &out, &l), ERR_OK, "%s", l.last);
	cr_expect_eq(out.messages, 51);
	cr_expect_not_null(disk_mem_bytes(m, "checkpoint.tmp", &size));
	disk_mem_destroy(&m);
	rig_fini(&r);
}

/* One message is spoiled: it is said, and everything else was looked at. */
Test(check, damage_does_not_end_it)
{
	struct rig r;
	struct store_check out, whole;
	struct lines l;
	build(&r);
	cr_assert_eq(check(&r, &whole, &l), ERR_OK);
	uint64_t size;
	uint8_t *p = disk_mem_bytes(r.mem, "seg-000000", &size);
	memset(p + 10 * 4096, 0x55, 100); /* a group's header, or what a body holds */
	p[100 * 4096 + 5] ^= 1;
	cr_expect_eq(check(&r, &out, &l), ERR_CORRUPT);
	cr_expect_geq(out.found, 2);
	cr_expect_geq(out.groups + 3, whole.groups);
	rig_fini(&r);
}
