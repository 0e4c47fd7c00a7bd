/* fuzz_pop3_session.c: hostile bytes, cuts and events into sessions of the POP3 server. */
#include "fuzz_session.h"
#include "pop3_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_session(&pop3_proto, data, size);
	return 0;
}
