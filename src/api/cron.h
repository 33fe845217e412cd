/* Schedules in the notation of cron(5), as CronJob has them. */
#pragma once

#include "base/str.h"

/* NULL when s is a schedule: five fields (minute, hour, day of the month, month, day of the week),
 * or one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, or "@every" with a
 * duration; else what is wrong with it (static). Pure. */
const char *cron_check(struct str s);
