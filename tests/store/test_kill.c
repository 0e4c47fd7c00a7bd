/*
 * test_kill.c: a process that stores mail on a real directory is killed with SIGKILL, again and again. It writes each
 * message's number into a pipe after its acknowledgement: all of these must be there after the next start.
 * VEREDUS_KILLS=n makes it a long run.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "model.h"

#define FLIGHT 16

static size_t body_of(uint8_t *p, uint32_t n)
{
	size_t len = 100 + n * 37 % 9000;
	rig_fill(p, len, n);
	return len;
}

/* Message n carries n as its date. */
static void submit(struct rig *r, uint64_t acct, uint32_t n)
{
	static uint8_t text[10000];
	struct store_op *op = rig_op(r, STORE_COMMIT);
	op->blob = store_id_new(r->c);
	op->body = rig_bytes(r, text, body_of(text, n));
	op->user = (void *)(uintptr_t)n;
	store_tx_blob(op, op->blob, 0, 0);
	store_tx_deliver(op, acct, STORE_INBOX, op->blob, 0, SPAN(""), n);
	store_submit(r->c, op);
}

static void child(struct rig *r, uint64_t acct, uint32_t first, int fd)
{
	struct store_op *got[FLIGHT];
	uint32_t n = first;
	r->threaded = true;
	if (rig_open(r) != ERR_OK)
		_exit(2);
	for (;;) {
		while (store_pending(r->c) < FLIGHT)
			submit(r, acct, n++);
		unsigned k = store_poll(r->c, got, FLIGHT);
		for (unsigned i = 0; i < k; i++) {
			uint32_t id = (uint32_t)(uintptr_t)got[i]->user;
			if (got[i]->err != ERR_OK || write(fd, &id, sizeof(id)) != sizeof(id))
				_exit(3);
			store_op_free(&got[i]);
		}
		if (k == 0)
			usleep(50);
	}
}

/* All of acked[] are in the folder, once, with their bytes; returns the highest number there. */
static uint32_t check(struct rig *r, uint64_t acct, const uint8_t *acked, uint32_t n_acked)
{
	static uint8_t text[10000];
	struct store_op *op = rig_sync(r, acct, STORE_INBOX, 0, false);
	uint8_t *seen = calloc(1u << 20, 1);
	uint32_t lost = 0, twice = 0, torn = 0, high = 0;
	for (uint32_t i = 0; i < op->view->n_ent; i++) {
		uint32_t n = (uint32_t)op->view->ent[i].idate_s;
		cr_assert_lt(n, 1u << 20);
		twice += seen[n];
		seen[n] = 1;
		high = n > high ? n : high;
		size_t len = body_of(text, n);
		torn += op->view->ent[i].size != len || (i % 16 == 0 && !rig_blob_is(r, op->view->ent[i].blob, text, len));
	}
	for (uint32_t n = 0; n < n_acked; n++)
		lost += acked[n] && !seen[n];
	cr_expect(lost == 0 && twice == 0 && torn == 0, "lost %u, twice %u, torn %u", lost, twice, torn);
	free(seen);
	store_op_free(&op);
	return high;
}

Test(kill, acknowledged_mail_is_there_after_sigkill)
{
	struct rig r;
	const char *env = getenv("VEREDUS_KILLS");
	unsigned kills = env ? (unsigned)atoi(env) : 8;
	static uint8_t acked[1u << 20];
	uint32_t next = 1, total = 0;
	rig_init(&r, RIG_URING, 1);
	r.conf.segment_size = 1u << 20;
	r.conf.checkpoint_bytes = 3u << 20;
	cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
	uint64_t acct = rig_account(&r, "a@example.net");
	rig_close(&r);
	for (unsigned i = 0; i < kills && next < (1u << 20) - 100000; i++) {
		int fd[2];
		cr_assert_eq(pipe(fd), 0);
		pid_t pid = fork();
		if (pid == 0) {
			close(fd[0]);
			child(&r, acct, next, fd[1]);
		}
		close(fd[1]);
		usleep(80000 + i * 7919 % 150000);
		kill(pid, SIGKILL);
		int status;
		waitpid(pid, &status, 0);
		cr_assert(WIFSIGNALED(status), "the child ended by itself: %d", WEXITSTATUS(status));
		uint32_t id;
		while (read(fd[0], &id, sizeof(id)) == sizeof(id)) {
			acked[id] = 1;
			total++;
		}
		close(fd[0]);
		cr_assert_eq(rig_open(&r), ERR_OK, "%s", r.why);
		next = check(&r, acct, acked, 1u << 20) + 1;
		rig_close(&r);
	}
	cr_log_info("%u kills, %u acknowledged, the last number is %u", kills, total, next - 1);
	cr_expect_gt(total, kills);
	rig_fini(&r);
}
