/*
 * test_tls.c: handshakes, data, tickets, names and ends against OpenSSL's client in memory, by TLS 1.2 and 1.3.
 * Written for RFC 8446, 5246, 6066, 7301, 5077, 9266 and 5929.
 */
#include "pair.h"

TestSuite(tls, .init = pair_setup, .fini = pair_teardown);

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct span read_all(struct stream *s, struct buf *b)
{
	for (struct span r; (r = stream_peek(s)).len > 0;) {
		buf_add_span(b, r);
		stream_consume(s, r.len);
	}
	return buf_span(b);
}

/* Bytes of every kind and length, each way, at every kind of cut. */
Test(tls, data_both_ways)
{
	static const size_t sizes[] = {1, 255, 256, 2048, 16384, 16385, 300000};
	static const size_t cuts[] = {0, 7, 1000};
	static uint8_t text[300000];
	struct pair p;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 31 + (i >> 8));
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		for (unsigned c = 0; c < ARRAY_LEN(cuts); c++) {
			p.cut = cuts[c];
			pair_open(&p, "smtp", &(struct tls_peer_conf){.version = versions[v]});
			cr_expect(stream_is_tls(&p.s) && stream_in_handshake(&p.s));
			stream_str(&p.s, "greeting"); /* waits for the handshake */
			pair_run(&p);
			cr_assert(p.peer.open && !stream_in_handshake(&p.s));
			cr_expect(span_eq(buf_span(&p.peer.plain), SPAN("greeting")));
			int64_t taken = stream_taken(&p.s);
			cr_expect_gt(taken, 0);
			for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
				struct span want = span_of(text, sizes[i]);
				struct buf got;
				buf_init(&got);
				p.peer.plain.len = 0;
				tls_peer_write(&p.peer, want);
				pair_run(&p);
				cr_expect_eq(stream_readable(&p.s), sizes[i]);
				cr_expect(span_eq(read_all(&p.s, &got), want), "to us: %zu", sizes[i]);
				buf_fini(&got);
				if (i % 2)
					stream_write(&p.s, want);
				else /* by small slices, as mail comes: gathered to records */
					for (struct span left = want; left.len; left = span_from(left, 1448))
						stream_write(&p.s, span_head(left, 1448));
				pair_run(&p);
				cr_expect(span_eq(buf_span(&p.peer.plain), want), "to the client: %zu", sizes[i]);
				cr_expect_eq(stream_pending(&p.s), 0);
			}
			stream_close(&p.s);
			pair_run(&p);
			cr_expect(p.peer.closed && !p.peer.failed, "close_notify");
			pair_close(&p);
		}
	}
	cr_expect_eq(pair_stat(&p, STAT_tls_handshakes), 6);
	cr_expect_eq(pair_stat(&p, STAT_tls_resumed), 0);
	pair_fini(&p);
}

/* All bytes that came are given back to the window, but for those the session has not read. */
Test(tls, window)
{
	struct pair p;
	static uint8_t text[100000];
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	uint64_t given = 0;
	for (unsigned i = 0; i < 20; i++) {
		if (p.peer.open)
			tls_peer_write(&p.peer, span_of(text, sizeof(text)));
		pair_run(&p);
		given += stream_taken(&p.s);
		cr_expect_leq(given + stream_readable(&p.s), p.raw);
		if (i % 3 == 2) {
			stream_consume(&p.s, stream_readable(&p.s));
			given += stream_taken(&p.s);
			cr_expect_eq(given, p.raw, "turn %u: %llu of %llu", i, (unsigned long long)given,
				     (unsigned long long)p.raw);
		}
	}
	pair_close(&p);
	pair_fini(&p);
}

/* RFC 3207 4.2 and CVE-2011-0411: what came in clear behind the command is gone; the reply to it leaves in clear. */
Test(tls, nothing_in_clear_survives)
{
	static const char clear[] = "STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n";
	struct pair p;
	struct span line;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	stream_init(&p.s, p.pool);
	pair_feed(&p, SPAN("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n"));
	cr_assert_eq(stream_line(&p.s, 512, &line, NULL), ERR_OK);
	stream_str(&p.s, "220 go\r\n");
	cr_assert(stream_start_tls(&p.s, p.core, "smtp"));
	stream_line_done(&p.s); /* as a command loop does after each command */
	stream_str(&p.s, "secret");
	cr_expect_eq(stream_readable(&p.s), 0);
	cr_expect_eq(stream_taken(&p.s), sizeof(clear) - 1);
	struct slice v[4];
	cr_assert_eq(stream_out(&p.s, 1000, v, 4), 1);
	cr_expect(span_eq(slice_span(&v[0]), SPAN("220 go\r\n")));
	slice_drop(&v[0]);
	tls_peer_init(&p.peer, &(struct tls_peer_conf){0});
	tls_peer_run(&p.peer);
	pair_run(&p);
	cr_expect(p.peer.open && span_eq(buf_span(&p.peer.plain), SPAN("secret")));
	pair_close(&p);
	pair_fini(&p);
}

Test(tls, sni_and_key_types)
{
	static const struct {
		const char *name, *sigalgs, *cn;
		int type;
	} rows[] = {
		{"mx.example.net", NULL, "mx.example.net", EVP_PKEY_EC},
		{"MX.EXAMPLE.NET", NULL, "mx.example.net", EVP_PKEY_EC},
		{"mx.example.net", "RSA-PSS+SHA256:RSA+SHA256", "mx.example.net", EVP_PKEY_RSA},
		{"a.example.org", NULL, "*.example.org", EVP_PKEY_EC},
		{"a.b.example.org", NULL, "mx.example.net", EVP_PKEY_EC}, /* one label only */
		{"example.org", NULL, "mx.example.net", EVP_PKEY_EC},
		{"unknown.example", NULL, "mx.example.net", EVP_PKEY_EC},
		{NULL, NULL, "mx.example.net", EVP_PKEY_EC},
		{NULL, "RSA-PSS+SHA256:RSA+SHA256", "mx.example.net", EVP_PKEY_RSA},
	};
	struct pair p;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	tls_peer_cert(pair_dir, "rsa", "rsa", "mx.example.net", 10);
	tls_peer_cert(pair_dir, "wild", "ec", "*.example.org", 10);
	pair_init(&p, pair_load("ec rsa wild"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
			char cn[100];
			struct tls_info info;
			pair_open(&p, "imap", &(struct tls_peer_conf){.name = rows[i].name, .version = versions[v],
								      .sigalgs = rows[i].sigalgs});
			pair_run(&p);
			cr_assert(p.peer.open, "%u %u", v, i);
			cr_expect_eq(tls_peer_server(&p.peer, cn, sizeof(cn)), rows[i].type, "row %u", i);
			cr_expect_str_eq(cn, rows[i].cn, "row %u: %s", i, cn);
			cr_assert(stream_tls_info(&p.s, &info));
			cr_expect_str_eq(info.version, v ? "TLSv1.3" : "TLSv1.2");
			cr_expect(strstr(info.cipher, "AES_128_GCM") || strstr(info.cipher, "AES128-GCM"), "%s", info.cipher);
			cr_expect_eq(info.bits, 128);
			cr_expect_eq(info.name == NULL, rows[i].name == NULL);
			pair_close(&p);
		}
	}
	pair_fini(&p);
}

/* Connects and returns whether it was resumed; keeps the ticket in *keep if that is empty. */
static bool resume(struct pair *p, int version, const char *service, const char *name, SSL_SESSION **keep)
{
	struct tls_info info = {0};
	/* a copy: OpenSSL's client uses each up */
	struct tls_peer_conf c = {.version = version, .name = name, .session = *keep ? SSL_SESSION_dup(*keep) : NULL};
	pair_open(p, service, &c);
	pair_run(p);
	cr_assert(p->peer.open && stream_tls_info(&p->s, &info));
	cr_expect_eq(info.resumed, SSL_session_reused(p->peer.ssl));
	stream_close(&p->s);
	pair_run(p);
	if (*keep == NULL) {
		cr_assert(p->peer.session != NULL, "no ticket");
		*keep = p->peer.session;
		p->peer.session = NULL;
	}
	SSL_SESSION_free(c.session);
	pair_close(p);
	return info.resumed;
}

Test(tls, tickets)
{
	struct pair p;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net,imap.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		SSL_SESSION *s = NULL;
		cr_expect(!resume(&p, versions[v], "submission", "mx.example.net", &s));
		cr_expect(resume(&p, versions[v], "submission", "mx.example.net", &s));
		cr_expect(!resume(&p, versions[v], "smtp", "mx.example.net", &s), "another service");
		cr_expect(!resume(&p, versions[v], "imap", "mx.example.net", &s), "another service");
		cr_expect(!resume(&p, versions[v], "submission", "imap.example.net", &s), "another name");
		cr_expect(!resume(&p, versions[v], "submission", NULL, &s), "no name");
		/* Keys of the two hours before still open it, then they are forgotten. */
		for (unsigned i = 0; i < 2; i++) {
			tls_keys_free(tls_shared_rotate(p.shared));
			cr_expect(resume(&p, versions[v], "submission", "mx.example.net", &s), "rotation %u", i);
		}
		tls_keys_free(tls_shared_rotate(p.shared));
		cr_expect(!resume(&p, versions[v], "submission", "mx.example.net", &s), "after the third rotation");
		SSL_SESSION_free(s);
	}
	cr_expect_eq(pair_stat(&p, STAT_tls_resumed), 6);
	cr_expect_eq(pair_stat(&p, STAT_tls_handshakes), 18);
	pair_fini(&p);
}

/* A connection keeps the certificates it began with; new ones get the new. Tickets live on. */
Test(tls, reload)
{
	struct pair p;
	struct stream old;
	struct tls_peer old_peer;
	char cn[100];
	tls_peer_cert(pair_dir, "a", "ec", "old.example.net", 10);
	tls_peer_cert(pair_dir, "b", "ec", "new.example.net", 10);
	pair_init(&p, pair_load("a"));
	/* one in the middle of its handshake over the reload */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	tls_server_release(tls_shared_publish(p.shared, pair_load("b")));
	pair_run(&p);
	cr_assert(p.peer.open);
	tls_peer_server(&p.peer, cn, sizeof(cn));
	cr_expect_str_eq(cn, "old.example.net");
	old = p.s;
	old_peer = p.peer;
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	pair_run(&p);
	cr_assert(p.peer.open);
	tls_peer_server(&p.peer, cn, sizeof(cn));
	cr_expect_str_eq(cn, "new.example.net");
	pair_close(&p);
	p.s = old;
	p.peer = old_peer;
	SSL_set_app_data(p.peer.ssl, &p.peer);
	tls_peer_write(&p.peer, SPAN("still here"));
	pair_run(&p);
	cr_expect_eq(stream_readable(&p.s), 10);
	pair_close(&p);
	pair_fini(&p);
}

Test(tls, alpn)
{
	static const struct {
		const char *service, *alpn;
		bool ok;
	} rows[] = {{"imap", "imap", true}, {"imap", NULL, true}, {"imap", "http/1.1", false}, {"pop3", "imap", false},
		    {"submission", "smtp", true}, {"smtp", "h2", false}};
	struct pair p;
	unsigned refused = 0;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		pair_open(&p, rows[i].service, &(struct tls_peer_conf){.alpn = rows[i].alpn});
		pair_run(&p);
		cr_expect_eq(p.peer.open, rows[i].ok, "row %u", i);
		cr_expect_eq(p.s.tx_close, !rows[i].ok, "row %u", i);
		refused += !rows[i].ok;
		pair_close(&p);
	}
	cr_expect_eq(pair_stat(&p, STAT_tls_failed_alpn), refused);
	pair_fini(&p);
}

Test(tls, ends)
{
	struct pair p;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		/* the peer says so */
		pair_open(&p, "smtp", &(struct tls_peer_conf){.version = versions[v]});
		pair_run(&p);
		tls_peer_write(&p.peer, SPAN("last"));
		cr_expect_geq(SSL_shutdown(p.peer.ssl), 0);
		pair_run(&p);
		cr_expect(p.s.rx_eof && stream_readable(&p.s) == 4);
		stream_eof(&p.s);
		cr_expect_eq(pair_stat(&p, STAT_tls_truncated), 0);
		stream_str(&p.s, "answer");
		stream_close(&p.s);
		pair_take(&p, UINT32_MAX);
		cr_expect_eq(stream_pending(&p.s), 0);
		pair_close(&p);
	}
	/* cut: known, and what came before counts */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	pair_run(&p);
	tls_peer_write(&p.peer, SPAN("last"));
	pair_run(&p);
	stream_eof(&p.s);
	cr_expect(p.s.rx_eof && stream_readable(&p.s) == 4);
	cr_expect_eq(pair_stat(&p, STAT_tls_truncated), 1);
	pair_close(&p);
	/* cut within a record: no byte of it is seen */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	pair_run(&p);
	tls_peer_write(&p.peer, SPAN("never"));
	struct span raw = tls_peer_raw(&p.peer);
	pair_feed(&p, span_head(raw, raw.len - 1));
	tls_peer_sent(&p.peer);
	stream_eof(&p.s);
	cr_expect(p.s.rx_eof && stream_readable(&p.s) == 0);
	cr_expect_eq(pair_stat(&p, STAT_tls_truncated), 2);
	pair_close(&p);
	/* cut within the handshake */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	stream_eof(&p.s);
	cr_expect(p.s.tx_close);
	cr_expect_eq(pair_stat(&p, STAT_tls_failed_closed), 1);
	pair_close(&p);
	/* we end it within the handshake: nothing is left to wait for */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	stream_str(&p.s, "421 bye");
	stream_close(&p.s);
	cr_expect_eq(stream_pending(&p.s), 0);
	pair_close(&p);
	/* nobody can read on after an abort, nothing leaves */
	pair_open(&p, "smtp", &(struct tls_peer_conf){0});
	pair_run(&p);
	stream_str(&p.s, "x");
	stream_abort(&p.s);
	cr_expect_eq(stream_pending(&p.s), 0);
	pair_close(&p);
	pair_fini(&p);
}

/* RFC 9266 and 5929: both ends get the same, and only what exists. */
Test(tls, channel_binding)
{
	struct pair p;
	uint8_t ours[TLS_BINDING_MAX], theirs[32];
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		pair_open(&p, "smtp", &(struct tls_peer_conf){.version = versions[v]});
		cr_expect_eq(stream_tls_binding(&p.s, TLS_BIND_EXPORTER, ours), 0, "before the handshake");
		pair_run(&p);
		size_t n = stream_tls_binding(&p.s, TLS_BIND_EXPORTER, ours);
		cr_expect_eq(n, v ? 32 : 0);
		if (v) {
			cr_assert_eq(SSL_export_keying_material(p.peer.ssl, theirs, 32, "EXPORTER-Channel-Binding", 24,
								(const uint8_t *)"", 0, 1), 1);
			cr_expect_eq(memcmp(ours, theirs, 32), 0);
		}
		cr_expect_eq(stream_tls_binding(&p.s, TLS_BIND_END_POINT, ours), 32);
		X509 *x = SSL_get_peer_certificate(p.peer.ssl);
		unsigned len = 0;
		cr_assert_eq(X509_digest(x, EVP_sha256(), theirs, &len), 1);
		X509_free(x);
		cr_expect_eq(memcmp(ours, theirs, 32), 0);
		pair_close(&p);
	}
	stream_init(&p.s, p.pool);
	cr_expect_eq(stream_tls_binding(&p.s, TLS_BIND_END_POINT, ours), 0, "in clear");
	struct tls_info info;
	cr_expect(!stream_tls_info(&p.s, &info) && !stream_is_tls(&p.s) && !stream_in_handshake(&p.s));
	stream_fini(&p.s);
	pair_fini(&p);
}

/* Handshakes beyond the turn's allowance wait in line and are done in the turns after it. */
Test(tls, allowance)
{
	enum { N = 3 * TLS_HANDSHAKES_TURN };
	struct pair p;
	struct stream s[N];
	struct tls_peer peer[N];
	struct span raw;
	tls_peer_cert(pair_dir, "ec", "ec", "mx.example.net", 10);
	pair_init(&p, pair_load("ec"));
	tls_core_turn(p.core);
	for (unsigned i = 0; i < N; i++) {
		stream_init(&s[i], p.pool);
		cr_assert(stream_start_tls(&s[i], p.core, "smtp"));
		tls_peer_init(&peer[i], &(struct tls_peer_conf){0});
		tls_peer_run(&peer[i]);
		raw = tls_peer_raw(&peer[i]);
		struct pkt *k = pkt_alloc(p.pool);
		memcpy(pkt_append(k, (uint32_t)raw.len), raw.p, raw.len);
		stream_feed(&s[i], (struct slice){k, pkt_data(k), (uint32_t)raw.len});
		cr_expect_eq(stream_pending(&s[i]) > 0, i < TLS_HANDSHAKES_TURN, "%u", i);
	}
	cr_expect_eq(pair_stat(&p, STAT_tls_deferred), N - TLS_HANDSHAKES_TURN);
	cr_expect(stream_tls_waiting(p.core) == NULL, "this turn's are used up");
	stream_fini(&s[TLS_HANDSHAKES_TURN]); /* one that waits goes away */
	for (unsigned turn = 1; turn < 3; turn++) {
		tls_core_turn(p.core);
		for (unsigned i = 0; i < TLS_HANDSHAKES_TURN; i++) {
			struct stream *got = stream_tls_waiting(p.core);
			unsigned want = turn * TLS_HANDSHAKES_TURN + i + 1; /* in the order they came */
			cr_expect_eq(got, want < N ? &s[want] : NULL);
			cr_expect(got == NULL || stream_pending(got) > 0);
		}
		cr_expect(stream_tls_waiting(p.core) == NULL);
	}
	for (unsigned i = 0; i < N; i++) {
		if (i != TLS_HANDSHAKES_TURN)
			stream_fini(&s[i]);
		tls_peer_fini(&peer[i]);
	}
	pair_fini(&p);
}
