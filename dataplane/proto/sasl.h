/*
 * sasl.h: messages of SASL mechanisms as SMTP, IMAP and POP3 carry them, in base64. Pure; nothing is kept.
 */
#ifndef VEREDUS_SASL_H
#define VEREDUS_SASL_H

#include <stdbool.h>
#include "span.h"

#define SASL_LINE_MAX 12288u /* RFC 4954 4: the longest a line of base64 may have to be */

/* Overwrites what held a secret; the compiler may not leave it out. */
void sasl_wipe(void *p, size_t len);

struct sasl_plain {
	struct span user, password; /* into the buffer */
	bool other; /* asks to act in another's name: refused by whoever gets it */
};
/* RFC 4616: [authzid] NUL authcid NUL password. raw: MAIL_B64_DEC_MAX(b64.len) bytes for the decoded message, wiped
 * when it is none (false). The caller wipes it when user and password are used. */
bool sasl_plain_read(struct span b64, uint8_t *raw, size_t cap, struct sasl_plain *out);

#endif
