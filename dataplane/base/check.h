/*
 * check.h: broken invariants end the process; recovery is the normal start-up path.
 * CHECK never fires on anything that a peer or a disk can cause. It is on in every build.
 */
#ifndef VEREDUS_CHECK_H
#define VEREDUS_CHECK_H

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD        __attribute__((cold, noinline))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Prints where and what to stderr, then abort(). */
_Noreturn COLD void check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (UNLIKELY(!(cond)))                                                             \
			check_failed(__FILE__, __LINE__, #cond);                                   \
	} while (0)

#endif
