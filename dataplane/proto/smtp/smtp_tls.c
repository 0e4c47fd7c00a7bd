/*
 * smtp_tls.c: STARTTLS (RFC 3207) and what Received says about it.
 *
 * After the handshake nothing is remembered of what was said in clear: not the client's name, no transaction, and no
 * byte that came behind the command (RFC 3207 4.2).
 */
#include <stdio.h>
#include <stdlib.h>
#include "smtp_int.h"

void smtp_tls_command(struct smtp_session *ss)
{
	struct session *s = &ss->s;
	if (stream_is_tls(&s->st)) {
		smtp_reply(ss, "503 5.5.1 TLS is on already\r\n");
		return;
	}
	if (!session_offers_tls(s)) {
		smtp_reply(ss, "502 5.5.1 Command not implemented\r\n");
		return;
	}
	smtp_reply(ss, "220 2.0.0 Ready to start TLS\r\n");
	smtp_txn_end(ss);
	free(ss->helo);
	ss->helo = NULL;
	ss->esmtp = false;
	smtp_auth_forget(ss);
	smtp_enter(ss, SMTP_START);
	session_start_tls(s, "smtp");
}

size_t smtp_tls_text(struct smtp_session *ss, char out[SMTP_TLS_TEXT])
{
	struct tls_info info;
	if (!stream_tls_info(&ss->s.st, &info))
		return 0;
	int n = snprintf(out, SMTP_TLS_TEXT, "(using %s with cipher %s)", info.version, info.cipher);
	CHECK(n > 0 && n < SMTP_TLS_TEXT);
	return (size_t)n;
}
