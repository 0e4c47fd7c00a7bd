/* port_eal_int.h: what the files with devices share. */
#ifndef VEREDUS_PORT_EAL_INT_H
#define VEREDUS_PORT_EAL_INT_H

#include "pkt_inline.h"
#include "port_int.h"
#include "spsc.h"

#define STEER_RING 1024 /* packets on their way from one worker to another */
#define TX_QUEUE   512  /* frames of a worker that wait for the device */
#define WORKERS_MAX 64

struct port {
	struct port_info info;
	const char *name;
	uint16_t id; /* ethdev */
	unsigned index, n_workers;
	struct pkt_pool *pool;
	bool rss;               /* the device gives each worker its flows */
	bool tx_prepare;        /* some offload is in use */
	bool tx_kick;           /* frames may stay in the device's ring until it is called again */
	unsigned reta_size;     /* of the device or, in software, RETA_SOFT */
	struct spsc *rx_ring;   /* [from][to]: received by from, owned by to */
	struct spsc *tx_ring;   /* [from]: frames of a worker without a queue of its own */
};

struct port_core {
	struct port *port;
	struct stat *stat;
	unsigned worker, queue;
	bool own_queue;
	unsigned next_from;   /* rings are emptied in turn */
	unsigned n_passed;    /* packets for others, since last asked */
	unsigned n_tx, stuck; /* frames waiting; flushes without progress */
	unsigned n_idle;      /* flushes since the last with frames */
	struct rte_mbuf *tx[TX_QUEUE];
};

static inline struct spsc *port_rx_ring(struct port *p, unsigned from, unsigned to)
{
	return &p->rx_ring[from * p->n_workers + to];
}

/* The worker whose queue carries the frames of worker w. */
static inline unsigned port_queue_worker(const struct port *p, unsigned w)
{
	return w % p->info.n_queue;
}

/* Device name of a configuration string: what stands before the comma. */
void port_device_name(const char *device, char *dst, size_t size);

#endif
