/*
 * script_main.c: test_scripts [-v] [-f] FILE|FOLDER ...: plays packet scripts, all in one process. Exit code 0 when every
 * case passed. -v: every line and every segment with its time. -f: when every case failed (a test of the player).
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include "script.h"

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_script(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && strcmp(d->d_name + n - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
	static struct script s;
	unsigned files = 0;
	bool must_fail = false;

	s.out = stdout;
	for (int i = 1; i < argc; i++) {
		struct dirent **list;
		if (strcmp(argv[i], "-v") == 0) {
			s.verbose = true;
			continue;
		}
		if (strcmp(argv[i], "-f") == 0) {
			must_fail = true;
			continue;
		}
		int n = scandir(argv[i], &list, is_script, by_name);
		if (n < 0) {
			script_play(&s, argv[i]);
			files++;
			continue;
		}
		for (int k = 0; k < n; k++) {
			char path[4096];
			snprintf(path, sizeof(path), "%s/%s", argv[i], list[k]->d_name);
			script_play(&s, path);
			files++;
			free(list[k]);
		}
		free(list);
	}
	printf("%u files, %u cases, %u failed\n", files, s.n_cases, s.n_failed);
	return !s.n_cases || s.n_failed != (must_fail ? s.n_cases : 0);
}
