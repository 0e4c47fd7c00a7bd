/* hot.h: included last by hot-path files. From here on what stalls a worker does not compile. */
#ifndef VEREDUS_HOT_H
#define VEREDUS_HOT_H

#pragma GCC poison malloc calloc realloc printf fprintf snprintf
#pragma GCC poison clock_gettime gettimeofday time pthread_mutex_lock usleep nanosleep

#endif
