/*
 * fuzz_tls_record.c: hostile bytes at a stream's TLS side, cut as the input says, before the handshake or (first byte
 * odd) after one, when they meet the record layer of an open connection. Nothing of them may become readable: they
 * would have to be forged records. No packet is left at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "stream.h"
#include "tls_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_shared *shared;
static struct stat *stat_all;

static void setup(void)
{
	char dir[] = "/tmp/veredus-fuzz-XXXXXX", cert[64], key[64], why[256];
	struct tls_server *server;
	CHECK(mkdtemp(dir) != NULL);
	tls_peer_cert(dir, "mx", "ec", "mx.example.net", 10);
	(void)snprintf(cert, sizeof(cert), "%s/mx.pem", dir);
	(void)snprintf(key, sizeof(key), "%s/mx.key", dir);
	struct tls_files files = {cert, key, 0, NULL};
	CHECK(tls_server_load(&server, &files, 1, why, sizeof(why)) == ERR_OK);
	(void)unlink(cert);
	(void)unlink(key);
	(void)rmdir(dir);
	shared = tls_shared_create(server);
	stat_all = aligned_alloc(64, sizeof(*stat_all));
	CHECK(stat_all != NULL);
	memset(stat_all, 0, sizeof(*stat_all));
}

static void feed(struct stream *s, struct pkt_pool *pool, struct span bytes)
{
	while (bytes.len) {
		struct span part = span_head(bytes, 1448);
		struct pkt *p = pkt_alloc(pool);
		CHECK(p != NULL);
		uint8_t *to = pkt_append(p, (uint32_t)part.len);
		memcpy(to, part.p, part.len);
		stream_feed(s, (struct slice){p, to, (uint32_t)part.len});
		bytes = span_from(bytes, part.len);
	}
}

static void take(struct stream *s, struct tls_peer *peer)
{
	struct slice v[16];
	for (unsigned n; (n = stream_out(s, UINT32_MAX, v, ARRAY_LEN(v))) > 0;)
		for (unsigned i = 0; i < n; i++) {
			if (peer)
				tls_peer_feed(peer, slice_span(&v[i]));
			slice_drop(&v[i]);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (shared == NULL)
		setup();
	if (size < 2)
		return 0;
	struct pkt_pool *pool = pkt_pool_create("fuzz", 1 << 16, PKT_ROOM);
	struct tls_core *core = tls_core_create(shared, pool, stat_all);
	struct stream s;
	struct tls_peer peer;
	bool after = data[0] & 1;
	size_t cut = data[1] ? data[1] : size;
	stream_init(&s, pool);
	CHECK(core != NULL && stream_start_tls(&s, core, "smtp"));
	stream_str(&s, "greeting");
	if (after) {
		tls_peer_init(&peer, &(struct tls_peer_conf){.version = data[0] & 2 ? TLS1_2_VERSION : 0});
		tls_peer_run(&peer);
		for (unsigned i = 0; i < 4; i++) {
			tls_core_turn(core);
			feed(&s, pool, tls_peer_raw(&peer));
			tls_peer_sent(&peer);
			take(&s, &peer);
		}
		CHECK(peer.open && !stream_in_handshake(&s));
		tls_peer_fini(&peer);
	}
	for (struct span left = span_of(data + 2, size - 2); left.len; left = span_from(left, cut)) {
		tls_core_turn(core);
		feed(&s, pool, span_head(left, cut));
		CHECK(stream_readable(&s) == 0);
	}
	(void)stream_taken(&s);
	stream_eof(&s);
	take(&s, NULL);
	stream_close(&s);
	take(&s, NULL);
	CHECK(stream_pending(&s) == 0);
	stream_fini(&s);
	tls_core_destroy(&core);
	pkt_pool_destroy(&pool);
	return 0;
}
