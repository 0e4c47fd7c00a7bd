/* stack_int.h: what stack.c and stack_names.c share. Invariant: base_us + now is the clock that the stack sees. */
#ifndef VEREDUS_STACK_INT_H
#define VEREDUS_STACK_INT_H

#include "list.h"
#include "net.h"
#include "stack.h"
#include "tcp_int.h"

#define STACK_CONNS 4096

struct stack_frame {
	struct list node;
	uint64_t at_us;
	uint32_t len;
	uint8_t b[]; /* from the IP header on; of one for ourselves, the whole frame */
};

struct stack_conn {
	struct tcp_conn *c; /* NULL: free */
	struct slice left;  /* taken and not yet all read */
	uint32_t events, seen;
	bool waits; /* to be accepted */
};

struct vtcp_stack {
	struct net_core *net;
	struct tcp_core *tcp;
	struct pkt_pool *pool;
	struct stat stat;
	struct trace trace;
	struct rnd rnd;
	struct tcp_conf conf; /* before tcp exists */
	uint64_t base_us, clock_us, now_us;
	struct list sent;    /* to be taken */
	struct list replies; /* frames of the neighbours that this file plays */
	unsigned n_sent, lost_outside;
	struct stack_conn conn[STACK_CONNS];
	unsigned n_conn; /* no higher one was ever used */
};

/* Text for vtcp_error; returns VTCP_INVALID. */
int stack_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const struct stack_conn *stack_conn_at(const struct vtcp_stack *s, int conn);

#endif
