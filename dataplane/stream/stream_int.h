/* stream_int.h: what stream.c and stream_tls.c share. The functions here are called only when s->tls is set. */
#ifndef VEREDUS_STREAM_INT_H
#define VEREDUS_STREAM_INT_H

#include "stream.h"

#define STREAM_IDLE_CAP 16 /* an empty list with more room than this is let go */

void stream_tls_feed(struct stream *s, struct slice sl); /* takes it */
void stream_tls_eof(struct stream *s);
void stream_tls_close(struct stream *s);
/* The list that goes to the transport, with at least room bytes in it if there is as much to send. */
struct slices *stream_tls_out(struct stream *s, uint32_t room);

#endif
