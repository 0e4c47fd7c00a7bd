/* log.h: the text log on stderr, for what an operator must read. One line a call, rate-limited per call
 * site (10 a second, then a count of what was left out). Never called from the hot path. */
#ifndef VEREDUS_LOG_H
#define VEREDUS_LOG_H

#include "check.h"

enum log_level { LOG_L_ERROR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG };

void log_set_level(enum log_level max);
void log_line(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_line(LOG_L_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_L_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_L_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_L_DEBUG, __VA_ARGS__)

#endif
