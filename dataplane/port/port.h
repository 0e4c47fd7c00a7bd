/*
 * port.h: NIC queues, offloads, RSS and software steering, packet capture later. The only folder that
 * sees the EAL and ethdev.
 *
 * One struct port a device; one struct port_core for each (port, worker). Where the device has fewer
 * queues than there are workers, or no RSS, the workers that own a queue compute the flow's owner and
 * pass packets over rings; the caller does not notice. Non-TCP/UDP packets (ARP, ND, ICMP) are given to
 * every worker (each keeps its own neighbour table); only the primary worker answers them.
 * Capabilities are read from the device and checked, never assumed. What it cannot do is done in
 * software behind port_send (checksums, segmentation, linearising).
 */
#ifndef VEREDUS_PORT_H
#define VEREDUS_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include "conf.h"
#include "err.h"
#include "ip.h"
#include "pkt.h"
#include "stat.h"

#define PORT_MAX   8
#define PORT_BURST 32

struct port;
struct port_core;

struct port_info {
	uint8_t mac[6];
	uint16_t mtu;          /* IP bytes a frame may carry */
	bool tx_csum_ip4, tx_csum_l4; /* device fills them; else port_send does it in software */
	bool tso;              /* device segments TCP; else software does */
	bool rx_csum;          /* device verdicts are there and trusted (conf) */
	bool multi_segs;
	unsigned n_queue;
};

/* What port_send must know of a packet to finish it. Lives in the packet's metadata (pkt_inline.h). */
struct port_tx_meta {
	uint16_t l2_len, l3_len, l4_len; /* l3_len 0: not IP, sent as it stands */
	bool ip6, tcp;         /* L4 checksum wanted over pseudo-header for TCP, else UDP/none by proto */
	uint8_t proto;         /* 6, 17, 58; 0 = leave L4 alone */
	uint16_t tso_mss;      /* != 0: payload may exceed the MTU, cut into segments of this size */
};

/* Starts the EAL with just the configuration's devices, --no-pci when none is on PCI, huge pages if
 * wanted and free, one lcore a worker. Called once. On error prints one line and returns it. */
enum err port_eal_start(const struct conf *c);
void port_eal_stop(void);
/* Runs fn(arg) on the lcore of worker w (its own thread); port_worker_join waits for it. */
enum err port_worker_launch(unsigned w, int (*fn)(void *), void *arg);
void port_worker_join(unsigned w);
/* Makes the calling non-EAL thread (storage, helpers) known to the EAL, so that mempool caches work. */
void port_thread_register(void);

enum err port_open(struct port **out, const struct conf_port *c, unsigned index, unsigned n_workers,
		   struct pkt_pool *pool);
void port_close(struct port **p);
const struct port_info *port_info(const struct port *p);
struct port_core *port_core_create(struct port *p, unsigned worker, struct stat *stat);
void port_core_destroy(struct port_core **pc);
unsigned port_core_worker(const struct port_core *pc);

/* Up to max packets for this worker; each holds one frame. Returns the count. */
unsigned port_receive(struct port_core *pc, struct pkt **out, unsigned max);
/* Packets that went through this worker for others since the last call: work that the count above does not
 * show. A worker that owns a queue must not sleep while there is such. */
unsigned port_passed(struct port_core *pc);
/* Queues one finished frame (takes it). Checksums and segmentation as meta says. */
void port_send(struct port_core *pc, struct pkt *p, const struct port_tx_meta *meta);
/* Sends what is queued; what the device does not take after a bounded number of tries is dropped and
 * counted. Also pushes packets for other workers' queues. */
void port_flush(struct port_core *pc);

/* The worker that received packets of this flow go to: src/dst as they stand in the received packet.
 * The same function serves RSS set-up, software steering and the choice of local ports. */
unsigned port_flow_owner(const struct port *p, const struct ip_addr *src, const struct ip_addr *dst,
			 uint16_t src_port, uint16_t dst_port);

#ifdef VEREDUS_PORT_TEST
/* Without a device, for unit tests (port_test_dep): a finished frame goes to out, which takes it. */
struct port *port_test_open(const struct port_info *info, unsigned index, struct pkt_pool *pool,
			    void (*out)(void *arg, unsigned port, struct pkt *p), void *arg);
#endif

#endif
