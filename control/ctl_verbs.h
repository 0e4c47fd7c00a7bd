/* ctl_verbs.h: what the operator's socket can be asked. Rows of one table; each fills a JSON reply. */
#ifndef VEREDUS_CTL_VERBS_H
#define VEREDUS_CTL_VERBS_H

#include <jansson.h>
#include "control.h"

struct ctl {
	struct veredus *v;
	const struct conf *conf;
	/* previous counters, for rates of `status` */
	uint64_t busy_ns, busy_at_us;
};

/* ctl_serve's callback: arg is a struct ctl. */
json_t *ctl_verb(void *arg, const json_t *request);

#endif
