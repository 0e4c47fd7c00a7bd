/* pkt_int.h: what the files of pkt/ share: the one call that the common code needs of an implementation
 * beside those of pkt.h. */
#ifndef VEREDUS_PKT_INT_H
#define VEREDUS_PKT_INT_H

#include "pkt.h"

/* Drops one reference of this segment only. A slice holds its segment, never the chain behind it. */
void pkt_free_seg(struct pkt *p);

#endif
