/*
 * replay.c: runs a fuzz target over its seeds in the normal suite: each file of each directory that is
 * named, in the order of the names, from a heap block of its exact length so that AddressSanitizer sees a
 * byte too many. A directory that cannot be read or is empty fails: a suite that tests nothing must say so.
 * Files may be named too, to try one input.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* False, with a message, when the file cannot be read. */
static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f || fstat(fileno(f), &st) != 0) {
		perror(path);
		return 0;
	}
	size_t len = (size_t)st.st_size;
	uint8_t *data = malloc(len ? len : 1);
	int ok = data && fread(data, 1, len, f) == len;
	fclose(f);
	if (ok) {
		printf("%s\n", path);
		fflush(stdout); /* the last name printed is the one that crashed */
		LLVMFuzzerTestOneInput(data, len);
	} else {
		fprintf(stderr, "%s: not read\n", path);
	}
	free(data);
	return ok;
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* How many files were run, or -1 when one could not be. */
static int run_dir(const char *dir)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, not_hidden, alphasort), bad = 0;

	if (n < 0) {
		perror(dir);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%s", dir, entry[i]->d_name);
		bad |= !run_file(path);
		free(entry[i]);
	}
	free(entry);
	return bad ? -1 : n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int n = stat(argv[i], &st) == 0 && S_ISREG(st.st_mode) ? (run_file(argv[i]) ? 1 : -1)
									: run_dir(argv[i]);
		if (n < 0)
			return 1;
		total += n;
	}
	if (total == 0) {
		fprintf(stderr, "no seeds\n");
		return 1;
	}
	printf("%d seeds\n", total);
	return 0;
}
