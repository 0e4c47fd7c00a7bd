/*
 * fuzz_tcp_option.c: any bytes as the options of a TCP header. First byte: is it a SYN. What was
 * understood must survive being written and read again.
 */
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "tcp_option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct tcp_opts *a, const struct tcp_opts *b)
{
	CHECK(a->has_mss == b->has_mss && (!a->has_mss || a->mss == b->mss));
	CHECK(a->has_wscale == b->has_wscale && (!a->has_wscale || a->wscale == b->wscale));
	CHECK(a->sack_ok == b->sack_ok);
	CHECK(a->has_ts == b->has_ts &&
	      (!a->has_ts || (a->tsval == b->tsval && a->tsecr == b->tsecr)));
	CHECK(a->n_sack == b->n_sack &&
	      memcmp(a->sack, b->sack, a->n_sack * sizeof(a->sack[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_opts a, b;
	uint8_t *copy, out[80];

	if (size < 1 || size > 1 + TCP_OPT_MAX)
		return 0;
	copy = malloc(size); /* exact: the sanitizer sees the first byte beyond */
	CHECK(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	bool syn = data[0] & 1;
	if (tcp_opts_parse(copy, (uint32_t)size - 1, syn, &a)) {
		CHECK(a.n_sack <= TCP_SACK_BLOCKS && a.wscale <= TCP_WSCALE_MAX);
		uint32_t len = tcp_opts_len(&a);
		CHECK(len % 4 == 0 && len <= sizeof(out));
		CHECK(tcp_opts_build(&a, out) == len);
		CHECK(tcp_opts_parse(out, len, syn, &b));
		check_same(&a, &b);
	}
	free(copy);
	return 0;
}
