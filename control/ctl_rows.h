/*
 * ctl_rows.h: rows that operators choose by expression (pred.h): queued mail and connections: their fields, and the
 * verbs that list and change them. A request's "where" holds the expression.
 */
#ifndef VEREDUS_CTL_ROWS_H
#define VEREDUS_CTL_ROWS_H

#include "ctl_verbs.h"

/* {"where": TEXT, "limit": N} -> {"items": [...]} */
json_t *ctl_queue_list(struct ctl *c, const json_t *request);
/* {"where": TEXT} or {"all": true} -> {"count": N} */
json_t *ctl_queue_retry(struct ctl *c, const json_t *request);
json_t *ctl_queue_remove(struct ctl *c, const json_t *request);
/* {"where": TEXT, "limit": N} -> {"count": all that match, "connections": the first N} */
json_t *ctl_conn_list(struct ctl *c, const json_t *request);
/* -> {"fields": [{"name", "type", "help"}]} */
json_t *ctl_conn_fields(struct ctl *c, const json_t *request);
json_t *ctl_queue_fields(struct ctl *c, const json_t *request);

#endif
