/* fuzz_smtp_session.c: hostile bytes, cuts and events into sessions of the SMTP server. */
#include "fuzz_session.h"
#include "smtp_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_session(&smtp_proto, data, size);
	return 0;
}
