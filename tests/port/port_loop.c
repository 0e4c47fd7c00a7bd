/*
 * port_loop.c: two devices joined back to back, two workers on each, a real EAL: what one sends the other
 * must receive, every frame at the worker that owns its flow, whole and with right checksums.
 *
 * usage: port_loop [-2] [-n] [-b] [vhost | DEVICE_A DEVICE_B [WORKERS]]      as root; without devices a pair of memif
 * vhost: from a virtio-user device to a vhost one; needs -2
 * -2: in two processes, as virtio-user needs it, which starts second; else B starts first
 * -n: no huge pages, even if there are some
 * -b: big packets at B, which then takes what the device of A was asked to cut and did not need to
 *
 * Each worker sends TCP frames of random flows and sizes on A, small and to be segmented, of both
 * families, some in several buffers; one ARP frame goes to everybody. On B each worker checks what it
 * gets. At the end sent and received payload must be equal, and every packet back in its pool.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "check.h"
#include "clock.h"
#include "csum.h"
#include "log.h"
#include "pkt_inline.h"
#include "port.h"
#include "rand.h"

#define SENDS   2000
#define MSS     1400
#define WINDOW  60000 /* payload bytes under way: less than the rings hold */
#define N_MAX   4
#define PACKETS 32768

#define MUST(cond, ...)                                                                            \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "port_loop: " __VA_ARGS__);                                \
			fprintf(stderr, " (%s)\n", #cond);                                         \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* Seen by both processes. */
static struct shared {
	atomic_ulong sent_bytes, got_bytes, got_frames;
	atomic_uint n_sending, n_arp, n_open;
	struct port_info info[2];
} *sh;

static struct port *port[2];
static struct pkt_pool *pool;
static unsigned n_workers = 2;
static bool huge_pages = true, big;
static unsigned late; /* the device that is opened second, where there are two processes */
static struct worker {
	struct stat stat;
	struct rnd rnd;
	unsigned index;
} worker[N_MAX];

static unsigned g16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void p16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Payload bytes name their place in the flow: the frame that carries them can be checked alone. */
static uint8_t pattern(uint32_t seq)
{
	return (uint8_t)(seq * 31 + (seq >> 8));
}

static void send_tcp(struct worker *w, struct port_core *pc)
{
	bool six = rnd_below(&w->rnd, 2);
	uint32_t len = rnd_below(&w->rnd, rnd_below(&w->rnd, 4) ? MSS : 20000), l3_len = six ? 40 : 20;
	struct port_tx_meta m = {14, (uint16_t)l3_len, 20, six, true, 6, len > MSS ? MSS : 0};
	struct pkt *p = pkt_alloc(pool);
	MUST(p, "pool empty");
	uint32_t seq = (uint32_t)rnd_u64(&w->rnd);
	uint8_t *h = pkt_append(p, 14 + l3_len + 20), *l3 = h + 14, *l4 = l3 + l3_len;

	memset(h, 0, 14 + l3_len + 20);
	memcpy(h, sh->info[1].mac, 6);
	memcpy(h + 6, sh->info[0].mac, 6);
	p16(h + 12, six ? 0x86dd : 0x0800);
	if (six) {
		l3[0] = 0x60;
		p16(l3 + 4, 20 + len);
		l3[6] = 6;
		l3[7] = 64;
		l3[8] = l3[24] = 0xfd;
		l3[23] = 1;
		l3[39] = 2;
	} else {
		l3[0] = 0x45;
		p16(l3 + 2, 40 + len);
		l3[8] = 64;
		l3[9] = 6;
		p16(l3 + 12, 0xc612);
		p16(l3 + 16, 0xc612);
		l3[15] = 1;
		l3[19] = 2;
	}
	p16(l4, (unsigned)rnd_u64(&w->rnd) & 0xffff);
	p16(l4 + 2, 25);
	p16(l4 + 4, seq >> 16);
	p16(l4 + 6, seq & 0xffff);
	l4[12] = 0x50;
	l4[13] = 0x18;
	for (uint32_t n = 0; n < len;) {
		/* Small ones in the header's packet, large ones behind it. */
		struct pkt *q = len < 200 ? p : pkt_alloc(pool);
		MUST(q, "pool empty");
		uint32_t k = len - n < 1777 ? len - n : 1777;
		uint8_t *d = pkt_append(q, k);
		for (uint32_t i = 0; i < k; i++)
			d[i] = pattern(seq + n + i);
		if (q != p)
			pkt_chain(p, q);
		n += k;
	}
	atomic_fetch_add(&sh->sent_bytes, len);
	port_send(pc, p, &m);
}

/* Takes many packets and gives them back: the caches turn over, and in time every packet of the pool is sent
 * and received. A device that was shown the pool wrongly loses some. */
static void rotate(void)
{
	struct pkt *p[600];
	unsigned n = 0;

	while (n < 600 && (p[n] = pkt_alloc(pool)) != NULL)
		n++;
	while (n > 0)
		pkt_free(p[--n]);
}

static void check_tcp(struct worker *w, struct pkt *p)
{
	uint8_t *h = pkt_data(p), *l3 = h + 14;
	bool six = g16(h + 12) == 0x86dd;
	uint32_t l3_len = six ? 40 : 20, be[2];
	uint8_t *l4 = l3 + l3_len;

	MUST(six || g16(h + 12) == 0x0800, "frame of type %04x", g16(h + 12));
	uint32_t l4_len = six ? g16(l3 + 4) : g16(l3 + 2) - 20;
	MUST(pkt_len(p) >= 14 + l3_len + l4_len, "cut frame");
	MUST(sh->info[0].tso || l4_len - 20 <= MSS, "segment of %u bytes", l4_len - 20);
	memcpy(be, l3 + 12, 8);
	struct ip_addr src = six ? ip_from6(l3 + 8) : ip_from4(be[0]);
	struct ip_addr dst = six ? ip_from6(l3 + 24) : ip_from4(be[1]);
	MUST(six || csum_fold(csum_add(0, l3, 20)) == 0, "IPv4 checksum");
	if (!sh->info[1].rx_csum)
		MUST(csum_fold(csum_add(csum_pseudo(&src, &dst, 6, l4_len), l4, l4_len)) == 0,
		     "TCP checksum");
	unsigned owner = port_flow_owner(port[1], &src, &dst, (uint16_t)g16(l4), (uint16_t)g16(l4 + 2));
	MUST(owner == w->index, "flow of worker %u at worker %u", owner, w->index);
	MUST(owner == port_flow_owner(port[1], &dst, &src, (uint16_t)g16(l4 + 2), (uint16_t)g16(l4)),
	     "asymmetric");
	uint32_t seq = g16(l4 + 4) << 16 | g16(l4 + 6);
	for (uint32_t i = 0; i + 20 < l4_len; i++)
		MUST(l4[20 + i] == pattern(seq + i), "payload byte %u", i);
	atomic_fetch_add(&sh->got_bytes, l4_len - 20);
	atomic_fetch_add(&sh->got_frames, 1);
}

static void send_arp(struct port_core *pc)
{
	static const struct port_tx_meta plain = {.l2_len = 14};
	struct pkt *p = pkt_alloc(pool);
	MUST(p, "pool empty");
	uint8_t *h = pkt_append(p, 60);
	memset(h, 0, 60);
	memset(h, 0xff, 6);
	memcpy(h + 6, sh->info[0].mac, 6);
	p16(h + 12, 0x0806);
	port_send(pc, p, &plain);
}

static unsigned receive(struct worker *w, struct port_core *pc)
{
	struct pkt *in[PORT_BURST];
	unsigned n = port_receive(pc, in, PORT_BURST);

	for (unsigned i = 0; i < n; i++) {
		uint8_t *h = pkt_data(in[i]);
		if (g16(h + 12) == 0x0806)
			atomic_fetch_add(&sh->n_arp, 1);
		else if (memcmp(h, sh->info[1].mac, 6) == 0)
			check_tcp(w, in[i]);
		pkt_free(in[i]);
	}
	return n;
}

/* Everything a worker does but sending; frames that came in on b. */
static unsigned turn(struct worker *w, struct port_core *a, struct port_core *b)
{
	struct pkt *in[PORT_BURST];
	unsigned n = 0;

	if (a) {
		port_flush(a);
		n = port_receive(a, in, PORT_BURST);
		while (n > 0)
			pkt_free(in[--n]);
	}
	if (b) {
		port_flush(b);
		n = receive(w, b);
	}
	return n;
}

static int worker_main(void *arg)
{
	struct worker *w = arg;
	struct port_core *a = port[0] ? port_core_create(port[0], w->index, &w->stat) : NULL;
	struct port_core *b = port[1] ? port_core_create(port[1], w->index, &w->stat) : NULL;
	unsigned sends = 0;
	uint64_t end_us = clock_us() + 100000000;

	/* The link may need a moment: the first frame is sent until it arrives everywhere. */
	while (atomic_load(&sh->n_arp) < n_workers) {
		MUST(clock_us() < end_us, "the link does not come up");
		if (w->index == 0 && a)
			send_arp(a);
		for (unsigned i = 0; i < 20; i++) {
			turn(w, a, b);
			usleep(500);
		}
	}
	while (atomic_load(&sh->n_sending) > 0 || atomic_load(&sh->got_bytes) < atomic_load(&sh->sent_bytes)) {
		MUST(clock_us() < end_us, "not done: %lu of %lu bytes, %lu frames",
		     atomic_load(&sh->got_bytes), atomic_load(&sh->sent_bytes), atomic_load(&sh->got_frames));
		if (a && sends < SENDS &&
		    atomic_load(&sh->sent_bytes) - atomic_load(&sh->got_bytes) < WINDOW) {
			send_tcp(w, a);
			if (sends % 16 == 0)
				rotate();
			if (++sends == SENDS)
				atomic_fetch_sub(&sh->n_sending, 1);
		}
		if (turn(w, a, b) == 0)
			usleep(10);
	}
	port_core_destroy(&a);
	port_core_destroy(&b);
	return 0;
}

/* Counters of this process's workers; how much was steered. */
static uint64_t print_stats(const char *name)
{
	uint64_t steered = 0;

	for (unsigned i = 0; i < n_workers; i++) {
		const struct stat *s = &worker[i].stat;
		steered += stat_get(s, STAT_port_steered);
		for (unsigned k = 0; k < STAT__N; k++) {
			if (stat_get(s, k))
				printf("%s worker %u: %s %lu\n", name, i, stat_name(k), stat_get(s, k));
		}
	}
	return steered;
}

/* Opens the n devices from first on and runs the workers until all is done. */
static void run(struct conf_port *ports, unsigned first, unsigned n)
{
	struct conf c = {.n_workers = n_workers, .packets = PACKETS, .n_port = n, .port = ports + first,
			 .log_level = LOG_L_INFO, .huge_pages = huge_pages};

	MUST(port_eal_start(&c) == ERR_OK, "EAL");
	bool big_here = big && first + n == 2;
	pool = pkt_pool_create("loop", big_here ? PACKETS / 16 - 1 : PACKETS - 1,
			       big_here ? PKT_BIG_ROOM : PKT_ROOM);
	MUST(pool, "no memory for the pool");
	for (unsigned i = first; i < first + n; i++) {
		MUST(port_open(&port[i], &ports[i], i, n_workers, pool) == ERR_OK, "port");
		sh->info[i] = *port_info(port[i]);
		atomic_fetch_add(&sh->n_open, 1);
	}
	for (unsigned i = 0; atomic_load(&sh->n_open) < 2; i++) {
		MUST(i < 2000, "the other process did not start");
		usleep(10000);
	}
	for (unsigned i = 0; i < n_workers; i++) {
		worker[i].index = i;
		rnd_seed(&worker[i].rnd, i + 1);
		MUST(port_worker_launch(i, worker_main, &worker[i]) == ERR_OK, "launch");
	}
	for (unsigned i = 0; i < n_workers; i++)
		port_worker_join(i);
	uint64_t steered = print_stats(n == 2 ? "both" : ports[first].name);
	MUST(n_workers == 1 || sh->info[1].n_queue > 1 || first + n < 2 || steered > 0, "nothing was steered");
	/* What was opened last is closed first: it may have mapped what the other owns. */
	for (unsigned i = 0; first != late && n == 1 && atomic_load(&sh->n_open) > 1 && i < 500; i++)
		usleep(10000);
	port_close(&port[late]);
	atomic_fetch_sub(&sh->n_open, 1);
	port_close(&port[!late]);
	pkt_pool_destroy(&pool);
	port_eal_stop();
}

int main(int argc, char **argv)
{
	char dev[2][256];
	struct conf_port ports[2] = {{.name = "a", .device = dev[0]}, {.name = "b", .device = dev[1]}};
	bool two = false;
	int status = 0;

	for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
		two |= strcmp(argv[1], "-2") == 0;
		huge_pages &= strcmp(argv[1], "-n") != 0;
		big |= strcmp(argv[1], "-b") == 0;
	}
	for (unsigned i = 0; i < 2; i++)
		snprintf(dev[i], sizeof(dev[i]), "net_memif%u,role=%s,socket=veredus-loop-%d", i,
			 i == two ? "server" : "client", (int)getpid());
	if (argc == 2 && strcmp(argv[1], "vhost") == 0) {
		snprintf(dev[0], sizeof(dev[0]), "net_virtio_user0,mac=02:00:00:00:00:0a,path=/tmp/veredus-loop-%d",
			 (int)getpid());
		snprintf(dev[1], sizeof(dev[1]), "net_vhost0,iface=/tmp/veredus-loop-%d%s", (int)getpid(),
			 big ? ",tso=1" : "");
	}
	if (argc > 2) {
		ports[0].device = argv[1];
		ports[1].device = argv[2];
	}
	if (argc > 3)
		n_workers = (unsigned)atoi(argv[3]);
	MUST(n_workers >= 1 && n_workers <= N_MAX, "1 to %u workers", N_MAX);
	log_set_level(LOG_L_INFO);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(sh != MAP_FAILED, "no memory");
	atomic_store(&sh->n_sending, n_workers);
	if (!two) {
		run(ports, 0, 2);
	} else {
		late = strncmp(ports[1].device, "net_virtio_user", 15) == 0;
		pid_t pid = fork();
		MUST(pid >= 0, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run(ports, !late, 1);
			exit(0);
		}
		for (unsigned i = 0; atomic_load(&sh->n_open) < 1; i++) {
			MUST(i < 1000 && waitpid(pid, &status, WNOHANG) == 0, "the other process failed");
			usleep(10000);
		}
		run(ports, late, 1);
		MUST(waitpid(pid, &status, 0) == pid && status == 0, "the other process failed");
	}
	printf("sent %lu bytes, received %lu in %lu frames\n", atomic_load(&sh->sent_bytes),
	       atomic_load(&sh->got_bytes), atomic_load(&sh->got_frames));
	return 0;
}
