/*
 * eal.c: starting the EAL with what the configuration names and nothing else, and the worker lcores.
 *
 * Lcore 0 is the control thread and may run on every CPU; worker w is lcore w + 1, bound to its CPU. More
 * workers than CPUs share them. Invariants: 1. no device is probed that the configuration does not name:
 * PCI is off unless a PCI address is named; 2. nothing is left in the file system: memory is anonymous.
 */
#include <ctype.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include "check.h"
#include "log.h"
#include "port.h"
#include "port_eal_int.h"

#define ARG_MAX   64
#define WORKER_MAX 64

/* "0000:3b:00.0" or "3b:00.0", before a comma. */
static bool is_pci(const char *device)
{
	size_t n = strcspn(device, ","), colons = 0;

	for (size_t i = 0; i < n; i++) {
		colons += device[i] == ':';
		if (!isxdigit((unsigned char)device[i]) && device[i] != ':' && device[i] != '.')
			return false;
	}
	return colons >= 1;
}

struct args {
	char *v[ARG_MAX];
	int n;
};

PRINTF(2, 3) static void arg_add(struct args *a, const char *fmt, ...)
{
	va_list ap;

	CHECK(a->n + 1 < ARG_MAX);
	va_start(ap, fmt);
	CHECK(vasprintf(&a->v[a->n++], fmt, ap) >= 0);
	va_end(ap);
}

static void args_free(struct args *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->v[i]);
}

void port_device_name(const char *device, char *dst, size_t size)
{
	size_t n = strcspn(device, ",");

	/* The EAL names PCI devices with their domain. */
	bool short_pci = is_pci(device) && memchr(device, ':', n) == memrchr(device, ':', n);
	snprintf(dst, size, "%s%.*s", short_pci ? "0000:" : "", (int)n, device);
}

static void add_devices(struct args *a, const struct conf *c)
{
	bool pci = false;

	for (unsigned i = 0; i < c->n_port; i++) {
		const char *d = c->port[i].device;
		/* Kernel busy polling on behalf of an AF_XDP socket costs a third of its throughput where
		 * the worker polls itself: 1.07 against 1.57 million packets a second over veth. */
		bool quiet = strncmp(d, "net_af_xdp", 10) == 0 && !strstr(d, "busy_budget=");
		if (is_pci(d))
			arg_add(a, "-a%s", d);
		else
			arg_add(a, "--vdev=%s%s", d, quiet ? ",busy_budget=0" : "");
		pci |= is_pci(d);
	}
	if (!pci) {
		arg_add(a, "--no-pci");
		/* No device asks for physical addresses: packets may cross pages (pkt_eal.c). */
		arg_add(a, "--iova-mode=va");
	}
}

/* Free huge pages of all sizes, MiB. */
static uint64_t huge_free_mib(void)
{
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	struct dirent *e;
	uint64_t mib = 0;

	while (dir && (e = readdir(dir)) != NULL) {
		unsigned long kib, n;
		char path[300];
		if (sscanf(e->d_name, "hugepages-%lukB", &kib) != 1)
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/%s/free_hugepages", e->d_name);
		FILE *f = fopen(path, "r");
		if (f && fscanf(f, "%lu", &n) == 1)
			mib += (uint64_t)kib * n / 1024;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return mib;
}

/* What the packets take, their big brothers for the disk, rings and queues of devices. */
static uint64_t memory_mib(const struct conf *c)
{
	if (c->memory_mib)
		return c->memory_mib;
	uint64_t packet = PKT_ROOM + PKT_HEADROOM + sizeof(struct rte_mbuf) + 128;
	return 128 + 32 * c->n_workers + c->packets * packet * 3 / 2 / (1 << 20);
}

static void add_memory(struct args *a, const struct conf *c)
{
	uint64_t need = memory_mib(c), have = huge_free_mib();

	if (c->huge_pages && have >= need) {
		arg_add(a, "--in-memory");
		/* virtio-user shows its peer all memory, in at most eight pieces. */
		for (unsigned i = 0; i < c->n_port; i++) {
			if (strncmp(c->port[i].device, "net_virtio_user", 15) == 0) {
				arg_add(a, "--single-file-segments");
				break;
			}
		}
		return;
	}
	if (c->huge_pages)
		log_info("%lu MiB of huge pages are free, %lu are needed: running without", have, need);
	arg_add(a, "--no-huge");
	arg_add(a, "--no-shconf");
	arg_add(a, "-m%lu", need);
}

/* "(0)@(0,1),1@0,2@1": every worker has a thread of its own even where CPUs are fewer. */
static bool add_lcores(struct args *a, const struct conf *c)
{
	cpu_set_t set;
	char list[2048];
	int cpu[CPU_SETSIZE], n_cpu = 0, len;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return false;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &set))
			cpu[n_cpu++] = i;
	}
	len = snprintf(list, sizeof(list), "(0)@(");
	for (int i = 0; i < n_cpu && len < 1024; i++)
		len += snprintf(list + len, sizeof(list) - (size_t)len, "%s%d", i ? "," : "", cpu[i]);
	len += snprintf(list + len, sizeof(list) - (size_t)len, ")");
	for (unsigned w = 0; w < c->n_workers; w++) {
		int at = (int)(c->worker_lcore ? c->worker_lcore[w] : w);
		if (at >= CPU_SETSIZE || !CPU_ISSET(at, &set)) {
			int instead = cpu[at % n_cpu];
			log_warn("worker %u: CPU %d is not there, using %d", w, at, instead);
			at = instead;
		}
		len += snprintf(list + len, sizeof(list) - (size_t)len, ",%u@%d", w + 1, at);
	}
	arg_add(a, "--lcores=%s", list);
	arg_add(a, "--main-lcore=0");
	return true;
}

/* A device brought more than was asked for: not touched, and better said than found out. */
static enum err check_devices(const struct conf *c)
{
	uint16_t id;

	RTE_ETH_FOREACH_DEV(id) {
		char have[RTE_ETH_NAME_MAX_LEN] = "", want[RTE_ETH_NAME_MAX_LEN];
		bool named = false;
		rte_eth_dev_get_name_by_port(id, have);
		for (unsigned i = 0; i < c->n_port && !named; i++) {
			port_device_name(c->port[i].device, want, sizeof(want));
			named = strcmp(have, want) == 0;
		}
		if (!named) {
			log_error("device %s appeared that the configuration does not name", have);
			return ERR_DENIED;
		}
	}
	return ERR_OK;
}

enum err port_eal_start(const struct conf *c)
{
	struct args a = {0};
	int n;

	if (c->n_workers == 0 || c->n_workers > WORKER_MAX || c->n_port > PORT_MAX) {
		log_error("%u workers and %u ports: at most %u and %u", c->n_workers, c->n_port,
			  WORKER_MAX, PORT_MAX);
		return ERR_TOO_MANY;
	}
	/* A vhost or memif peer that goes away must not take us along. */
	signal(SIGPIPE, SIG_IGN);
	arg_add(&a, "veredus");
	arg_add(&a, "--no-telemetry");
	arg_add(&a, "--log-level=%d", c->log_level >= LOG_L_DEBUG ? 7 : 4);
	arg_add(&a, "--file-prefix=veredus.%d", (int)getpid());
	add_devices(&a, c);
	add_memory(&a, c);
	if (!add_lcores(&a, c)) {
		args_free(&a);
		return ERR_IO;
	}
	/* The EAL permutes argv, keeps none of it, and returns how far it read. */
	char *argv[ARG_MAX];
	memcpy(argv, a.v, sizeof(argv));
	n = rte_eal_init(a.n, argv);
	if (n != a.n - 1) {
		log_error("the EAL did not start: %s", n < 0 ? rte_strerror(rte_errno) : "arguments not read");
		args_free(&a);
		return ERR_IO;
	}
	args_free(&a);
	return check_devices(c);
}

void port_eal_stop(void)
{
	rte_eal_cleanup();
}

enum err port_worker_launch(unsigned w, int (*fn)(void *), void *arg)
{
	return rte_eal_remote_launch(fn, arg, w + 1) == 0 ? ERR_OK : ERR_BUSY;
}

void port_worker_join(unsigned w)
{
	rte_eal_wait_lcore(w + 1);
}

void port_thread_register(void)
{
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() != 0)
		log_warn("no lcore id left for a thread: its packets bypass the cache");
}
