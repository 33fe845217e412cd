/* Addresses and spans as people write them in options and objects: what parses prints, and reads
 * back the same. */
#include "codec/values.h"
#include "rt/stream.h"
#include "sys/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct error err = {0};
    struct rt_addr at;
    struct ip_addr ip, ip2;
    struct ip_prefix p, p2;
    struct duration d, d2;
    char out[IP_PREFIX_TEXT_MAX], span[DURATION_TEXT_MAX];
    if (rt_addr_parse(text, &at, &err) < 0)
        ASSERT(err.message.n > 0);
    if (ip_parse(text, &ip) == 0)
        ASSERT(ip_parse(str_z(ip_format(&ip, out)), &ip2) == 0 && ip_eq(&ip, &ip2));
    if (ip_prefix_parse(text, &p) == 0)
        ASSERT(ip_prefix_parse(str_z(ip_prefix_format(&p, out)), &p2) == 0 && p.bits == p2.bits &&
               ip_eq(&p.addr, &p2.addr));
    if (duration_parse(text, &d) == 0) {
        duration_format(d.nsec, span);
        ASSERT(duration_parse(str_z(span), &d2) == 0 && d.nsec == d2.nsec);
    }
    error_fini(&err);
    return 0;
}
