/* nap.c: naps over a futex, private to the process. */
#include "nap.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void nap_take(struct nap *n, uint32_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
	atomic_store_explicit(&n->asleep, 1, memory_order_seq_cst);
	(void)syscall(SYS_futex, &n->asleep, FUTEX_WAIT_PRIVATE, 1, &ts, NULL, 0);
	atomic_store_explicit(&n->asleep, 0, memory_order_relaxed);
}

void nap_wake_sleeper(struct nap *n)
{
	if (atomic_exchange_explicit(&n->asleep, 0, memory_order_relaxed))
		(void)syscall(SYS_futex, &n->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
