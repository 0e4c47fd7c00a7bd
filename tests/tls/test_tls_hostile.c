/*
 * test_tls_hostile.c: peers that mean harm or are broken: no TLS at all, cut and flipped records, old versions, renegotiation,
 * floods of records that ask for an answer, pools that run dry at each allocation.
 */
#include <openssl/err.h>
#include "pair.h"

TestSuite(tls_hostile, .init = pair_setup, .fini = pair_teardown);

static void start(struct pair *p)
{
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(p, pair_load("ec"));
}

Test(tls_hostile, no_tls)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum stat_id stat;
	} rows[] = {
		{"G", 1, STAT_tls_failed_garbage},
		{"EHLO x\r\n", 8, STAT_tls_failed_garbage},
		{"\x80\x2e\x01\x03\x01", 5, STAT_tls_failed_garbage},       /* SSL 2's hello */
		{"\x16\x02", 2, STAT_tls_failed_garbage},                   /* version 2.x */
		{"\x16\x03\x09", 3, STAT_tls_failed_garbage},
		{"\x17\x03\x03\x00\x01x", 6, STAT_tls_failed_garbage},      /* data before the handshake */
		{"\x16\x03\x01\xff\xff", 5, STAT_tls_failed_garbage},       /* longer than a record may be */
		{"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9, STAT_tls_failed_other}, /* an empty ClientHello */
		{"\x16\x03\x01\x00\x05hello", 10, STAT_tls_failed_other},
		{"\x15\x03\x01\x00\x02\x02\x28", 7, STAT_tls_failed_other}, /* an alert first */
	};
	struct pair p;
	start(&p);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t cut = 0; cut < 2; cut++) {
			uint64_t before = pair_stat(&p, rows[i].stat);
			p.cut = cut;
			pair_open(&p, "smtp", &(struct tls_peer_conf){0});
			tls_peer_sent(&p.peer);
			tls_core_turn(p.core);
			stream_str(&p.s, "never seen");
			pair_feed(&p, span_of(rows[i].bytes, rows[i].len));
			cr_expect(p.s.tx_close, "row %u", i);
			cr_expect_eq(pair_stat(&p, rows[i].stat), before + 1, "row %u", i);
			cr_expect_eq(stream_readable(&p.s), 0);
			pair_feed(&p, SPAN("more of it"));
			stream_eof(&p.s);
			pair_take(&p, UINT32_MAX);
			cr_expect_eq(stream_pending(&p.s), 0);
			pair_close(&p);
		}
	}
	pair_fini(&p);
}

/* A byte flipped anywhere in what the client sends: the handshake fails or, in what carries no meaning, does not;
 * after it, every flip is seen. */
Test(tls_hostile, flipped_bytes)
{
	struct pair p;
	start(&p);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (size_t at = 0; at < 600; at += 7) {
			uint8_t copy[4096];
			pair_open(&p, "smtp", &(struct tls_peer_conf){.version = version});
			struct span raw = tls_peer_raw(&p.peer);
			cr_assert_lt(raw.len, sizeof(copy));
			if (at < raw.len) {
				memcpy(copy, raw.p, raw.len);
				copy[at] ^= 0x40;
				tls_core_turn(p.core);
				pair_feed(&p, span_of(copy, raw.len));
				tls_peer_sent(&p.peer);
				pair_run(&p);
			}
			pair_close(&p);
		}
		pair_open(&p, "smtp", &(struct tls_peer_conf){.version = version});
		pair_run(&p);
		cr_assert(p.peer.open);
		tls_peer_write(&p.peer, SPAN("payload of one record"));
		uint8_t record[256];
		struct span raw = tls_peer_raw(&p.peer);
		memcpy(record, raw.p, raw.len);
		uint64_t before = pair_stat(&p, STAT_tls_bad_record);
		record[raw.len - 3] ^= 1;
		pair_feed(&p, span_of(record, raw.len));
		tls_peer_sent(&p.peer);
		cr_expect(p.s.tx_close && stream_readable(&p.s) == 0);
		cr_expect_eq(pair_stat(&p, STAT_tls_bad_record), before + 1);
		cr_expect_gt(stream_pending(&p.s), 0, "the alert leaves");
		pair_take(&p, UINT32_MAX);
		cr_expect(p.peer.failed);
		pair_close(&p);
	}
	pair_fini(&p);
}

Test(tls_hostile, old_versions_and_ciphers)
{
	struct pair p;
	start(&p);
	pair_open(&p, "smtp", &(struct tls_peer_conf){.version = TLS1_1_VERSION});
	/* the client will not even say hello at its security level: lower it */
	SSL_set_security_level(p.peer.ssl, 0);
	p.peer.failed = false;
	tls_peer_run(&p.peer);
	pair_run(&p);
	cr_expect(!p.peer.open && p.s.tx_close);
	cr_expect_eq(pair_stat(&p, STAT_tls_failed_version), 1);
	pair_close(&p);
	static const char *const ciphers[] = {"AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"};
	for (unsigned i = 0; i < ARRAY_LEN(ciphers); i++) {
		pair_open(&p, "smtp", &(struct tls_peer_conf){.version = TLS1_2_VERSION, .ciphers = ciphers[i]});
		pair_run(&p);
		cr_expect(!p.peer.open && p.s.tx_close, "%s", ciphers[i]);
		cr_expect_eq(pair_stat(&p, STAT_tls_failed_cipher), i + 1, "%s", ciphers[i]);
		pair_close(&p);
	}
	pair_fini(&p);
}

/* A TLS 1.2 client that renegotiates is refused by a warning and nothing else happens. */
Test(tls_hostile, renegotiation)
{
	struct pair p;
	start(&p);
	pair_open(&p, "smtp", &(struct tls_peer_conf){.version = TLS1_2_VERSION});
	pair_run(&p);
	cr_assert(p.peer.open);
	uint64_t handshakes = pair_stat(&p, STAT_tls_handshakes);
	cr_assert_eq(SSL_renegotiate(p.peer.ssl), 1);
	(void)SSL_do_handshake(p.peer.ssl);
	ERR_clear_error();
	pair_run(&p);
	cr_expect_eq(pair_stat(&p, STAT_tls_handshakes), handshakes);
	pair_close(&p);
	pair_fini(&p);
}

/* KeyUpdate with an answer asked for, again and again, without taking one: ended after a bound. */
Test(tls_hostile, key_update_flood)
{
	struct pair p;
	start(&p);
	pair_open(&p, "smtp", &(struct tls_peer_conf){.version = TLS1_3_VERSION});
	pair_run(&p);
	cr_assert(p.peer.open);
	unsigned n = 0;
	for (; n < 5000 && !p.s.tx_close; n++) {
		cr_assert_eq(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		cr_assert_eq(SSL_do_handshake(p.peer.ssl), 1);
		struct span raw = tls_peer_raw(&p.peer);
		pair_feed(&p, raw);
		tls_peer_sent(&p.peer);
		cr_assert_leq(stream_pending(&p.s), 20000);
	}
	cr_expect_lt(n, 5000);
	cr_expect_eq(pair_stat(&p, STAT_tls_bad_record), 1);
	pair_close(&p);
	/* one who takes the answers may go on */
	pair_open(&p, "smtp", &(struct tls_peer_conf){.version = TLS1_3_VERSION});
	pair_run(&p);
	for (n = 0; n < 2000; n++) {
		cr_assert_eq(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		cr_assert_eq(SSL_do_handshake(p.peer.ssl), 1);
		pair_run(&p);
	}
	tls_peer_write(&p.peer, SPAN("fine"));
	pair_run(&p);
	cr_expect_eq(stream_readable(&p.s), 4);
	pair_close(&p);
	pair_fini(&p);
}

/* A ClientHello that never ends: a bounded number of bytes is kept. */
Test(tls_hostile, endless_hello)
{
	struct pair p;
	start(&p);
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	tls_peer_sent(&p.peer);
	/* a handshake message of 16 MB, in records of 16 KB */
	uint8_t first[] = {0x16, 3, 1, 0x40, 0x00, 1, 0xff, 0xff, 0xff, 3, 3};
	static uint8_t body[16384];
	unsigned n = 0;
	for (; n < 64 && !p.s.tx_close; n++) {
		tls_core_turn(p.core);
		pair_feed(&p, span_of(first, n == 0 ? sizeof(first) : 5));
		pair_feed(&p, span_of(body, n == 0 ? 16384 - 6 : 16384));
	}
	cr_expect_lt(n, 64);
	/* and one that waits for its turn and talks on */
	pair_close(&p);
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	struct span raw = tls_peer_raw(&p.peer);
	for (unsigned i = 0; i <= TLS_HANDSHAKES_TURN; i++) { /* use the turn up */
		struct stream other;
		stream_init(&other, p.pool);
		cr_assert(stream_start_tls(&other, p.core, "smtp"));
		struct pkt *k = pkt_alloc(p.pool);
		memcpy(pkt_append(k, (uint32_t)raw.len), raw.p, raw.len);
		stream_feed(&other, (struct slice){k, pkt_data(k), (uint32_t)raw.len});
		stream_fini(&other);
	}
	pair_feed(&p, raw);
	tls_peer_sent(&p.peer);
	uint8_t junk[16384 + 5] = {0x16, 3, 3, 0x40, 0x00};
	for (n = 0; n < 64 && !p.s.tx_close; n++)
		pair_feed(&p, span_of(junk, sizeof(junk)));
	cr_expect_lt(n, 8);
	pair_close(&p);
	pair_fini(&p);
}

/* The nth packet is not to be had: the connection fails, nothing leaks. */
Test(tls_hostile, packets_run_out)
{
	struct pair p;
	static uint8_t text[40000];
	start(&p);
	for (unsigned n = 1; n < 120; n++) {
		pair_open(&p, "smtp", &(struct tls_peer_conf){0});
		struct span raw = tls_peer_raw(&p.peer);
		struct pkt *k = pkt_alloc(p.pool);
		memcpy(pkt_append(k, (uint32_t)raw.len), raw.p, raw.len);
		tls_core_turn(p.core);
		if (n < 3)
			pkt_heap_fail_after(n);
		stream_feed(&p.s, (struct slice){k, pkt_data(k), (uint32_t)raw.len});
		pkt_heap_fail_after(0);
		cr_expect_eq(p.s.failed, n < 2, "%u", n);
		tls_peer_sent(&p.peer);
		if (!p.s.failed && !p.s.tx_close)
			pair_run(&p);
		if (p.peer.open) {
			stream_write(&p.s, span_of(text, sizeof(text)));
			pkt_heap_fail_after(n - 2);
			struct slice v[64];
			unsigned m = stream_out(&p.s, 100000, v, 64);
			pkt_heap_fail_after(0);
			for (unsigned i = 0; i < m; i++)
				slice_drop(&v[i]);
		}
		pair_close(&p);
	}
	pair_fini(&p);
}
