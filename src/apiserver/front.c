/* The HTTPS front; not there yet: listening is refused. */
#include "apiserver/front.h"
int front_new(struct apiserver *s, const char *addr, struct front **ret, struct error *err)
{
    return error_set(err, REASON_INTERNAL, "the HTTPS front is not built yet");
}
uint16_t front_port(const struct front *f)
{
    return 0;
}
void front_reload_certificates(struct front *f)
{
}
void front_stop(struct front *f, int64_t t, void (*done)(void *arg), void *arg)
{
}
struct front *front_free(struct front *f)
{
    return NULL;
}
