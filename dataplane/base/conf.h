/*
 * conf.h: what the operator configured, as plain immutable data. control/ makes it from the file and
 * publishes it; every folder reads what concerns it. Strings and arrays live as long as the snapshot.
 */
#ifndef VEREDUS_CONF_H
#define VEREDUS_CONF_H

#include <stdbool.h>
#include <stdint.h>
#include "ip.h"

struct conf_port {
	const char *name;
	const char *device; /* DPDK device string: "net_af_packet0,iface=vd0" or a PCI address */
	unsigned n_addr, n_gateway;
	struct ip_prefix *addr;
	struct ip_addr *gateway; /* at most one a family */
	unsigned mtu;            /* 0 = the device's */
	bool trust_rx_checksum;  /* take the device's word for good checksums; default false */
};

enum conf_tls { CONF_TLS_NONE, CONF_TLS_STARTTLS, CONF_TLS_IMPLICIT };
enum conf_protocol { CONF_SMTP, CONF_SUBMISSION, CONF_POP3, CONF_IMAP, CONF_HTTP };
struct conf_listen {
	enum conf_protocol protocol;
	struct ip_addr addr; /* any = all addresses of all ports */
	uint16_t port;
	enum conf_tls tls;
};

struct conf_cert {
	const char *certificate, *key; /* files */
	unsigned n_name;               /* 0: the names in the certificate */
	const char **name;             /* lower case */
};

struct conf_domain {
	const char *name; /* lower case */
	bool local;       /* deliver = local; else relayed by route */
};

struct conf_route {
	const char *pattern; /* lower case: "example.org", "*.example.org" (and below) or "*" */
	struct ip_addr host;
	uint16_t port;
	const char *via; /* as written */
};

struct conf {
	const char *file;
	const char *hostname;
	/* cores and memory */
	bool busy_poll; /* idle = busy; default adaptive */
	unsigned n_workers;
	unsigned *worker_lcore;
	unsigned packets;      /* packet buffers in all */
	unsigned connections;  /* TCP connections a worker */
	unsigned sessions;     /* protocol sessions a worker */
	bool huge_pages;       /* default: use them if the system has any free */
	unsigned memory_mib;   /* EAL memory; 0 = what the pools need */
	/* network */
	unsigned n_port, n_listen, n_cert;
	struct conf_port *port;
	struct conf_listen *listen;
	struct conf_cert *cert;
	bool auth_in_clear; /* passwords are taken without TLS; default false */
	/* mail */
	unsigned n_domain, n_route, n_relay_from;
	struct conf_domain *domain;
	struct conf_route *route; /* first match wins, as in the file */
	struct ip_prefix *relay_from;
	/* limits and times */
	uint64_t message_size_max;
	unsigned recipients_max, hops_max, errors_max;
	unsigned connections_per_ip;
	uint32_t smtp_timeout_s, pop3_timeout_s, imap_timeout_s, http_timeout_s;
	uint32_t retry_min_s, retry_max_s, expire_s; /* queue */
	unsigned route_connections; /* outbound connections a destination */
	unsigned route_messages;    /* messages a connection */
	bool binarymime;            /* SMTP takes BODY=BINARYMIME */
	bool bounce;                /* make DSNs; default true */
	/* store */
	const char *store_path;
	uint64_t store_size_max;    /* bytes of segments; 0 = until the disk is full */
	uint64_t store_free_min;    /* refuse mail below this many free bytes */
	int storage_core;           /* -1 = not pinned */
	/* control */
	const char *socket;
	unsigned log_level;
	unsigned tcp_mss, tcp_window; /* 0 = default */
	unsigned tcp_syn_backlog, tcp_syn_network_rate;
	bool tcp_syn_cookies;
	unsigned tcp_ecn;             /* enum tcp_ecn */
	bool tcp_pacing;
};

#endif
