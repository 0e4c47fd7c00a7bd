/* ctl_store.c: see ctl_store.h. The work is store_check's; here are its words. */
#include "ctl_store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "store.h"

struct output {
	json_t *lines; /* with --json, else NULL */
	bool terminal;
};

static void found(void *arg, const char *line)
{
	const struct output *o = arg;
	if (o->lines != NULL)
		(void)json_array_append_new(o->lines, json_string(line));
	else
		(void)printf("%s\n", line);
}

static void percent(void *arg, unsigned n)
{
	const struct output *o = arg;
	if (o->terminal)
		(void)fprintf(stderr, "\r%3u %%%s", n, n == 100 ? "\n" : "");
}

/* So that nothing is made where none is. */
static bool is_store(const char *path)
{
	char lock[4096];
	int n = snprintf(lock, sizeof(lock), "%s/lock", path);
	return n > 0 && (size_t)n < sizeof(lock) && access(lock, F_OK) == 0;
}

int ctl_store_check(const char *path, bool json)
{
	char why[512];
	struct store_check r;
	struct output o = {.lines = json ? json_array() : NULL, .terminal = isatty(STDERR_FILENO)};
	const struct store_conf conf = {.path = path, .n_cores = 1, .ops_per_core = 1, .cpu = -1};
	const struct store_check_ops ops = {.found = found, .percent = percent, .arg = &o};
	if (!is_store(path)) {
		(void)fprintf(stderr, "veredusctl: %s: there is no store\n", path);
		json_decref(o.lines);
		return 2;
	}
	enum err e = store_check(&conf, &ops, &r, why, sizeof(why));
	if (e != ERR_OK && e != ERR_CORRUPT) {
		(void)fprintf(stderr, "veredusctl: %s\n", why);
		json_decref(o.lines);
		return 2;
	}
	if (o.terminal)
		(void)fprintf(stderr, "\r100 %%\n");
	if (json) {
		json_t *all = json_pack("{s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", e == ERR_OK,
					"lines", o.lines, "found", (json_int_t)r.found, "segments", (json_int_t)r.segments,
					"groups", (json_int_t)r.groups, "records", (json_int_t)r.records, "bodies",
					(json_int_t)r.bodies, "bytes", (json_int_t)r.bytes, "accounts",
					(json_int_t)r.accounts, "messages", (json_int_t)r.messages, "queue_items",
					(json_int_t)r.items, "blobs", (json_int_t)r.blobs);
		(void)json_dumpf(all, stdout, JSON_COMPACT);
		(void)putchar('\n');
		json_decref(all);
	} else {
		(void)printf("%" PRIu64 " segments, %" PRIu64 " groups, %" PRIu64 " records, %" PRIu64 " bodies, %" PRIu64
			     " bytes read\n", r.segments, r.groups, r.records, r.bodies, r.bytes);
		(void)printf("%" PRIu64 " accounts, %" PRIu64 " messages, %" PRIu64 " queue items, %" PRIu64
			     " different bodies\n", r.accounts, r.messages, r.items, r.blobs);
		if (r.found == 0)
			(void)printf("%s: whole\n", path);
		else
			(void)printf("%s: %" PRIu64 " things are wrong\n", path, r.found);
	}
	return e == ERR_OK ? 0 : 1;
}
