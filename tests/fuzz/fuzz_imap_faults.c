/* fuzz_imap_faults.c: hostile bytes into two IMAP sessions on one mailbox, with a store that fails and stalls, memory
 * that runs out, slow readers, lost connections and time. */
#include "fuzz_session.h"
#include "imap_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_session(&imap_proto, data, size);
	return 0;
}
