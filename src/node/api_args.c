/* See api_args.h. Apart from the handlers, which need a connection, so that it can be fuzzed. */
#include "node/api_args.h"

#include "base/mem.h"
#include "http/http.h"

int api_args_command(struct str query, struct arena *a, struct str **ret_argv)
{
    struct str *argv = ARENA_NEW_N(a, struct str, API_ARGS_MAX), k, v;
    int n = 0;
    while (http_query_next(&query, a, &k, &v)) {
        if (!str_is(k, "command"))
            continue;
        if (n == API_ARGS_MAX)
            return -E2BIG;
        argv[n++] = v.p ? v : STR("");
    }
    *ret_argv = argv;
    return n;
}

int api_args_ports(struct str query, struct arena *a, uint16_t ret[static API_PORTS_MAX])
{
    struct str k, v, one;
    int n = 0;
    while (http_query_next(&query, a, &k, &v)) {
        if (!str_is(k, "port") && !str_is(k, "ports"))
            continue;
        while (str_cut(&v, ',', &one) || one.n) {
            int64_t port;
            if (str_to_i64(one, &port) < 0 || port < 1 || port > 65535 || n == API_PORTS_MAX)
                return -EINVAL;
            ret[n++] = (uint16_t)port;
        }
    }
    return n;
}
