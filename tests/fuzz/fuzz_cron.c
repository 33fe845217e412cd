/* Schedules: an answer for any bytes, and the same one with more room between the fields. */
#include "api/cron.h"
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    bool good = cron_check(s) == NULL;

    if (size && data[0] == '@')
        return 0; /* a word, not fields */
    struct buf wide = {0};
    buf_add_char(&wide, ' ');
    for (size_t i = 0; i < size; i++) {
        buf_add_char(&wide, s.p[i]);
        if (s.p[i] == ' ')
            buf_add_lit(&wide, "\t ");
    }
    ASSERT(good == (cron_check(buf_str(&wide)) == NULL));
    buf_fini(&wide);
    return 0;
}
