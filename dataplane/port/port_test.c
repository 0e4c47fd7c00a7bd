/*
 * port_test.c: a port without a device, for unit tests and simulators: finished frames go to a function.
 * Does in software exactly what the port_info it was given says that the device does not. As from a wire,
 * a frame is one packet that nobody else holds.
 */
#include <stdlib.h>
#include "check.h"
#include "pkt_inline.h"
#include "port_int.h"

struct port {
	struct port_info info;
	unsigned index;
	struct pkt_pool *pool;
	void (*out)(void *arg, unsigned port, struct pkt *p);
	void *arg;
};

struct port_core {
	struct port *port;
	struct stat *stat;
};

struct port *port_test_open(const struct port_info *info, unsigned index, struct pkt_pool *pool,
			    void (*out)(void *arg, unsigned port, struct pkt *p), void *arg)
{
	struct port *p = malloc(sizeof(*p));

	CHECK(p != NULL);
	*p = (struct port){*info, index, pool, out, arg};
	return p;
}

void port_close(struct port **p)
{
	free(*p);
	*p = NULL;
}

const struct port_info *port_info(const struct port *p)
{
	return &p->info;
}

struct port_core *port_core_create(struct port *p, unsigned worker, struct stat *stat)
{
	struct port_core *pc = malloc(sizeof(*pc));

	(void)worker;
	CHECK(pc != NULL);
	*pc = (struct port_core){p, stat};
	return pc;
}

void port_core_destroy(struct port_core **pc)
{
	free(*pc);
	*pc = NULL;
}

unsigned port_core_worker(const struct port_core *pc)
{
	(void)pc;
	return 0;
}

unsigned port_receive(struct port_core *pc, struct pkt **out, unsigned max)
{
	(void)pc, (void)out, (void)max;
	return 0;
}

unsigned port_passed(struct port_core *pc)
{
	(void)pc;
	return 0;
}

static void deliver(struct port_core *pc, struct pkt *p)
{
	stat_inc(pc->stat, STAT_port_tx_packets);
	stat_add(pc->stat, STAT_port_tx_bytes, pkt_total(p));
	pc->port->out(pc->port->arg, pc->port->index, p);
}

void port_send(struct port_core *pc, struct pkt *p, const struct port_tx_meta *meta)
{
	const struct port_info *info = &pc->port->info;
	struct soft_cut cut;
	struct pkt *q;

	if (meta->tso_mss && soft_payload(p, meta) > meta->tso_mss && !info->tso) {
		soft_cut_init(&cut, p, meta, pc->port->pool);
		while ((q = soft_cut_next(&cut)) != NULL)
			deliver(pc, q);
		if (cut.left)
			stat_inc(pc->stat, STAT_pkt_alloc_fail);
		pkt_free(p);
		return;
	}
	soft_csum(p, meta, !info->tx_csum_ip4, !info->tx_csum_l4);
	if (pkt_next(p) && (p = soft_linear(p, pc->port->pool)) == NULL) {
		stat_inc(pc->stat, STAT_pkt_alloc_fail);
		return;
	}
	deliver(pc, p);
}

void port_flush(struct port_core *pc)
{
	(void)pc;
}

unsigned port_flow_owner(const struct port *p, const struct ip_addr *src, const struct ip_addr *dst,
			 uint16_t src_port, uint16_t dst_port)
{
	(void)p, (void)src, (void)dst, (void)src_port, (void)dst_port;
	return 0;
}
