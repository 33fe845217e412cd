/* References as people write them, and Docker's rules to complete them (distribution/reference):
 * the first component is a host when it has a dot or colon or is "localhost"; no host means
 * docker.io, and there a single component lives in "library/"; no tag and no digest means
 * ":latest". */
#include "node/image/image.h"

#include "base/buf.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 255 /* of domain and path together, as distribution has it */
#define TAG_MAX_BYTES  128

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* alnum runs joined by ".", "_", "__" or dashes. */
static bool path_component_ok(struct str s)
{
    size_t i = 0;
    if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
        return false;
    while (i < s.n) {
        if (is_lower_alnum(s.p[i])) {
            i++;
            continue;
        }
        char c = s.p[i];
        size_t run = 0;
        while (i < s.n && s.p[i] == c) {
            run++;
            i++;
        }
        if (!(c == '-' || (c == '.' && run == 1) || (c == '_' && run <= 2)) ||
            !is_lower_alnum(s.p[i]))
            return false;
    }
    return true;
}

static bool domain_ok(struct str s)
{
    struct str host = s, port = STR_NONE;
    ssize_t colon = str_rfind(s, ':');
    if (s.n && s.p[0] == '[') { /* IPv6 literal */
        ssize_t end = str_find(s, ']');
        if (end < 2)
            return false;
        for (ssize_t i = 1; i < end; i++)
            if (!strchr("0123456789abcdefABCDEF:.", s.p[i]))
                return false;
        port = str_sub(s, (size_t)end + 1, s.n);
        if (port.n == 0)
            return true;
        if (port.p[0] != ':')
            return false;
        port = str_sub(port, 1, port.n);
    } else if (colon >= 0) {
        host = str_sub(s, 0, (size_t)colon);
        port = str_sub(s, (size_t)colon + 1, s.n);
    }
    uint64_t number;
    if (port.p && (port.n == 0 || port.n > 5 || str_to_u64(port, &number) < 0 || number > 65535))
        return false;
    if (host.p != s.p || host.n == 0)
        return false;
    if (s.p[0] == '[')
        return true;
    struct str part, rest = host;
    bool more = true;
    while (more) {
        more = str_cut(&rest, '.', &part);
        if (part.n == 0 || !is_alnum(part.p[0]) || !is_alnum(part.p[part.n - 1]))
            return false;
        for (size_t i = 0; i < part.n; i++)
            if (!is_alnum(part.p[i]) && part.p[i] != '-')
                return false;
    }
    return true;
}

static bool tag_ok(struct str s)
{
    if (s.n == 0 || s.n > TAG_MAX_BYTES || !(is_alnum(s.p[0]) || s.p[0] == '_'))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !strchr("_.-", s.p[i]))
            return false;
    return true;
}

static bool digest_ok(struct str s)
{
    if (s.n != 7 + 64 || !str_starts(s, STR("sha256:")))
        return false;
    for (size_t i = 7; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static bool path_ok(struct str path)
{
    struct str part;
    bool more = true;
    while (more) {
        more = str_cut(&path, '/', &part);
        if (!path_component_ok(part))
            return false;
    }
    return true;
}

static int bad(struct error *err, struct str ref, const char *why)
{
    return error_set(err, REASON_BAD_REQUEST, "invalid image name \"%.*s\": %s",
                     (int)MIN(ref.n, 300u), ref.p ? ref.p : "", why);
}

int image_name_parse(struct str ref, struct image_name *ret, struct error *err)
{
    struct str rest = ref, digest = STR_NONE, tag = STR_NONE, domain = STR_NONE;
    if (ref.n == 0 || ref.n > NAME_MAX_BYTES + TAG_MAX_BYTES + 80)
        return bad(err, ref, ref.n ? "it is too long" : "it is empty");
    if (memchr(ref.p, '\0', ref.n))
        return bad(err, STR(""), "it contains a zero byte");
    ssize_t at = str_find(rest, '@');
    if (at >= 0) {
        digest = str_sub(rest, (size_t)at + 1, rest.n);
        rest = str_sub(rest, 0, (size_t)at);
        if (!digest_ok(digest))
            return bad(err, ref, "the digest must be sha256: and 64 lower-case hex digits");
    }
    ssize_t colon = str_rfind(rest, ':'), slash = str_rfind(rest, '/');
    if (colon > slash) {
        tag = str_sub(rest, (size_t)colon + 1, rest.n);
        rest = str_sub(rest, 0, (size_t)colon);
        if (!tag_ok(tag))
            return bad(err, ref, "the tag must be 1 to 128 letters, digits, '_', '.', '-'");
    }
    slash = str_find(rest, '/');
    if (slash > 0) {
        struct str first = str_sub(rest, 0, (size_t)slash);
        if (str_find(first, '.') >= 0 || str_find(first, ':') >= 0 || str_is(first, "localhost")) {
            domain = first;
            rest = str_sub(rest, (size_t)slash + 1, rest.n);
            if (!domain_ok(domain))
                return bad(err, ref, "the registry is no valid host[:port]");
        }
    }
    bool hub = !domain.p || str_is(domain, "docker.io") || str_is(domain, "index.docker.io");
    if (hub)
        domain = STR("docker.io");
    if (!path_ok(rest))
        return bad(err, ref,
                   "the repository must be lower-case letters, digits, '.', '_', '-', parts joined "
                   "by '/'");
    const char *library = hub && str_find(rest, '/') < 0 ? "library/" : "";
    if (domain.n + 1 + strlen(library) + rest.n > NAME_MAX_BYTES)
        return bad(err, ref, "it is longer than 255 characters");
    if (!tag.p && !digest.p)
        tag = STR("latest");
    size_t path_at = domain.n + 1, tag_at = path_at + strlen(library) + rest.n + 1,
           digest_at = tag_at + tag.n + 1;
    size_t size = digest_at + digest.n + 1;
    char *buf = xcalloc(1, size);
    snprintf(buf, size, "%.*s%c%s%.*s%c%.*s%c%.*s", STR_ARG(domain), 0, library, STR_ARG(rest), 0,
             STR_ARG(tag), 0, STR_ARG(digest));
    *ret = (struct image_name){.buf = buf,
                               .domain = buf,
                               .path = buf + path_at,
                               .tag = buf + tag_at,
                               .digest = buf + digest_at};
    return 0;
}

void image_name_fini(struct image_name *n)
{
    free(n->buf);
    *n = (struct image_name){0};
}

char *image_name_format(const struct image_name *n)
{
    if (n->digest[0])
        return xasprintf("%s/%s@%s", n->domain, n->path, n->digest);
    return xasprintf("%s/%s:%s", n->domain, n->path, n->tag);
}
