/*
 * test_tls_memory.c: what a connection at rest holds, counted at OpenSSL's allocator and at the packet pool: 16 KiB at
 * most, as promised, and nothing is left when all are gone.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include "pair.h"

static _Atomic long held;

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);
	held += p ? (long)malloc_usable_size(p) : 0;
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	held -= p ? (long)malloc_usable_size(p) : 0;
	free(p);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	long before = p ? (long)malloc_usable_size(p) : 0;
	void *q = realloc(p, n);
	if (q || n == 0)
		held += (q ? (long)malloc_usable_size(q) : 0) - before;
	return q;
}

/* Before anything of OpenSSL runs, tls_conn.c's BIO included: constructors with a priority come first. */
__attribute__((constructor(101))) static void count(void)
{
	CHECK(CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) == 1);
}

TestSuite(tls_memory, .init = pair_setup, .fini = pair_teardown);

Test(tls_memory, at_rest)
{
	enum { N = 32 };
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	static struct stream s[N];
	struct pair p;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		long before = 0;
		for (unsigned i = 0; i < N; i++) {
			if (i == 1) /* the first one fills what OpenSSL makes once */
				before = held;
			pair_open(&p, "imap", &(struct tls_peer_conf){.version = versions[v], .name = "mx.example.net"});
			pair_run(&p);
			static uint8_t text[20000];
			tls_peer_write(&p.peer, span_of(text, sizeof(text)));
			stream_write(&p.s, span_of(text, sizeof(text)));
			pair_run(&p);
			stream_consume(&p.s, stream_readable(&p.s));
			cr_assert(p.peer.open && !p.s.tx_close);
			s[i] = p.s;
			tls_peer_fini(&p.peer);
		}
		long each = (held - before) / (N - 1);
		fprintf(stderr, "%s: %ld bytes a connection at rest in OpenSSL, %u packets in all\n", v ? "TLS 1.3" : "TLS 1.2",
			each, pkt_heap_outstanding());
		cr_expect_leq(each, 16384 - 512, "a struct tls and a stream come on top");
		cr_expect_gt(each, 1000, "counted at all");
		cr_expect_eq(pkt_heap_outstanding(), 0);
		for (unsigned i = 0; i < N; i++)
			stream_fini(&s[i]);
	}
	pair_fini(&p);
}
