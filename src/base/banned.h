/* Calls that truncate, overflow or depend on hidden state. Included through base/base.h, so a use
 * does not compile. Each name says what to use instead. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef strcpy
#define strcpy(x, y) banned_strcpy_use_str_or_memcpy
#undef strcat
#define strcat(x, y) banned_strcat_use_buf
#undef strncpy
#define strncpy(x, y, n) banned_strncpy_use_memcpy
#undef strncat
#define strncat(x, y, n) banned_strncat_use_buf
#undef sprintf
#define sprintf(...) banned_sprintf_use_snprintf
#undef vsprintf
#define vsprintf(...) banned_vsprintf_use_vsnprintf
#undef strtok
#define strtok(x, y) banned_strtok_use_str_cut
#undef atoi
#define atoi(x) banned_atoi_use_str_to_i64
#undef atol
#define atol(x) banned_atol_use_str_to_i64
#undef gmtime
#define gmtime(t) banned_gmtime_use_gmtime_r
#undef localtime
#define localtime(t) banned_localtime_use_localtime_r
#undef system
#define system(x) banned_system_use_rt_process
