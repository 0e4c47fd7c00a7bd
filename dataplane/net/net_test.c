/* net_test.c: a net core whose frames go to a function: what unit tests and simulators use. */
#include "net_int.h"

struct net_core *net_create_test(const struct conf_port *ports, unsigned n_ports,
				 const struct port_info *info, struct pkt_pool *pool, struct stat *stat,
				 struct rnd *rnd, void (*out)(void *arg, unsigned port, struct pkt *p),
				 void *arg)
{
	struct conf c = {.n_port = n_ports, .port = (struct conf_port *)(uintptr_t)ports};
	struct port *shared[PORT_MAX];
	struct port_core *cores[PORT_MAX];

	CHECK(n_ports <= PORT_MAX);
	for (unsigned i = 0; i < n_ports; i++) {
		shared[i] = port_test_open(&info[i], i, pool, out, arg);
		cores[i] = port_core_create(shared[i], 0, stat);
	}
	struct net_core *n = net_create(&c, cores, shared, n_ports, pool, stat, rnd, true);
	n->own_ports = true;
	return n;
}
