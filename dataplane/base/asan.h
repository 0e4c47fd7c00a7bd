/*
 * asan.h: tells AddressSanitizer which bytes of a pool or an arena are in use, so that a test finds a
 * use after release there as it does with malloc. Nothing in a build without it.
 */
#ifndef VEREDUS_ASAN_H
#define VEREDUS_ASAN_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN_ON 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(ASAN_ON)
#define ASAN_ON 1
#endif

#ifdef ASAN_ON
#include <stddef.h>
/* As in <sanitizer/asan_interface.h> but for const, for which gcc takes these to be reads. */
void __asan_poison_memory_region(void volatile *addr, size_t size);
void __asan_unpoison_memory_region(void volatile *addr, size_t size);
#define asan_forbid(p, len) __asan_poison_memory_region(p, len)
#define asan_allow(p, len)  __asan_unpoison_memory_region(p, len)
#else
#define asan_forbid(p, len) ((void)(p), (void)(len))
#define asan_allow(p, len)  ((void)(p), (void)(len))
#endif

#endif
