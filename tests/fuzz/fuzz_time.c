/* Times and durations: what is read prints in a form that reads back as the same moment or span. */
#include "codec/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    struct timestamp t, back;
    struct duration d, again;
    struct quantity q;
    char text[TIMESTAMP_TEXT_MAX], span[DURATION_TEXT_MAX];

    if (timestamp_parse(s, &t) == 0) {
        ASSERT(t.set);
        size_t n = timestamp_format(t, true, text);
        ASSERT(n < sizeof text);
        if (t.usec >= -62135596800 * 1000000 && t.usec < 253402300800 * 1000000) {
            ASSERT(timestamp_parse((struct str){text, n}, &back) == 0);
            ASSERT(back.usec == t.usec);
        }
    }
    if (duration_parse(s, &d) == 0) {
        size_t n = duration_format(d.nsec, span);
        ASSERT(n < sizeof span);
        ASSERT(duration_parse((struct str){span, n}, &again) == 0);
        ASSERT(again.nsec == d.nsec);
        ASSERT(duration_human(d.nsec, span) < sizeof span);
    }
    (void)!quantity_parse(s, &q);
    return 0;
}
