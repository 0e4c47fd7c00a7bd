/*
 * stack_names.c: options, connection information and counters of stack.h by name: const tables of offsets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "stack_int.h"

struct field {
	const char *name;
	size_t off, size;
	uint64_t min, max;
	bool created; /* fixed at creation */
};

#define OPT(f, lo, hi, fixed)                                                                      \
	{#f, offsetof(struct tcp_conf, f), sizeof(((struct tcp_conf *)0)->f), lo, hi, fixed}
static const struct field options[] = {
	OPT(conns_max, 1, 1 << 16, true),
	OPT(timewait_max, 1, 1 << 16, true),
	OPT(cc, 0, TCP_CC_NEWRENO, true),
	OPT(mss_max, 0, 9000, false),
	OPT(wscale, 0, TCP_WSCALE_MAX, false),
	OPT(timestamps, 0, 1, false),
	OPT(sack, 0, 1, false),
	OPT(ecn, 0, TCP_ECN_OFFER, false),
	OPT(rcv_buf, 1024, 1 << 30, false),
	OPT(snd_buf, 1024, 1 << 30, false),
	OPT(ooo_max, 0, 65536, false),
	OPT(initcwnd_segs, 1, 1000, false),
	OPT(rto_init_us, 1000, UINT32_MAX, false),
	OPT(rto_min_us, 1000, UINT32_MAX, false),
	OPT(rto_max_us, 1000, UINT32_MAX, false),
	OPT(delack_us, 0, 1000000, false),
	OPT(quickack_segs, 0, 255, false),
	OPT(syn_retries, 0, 255, false),
	OPT(data_retries, 0, 255, false),
	OPT(keepalive_us, 0, INT64_MAX, false),
	OPT(user_timeout_us, 0, INT64_MAX, false),
	OPT(timewait_us, 1000, UINT32_MAX, false),
	OPT(syn_backlog, 0, 1 << 16, true),
	OPT(syn_cookies, 0, 1, false),
	OPT(syn_net_rate, 0, UINT32_MAX, false),
};

#define INFO(f)                                                                                    \
	{#f, offsetof(struct tcp_conn_info, f), sizeof(((struct tcp_conn_info *)0)->f), 0, 0, false}
static const struct field infos[] = {
	INFO(state),	  INFO(recovery),    INFO(error),	INFO(active),	   INFO(sack),
	INFO(timestamps), INFO(wscale),	     INFO(ecn),		INFO(probing_window),
	INFO(snd_wscale), INFO(rcv_wscale),  INFO(srtt_us),	INFO(rttvar_us),   INFO(rttmin_us),
	INFO(rto_us),	  INFO(cwnd),	     INFO(ssthresh),	INFO(mss),	   INFO(mss_peer),
	INFO(mss_own),	  INFO(pmtu),	     INFO(snd_una),	INFO(snd_nxt),	   INFO(rcv_nxt),
	INFO(iss),	  INFO(irs),	     INFO(snd_wnd),	INFO(rcv_wnd),	   INFO(unacked),
	INFO(unsent),	  INFO(pipe),	     INFO(sacked),	INFO(readable),	   INFO(ooo_bytes),
	INFO(lost_bytes), INFO(reordering),  INFO(reo_mult),	INFO(reordered),   INFO(zero_window_us),
	INFO(age_us),	  INFO(idle_us),     INFO(bytes_in),	INFO(bytes_out),
	INFO(ooo),	  INFO(retransmits), INFO(lost),	INFO(dup_acks),	   INFO(retries),
};

static const struct field *field_find(const struct field *f, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(f[i].name) == len && memcmp(f[i].name, name, len) == 0)
			return &f[i];
	return NULL;
}

static uint64_t field_get(const struct field *f, const void *from)
{
	const uint8_t *p = (const uint8_t *)from + f->off;
	uint64_t v = 0;

	memcpy(&v, p, f->size); /* little endian */
	return v;
}

static int option_set(struct vtcp_stack *s, const char *name, size_t len, const char *value)
{
	static const char *const ccs[] = {"cubic", "newreno"};
	const struct field *f = field_find(options, ARRAY_LEN(options), name, len);
	size_t value_len = strcspn(value, " ");
	uint64_t v = 0;
	char *end;

	errno = 0;
	v = strtoull(value, &end, 10);
	bool number = end != value && end == value + value_len && errno == 0 && *value != '-';
	if (len == 8 && memcmp(name, "clock_us", 8) == 0 && number && !s->tcp) {
		s->clock_us = v;
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_LEN(ccs); i++)
		if (strlen(ccs[i]) == value_len && memcmp(value, ccs[i], value_len) == 0) {
			v = i;
			number = true;
		}
	if (!f || !number || v < f->min || v > f->max)
		return stack_fail("option %.*s=%.*s", (int)len, name, (int)value_len, value);
	if (f->created && s->tcp)
		return stack_fail("%s is fixed when the stack is created", f->name);
	struct tcp_conf *conf = s->tcp ? &s->tcp->conf : &s->conf;
	memcpy((uint8_t *)conf + f->off, &v, f->size);
	return 0;
}

int vtcp_set(struct vtcp_stack *s, const char *text)
{
	while (*(text += strspn(text, " "))) {
		size_t len = strcspn(text, "= ");
		if (text[len] != '=')
			return stack_fail("\"%s\": name=value is wanted", text);
		if (option_set(s, text, len, text + len + 1) != 0)
			return VTCP_INVALID;
		text += strcspn(text, " ");
	}
	return 0;
}

int vtcp_get(const struct vtcp_stack *s, const char *name, int64_t *value)
{
	const struct field *f = field_find(options, ARRAY_LEN(options), name, strlen(name));

	if (!f)
		return stack_fail("option %s", name);
	*value = (int64_t)field_get(f, &s->tcp->conf);
	return 0;
}

const char *vtcp_option_name(unsigned i)
{
	return i < ARRAY_LEN(options) ? options[i].name : NULL;
}

int vtcp_info(const struct vtcp_stack *s, int conn, const char *name, int64_t *value)
{
	const struct stack_conn *k = stack_conn_at(s, conn);
	const struct field *f = field_find(infos, ARRAY_LEN(infos), name, strlen(name));
	struct tcp_conn_info info;

	if (!k)
		return VTCP_INVALID;
	if (strcmp(name, "local_port") == 0 || strcmp(name, "remote_port") == 0) {
		struct ip_addr l, r;
		uint16_t lport, rport;
		tcp_addrs(k->c, &l, &lport, &r, &rport);
		*value = *name == 'l' ? lport : rport;
		return 0;
	}
	if (!f)
		return stack_fail("no information \"%s\"", name);
	tcp_conn_info(k->c, &info);
	*value = (int64_t)field_get(f, &info);
	return 0;
}

const char *vtcp_info_name(unsigned i)
{
	static const char *const more[] = {"local_port", "remote_port"};

	if (i < ARRAY_LEN(infos))
		return infos[i].name;
	i -= (unsigned)ARRAY_LEN(infos);
	return i < ARRAY_LEN(more) ? more[i] : NULL;
}

const char *vtcp_info_text(const struct vtcp_stack *s, int conn, const char *name)
{
	const struct stack_conn *k = stack_conn_at(s, conn);
	struct tcp_conn_info info;

	if (!k)
		return NULL;
	tcp_conn_info(k->c, &info);
	if (strcmp(name, "state") == 0)
		return tcp_state_name(info.state);
	if (strcmp(name, "recovery") == 0)
		return tcp_recovery_name(info.recovery);
	if (strcmp(name, "error") == 0)
		return err_name(info.error);
	if (strcmp(name, "cc") == 0)
		return info.cc;
	return NULL;
}

int vtcp_stat(const struct vtcp_stack *s, const char *name, int64_t *value)
{
	struct tcp_counts n;

	tcp_counts(s->tcp, &n);
	if (strcmp(name, "conns") == 0)
		*value = n.conns;
	else if (strcmp(name, "half_open") == 0)
		*value = n.half_open;
	else if (strcmp(name, "time_wait") == 0)
		*value = n.time_wait;
	else if (strcmp(name, "lost_outside") == 0)
		*value = s->lost_outside;
	else
		goto counter;
	return 0;
counter:
	for (unsigned i = 0; i < STAT__N; i++)
		if (strcmp(stat_name((enum stat_id)i), name) == 0) {
			*value = (int64_t)stat_get(&s->stat, (enum stat_id)i);
			return 0;
		}
	return stack_fail("no counter \"%s\"", name);
}
