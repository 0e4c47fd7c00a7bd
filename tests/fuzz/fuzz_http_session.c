/* fuzz_http_session.c: hostile bytes, cuts and events into sessions of the HTTP server. */
#include "fuzz_session.h"
#include "http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_session(&http_proto, data, size);
	return 0;
}
