/*
 * port.c: opening and closing a device: what it can do is asked, what it cannot is left to software.
 *
 * Invariants: 1. an offload is switched on only when the device claims it; received checksum verdicts are
 * believed only when the operator says so; 2. as many queues as workers where the device spreads flows
 * itself, else as many as it has up to that, and the workers pass packets on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <rte_ethdev.h>
#include "check.h"
#include "log.h"
#include "pkt_inline.h"
#include "port_eal_int.h"

#define DESC       1024
#define RETA_SOFT  128
#define FRAME_OVER 18 /* Ethernet header, VLAN tag */
#define XDP_FRONT  384 /* bytes that AF_XDP keeps in front of a frame in its buffer */

#define CSUM_L4 (RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
#define RSS_TCP (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define RSS_UDP (RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP)

static enum err fault(const struct conf_port *c, const char *what, int rc)
{
	log_error("port %s (%s): %s: %s", c->name, c->device, what, strerror(-rc));
	return ERR_IO;
}

static bool rss_possible(const struct rte_eth_dev_info *di, unsigned n_workers)
{
	return n_workers > 1 && di->max_rx_queues >= n_workers && di->max_tx_queues >= n_workers &&
	       (di->flow_type_rss_offloads & RSS_TCP) == RSS_TCP && di->reta_size > 0 &&
	       di->reta_size <= 4 * RTE_ETH_RETA_GROUP_SIZE * 8 && di->hash_key_size <= FLOW_KEY_LEN;
}

/* Queue of hash h is h % reta_size % n_queue, as port_flow_owner says. */
static bool rss_table(struct port *p, const struct rte_eth_dev_info *di)
{
	struct rte_eth_rss_reta_entry64 reta[32];

	memset(reta, 0, sizeof(reta));
	for (unsigned i = 0; i < di->reta_size; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << (i % RTE_ETH_RETA_GROUP_SIZE);
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			(uint16_t)(i % p->info.n_queue);
	}
	return rte_eth_dev_rss_reta_update(p->id, reta, di->reta_size) == 0;
}

static unsigned queues_wanted(const struct rte_eth_dev_info *di, unsigned n_workers, bool rss)
{
	unsigned n = n_workers;

	if (rss)
		return n;
	/* How many memif queues are connected is the peer's choice, and frames on others are lost. */
	if (strcmp(di->driver_name, "net_memif") == 0)
		return 1;
	if (n > di->max_rx_queues)
		n = di->max_rx_queues;
	return n > di->max_tx_queues ? di->max_tx_queues : n;
}

static enum err mtu_set(struct port *p, const struct conf_port *c, const struct rte_eth_dev_info *di)
{
	unsigned room = PKT_ROOM - FRAME_OVER;
	uint16_t mtu = 1500;

	if (strcmp(di->driver_name, "net_af_xdp") == 0)
		room = PKT_ROOM + PKT_HEADROOM - XDP_FRONT - FRAME_OVER;
	if (c->mtu > room || (c->mtu && c->mtu < 1280)) {
		log_error("port %s: mtu %u: from 1280 to %u here", c->name, c->mtu, room);
		return ERR_UNSUPPORTED;
	}
	if (c->mtu)
		rte_eth_dev_set_mtu(p->id, (uint16_t)c->mtu);
	rte_eth_dev_get_mtu(p->id, &mtu);
	p->info.mtu = mtu > room ? (uint16_t)room : mtu;
	if (c->mtu && c->mtu != p->info.mtu) {
		log_warn("port %s: the device keeps its mtu of %u", c->name, mtu);
		if (c->mtu < p->info.mtu)
			p->info.mtu = (uint16_t)c->mtu;
	}
	return ERR_OK;
}

static enum err configure(struct port *p, const struct conf_port *c)
{
	struct rte_eth_dev_info di;
	struct rte_eth_conf conf = {0};
	uint16_t n_rx = DESC, n_tx = DESC;
	int rc = rte_eth_dev_info_get(p->id, &di);

	if (rc != 0)
		return fault(c, "no device information", rc);
	p->rss = rss_possible(&di, p->n_workers);
	p->info.n_queue = queues_wanted(&di, p->n_workers, p->rss);
	if (p->info.n_queue == 0)
		return fault(c, "it has no queues", -ENODEV);

	conf.txmode.offloads = di.tx_offload_capa &
			       (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	if ((di.tx_offload_capa & CSUM_L4) == CSUM_L4)
		conf.txmode.offloads |= CSUM_L4;
	/* Segmentation needs the checksums it fills and frames of more than one buffer. */
	if ((conf.txmode.offloads & CSUM_L4) && (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) &&
	    strcmp(di.driver_name, "net_tap") != 0) /* counts the Ethernet header into the MTU, refuses */
		conf.txmode.offloads |= di.tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO;
	if (c->trust_rx_checksum)
		conf.rxmode.offloads = di.rx_offload_capa & RTE_ETH_RX_OFFLOAD_CHECKSUM;
	if (p->rss) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
			.rss_key = (uint8_t *)(uintptr_t)flow_key,
			.rss_key_len = di.hash_key_size ? di.hash_key_size : 40,
			.rss_hf = di.flow_type_rss_offloads & (RSS_TCP | RSS_UDP)};
	}
	rc = rte_eth_dev_configure(p->id, (uint16_t)p->info.n_queue, (uint16_t)p->info.n_queue, &conf);
	if (rc != 0)
		return fault(c, "it refused its configuration", rc);
	uint64_t tx = conf.txmode.offloads;
	p->tx_kick = strcmp(di.driver_name, "net_af_xdp") == 0;
	if (p->tx_kick && ((struct rte_mempool *)(void *)p->pool)->nb_mem_chunks > 1)
		log_warn("port %s: packets lie in several pieces of memory; AF_XDP will lose some of them",
			 c->name);
	p->info.tx_csum_ip4 = tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	p->info.tx_csum_l4 = (tx & CSUM_L4) == CSUM_L4;
	p->info.tso = tx & RTE_ETH_TX_OFFLOAD_TCP_TSO;
	p->info.multi_segs = tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	p->info.rx_csum = conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	p->tx_prepare = p->info.tx_csum_ip4 || p->info.tx_csum_l4;
	enum err e = mtu_set(p, c, &di);
	if (e != ERR_OK)
		return e;

	rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &n_rx, &n_tx);
	int socket = rte_eth_dev_socket_id(p->id);
	for (uint16_t q = 0; q < p->info.n_queue; q++) {
		rc = rte_eth_rx_queue_setup(p->id, q, n_rx, (unsigned)socket, NULL,
					    (struct rte_mempool *)(void *)p->pool);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(p->id, q, n_tx, (unsigned)socket, NULL);
		if (rc != 0)
			return fault(c, "a queue could not be set up", rc);
	}
	rc = rte_eth_dev_start(p->id);
	if (rc != 0)
		return fault(c, "it did not start", rc);
	p->reta_size = RETA_SOFT;
	if (p->rss && rss_table(p, &di))
		p->reta_size = di.reta_size;
	else
		p->rss = false;
	/* Solicitations for our addresses are multicast. */
	if (rte_eth_allmulticast_enable(p->id) != 0)
		rte_eth_promiscuous_enable(p->id);
	struct rte_ether_addr mac;
	rc = rte_eth_macaddr_get(p->id, &mac);
	if (rc != 0)
		return fault(c, "no MAC address", rc);
	memcpy(p->info.mac, mac.addr_bytes, 6);
	return ERR_OK;
}

static void say(const struct port *p, const struct conf_port *c)
{
	const struct port_info *i = &p->info;

	log_info("port %s (%s): %02x:%02x:%02x:%02x:%02x:%02x mtu %u, %u queues, %s steering, checksums %s, "
		 "segmentation %s, received checksums %s",
		 c->name, c->device, i->mac[0], i->mac[1], i->mac[2], i->mac[3], i->mac[4], i->mac[5],
		 i->mtu, i->n_queue, p->n_workers == 1 ? "no" : p->rss ? "device" : "software",
		 i->tx_csum_l4 ? "by device" : "in software", i->tso ? "by device" : "in software",
		 i->rx_csum ? "trusted" : "verified");
}

enum err port_open(struct port **out, const struct conf_port *c, unsigned index, unsigned n_workers,
		   struct pkt_pool *pool)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	struct port *p = calloc(1, sizeof(*p));

	CHECK(p != NULL && n_workers > 0 && n_workers <= WORKERS_MAX);
	p->name = c->name;
	p->index = index;
	p->n_workers = n_workers;
	p->pool = pool;
	port_device_name(c->device, name, sizeof(name));
	int rc = rte_eth_dev_get_port_by_name(name, &p->id);
	if (rc != 0) {
		free(p);
		return fault(c, "no such device", rc);
	}
	enum err e = configure(p, c);
	if (e != ERR_OK) {
		rte_eth_dev_close(p->id);
		free(p);
		return e;
	}
	if (n_workers > 1) {
		p->rx_ring = aligned_alloc(64, n_workers * n_workers * sizeof(*p->rx_ring));
		p->tx_ring = aligned_alloc(64, n_workers * sizeof(*p->tx_ring));
		CHECK(p->rx_ring != NULL && p->tx_ring != NULL);
		for (unsigned i = 0; i < n_workers * n_workers; i++)
			spsc_init(&p->rx_ring[i], STEER_RING);
		for (unsigned i = 0; i < n_workers; i++)
			spsc_init(&p->tx_ring[i], STEER_RING);
	}
	say(p, c);
	*out = p;
	return ERR_OK;
}

static void ring_drain(struct spsc *r)
{
	struct pkt *k;

	while ((k = spsc_pop(r)) != NULL)
		pkt_free(k);
	spsc_fini(r);
}

void port_close(struct port **pp)
{
	struct port *p = *pp;

	if (!p)
		return;
	rte_eth_dev_stop(p->id);
	for (unsigned i = 0; p->rx_ring && i < p->n_workers * p->n_workers; i++)
		ring_drain(&p->rx_ring[i]);
	for (unsigned i = 0; p->tx_ring && i < p->n_workers; i++)
		ring_drain(&p->tx_ring[i]);
	rte_eth_dev_close(p->id);
	free(p->rx_ring);
	free(p->tx_ring);
	free(p);
	*pp = NULL;
}

const struct port_info *port_info(const struct port *p)
{
	return &p->info;
}

unsigned port_flow_owner(const struct port *p, const struct ip_addr *src, const struct ip_addr *dst,
			 uint16_t src_port, uint16_t dst_port)
{
	if (p->n_workers == 1)
		return 0;
	return flow_hash(src, dst, src_port, dst_port) % p->reta_size % p->n_workers;
}
