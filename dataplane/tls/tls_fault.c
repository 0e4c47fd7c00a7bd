/*
 * tls_fault.c: why a handshake or a record failed, from OpenSSL's words to our counters. What is not in the table is
 * counted as "other"; after the handshake everything is a bad record.
 */
#include <openssl/err.h>

#include "check.h"
#include "tls_int.h"

static const struct {
	int reason;
	enum stat_id stat;
} reasons[] = {
	{SSL_R_UNSUPPORTED_PROTOCOL, STAT_tls_failed_version},
	{SSL_R_VERSION_TOO_LOW, STAT_tls_failed_version},
	{SSL_R_WRONG_VERSION_NUMBER, STAT_tls_failed_version},
	{SSL_R_UNKNOWN_PROTOCOL, STAT_tls_failed_version},
	{SSL_R_INAPPROPRIATE_FALLBACK, STAT_tls_failed_version},
	{SSL_R_NO_SHARED_CIPHER, STAT_tls_failed_cipher},
	{SSL_R_NO_SUITABLE_KEY_SHARE, STAT_tls_failed_cipher},
	{SSL_R_NO_SUITABLE_GROUPS, STAT_tls_failed_cipher},
	{SSL_R_NO_SHARED_GROUPS, STAT_tls_failed_cipher},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, STAT_tls_failed_cipher},
	{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, STAT_tls_failed_cipher},
	{SSL_R_NO_APPLICATION_PROTOCOL, STAT_tls_failed_alpn},
	{SSL_R_CERTIFICATE_VERIFY_FAILED, STAT_tls_failed_verify},
};

static enum stat_id handshake_fault(unsigned long e)
{
	if (ERR_GET_LIB(e) != ERR_LIB_SSL)
		return STAT_tls_failed_other;
	int reason = ERR_GET_REASON(e);
	if (reason >= SSL_AD_REASON_OFFSET) /* the peer's alert */
		return STAT_tls_failed_alert;
	for (unsigned i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].reason == reason)
			return reasons[i].stat;
	return STAT_tls_failed_other;
}

void tls_fault_count(struct tls *t)
{
	unsigned long e = ERR_peek_error();
	stat_inc(t->core->stat, t->open ? STAT_tls_bad_record : handshake_fault(e));
	ERR_clear_error();
}
