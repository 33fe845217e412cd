/* Registry credentials as Docker keeps them: {"auths": {"host": {"auth": base64(user:password)}}}
 * and the older form without the outer object. Keys come in several spellings
 * ("https://index.docker.io/v1/"). */
#include "node/image/image.h"

#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "node/image/auth.h"

#define AUTHS_MAX 1000 /* entries of one secret; a secret is at most 1 MB anyway */

void image_auths_fini(struct image_auths *a)
{
    while (a->head) {
        struct image_auth *next = a->head->next;
        free(a->head->registry);
        free(a->head->username);
        if (a->head->password)
            explicit_bzero(a->head->password, strlen(a->head->password));
        free(a->head->password);
        free(a->head->identity_token);
        free(a->head);
        a->head = next;
    }
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static struct image_auth *append(struct image_auths *a, struct str registry)
{
    struct image_auth **at = &a->head;
    while (*at)
        at = &(*at)->next;
    *at = NEW(struct image_auth);
    (*at)->registry = str_dup(registry);
    return *at;
}

void image_auths_add(struct image_auths *a, const char *registry, const char *username,
                     const char *password)
{
    struct image_auth *auth = append(a, auth_registry_key(str_z(registry)));
    auth->username = dup_or_null(username);
    auth->password = dup_or_null(password);
}

void image_auths_copy(struct image_auths *dst, const struct image_auths *src)
{
    for (const struct image_auth *s = src ? src->head : NULL; s; s = s->next) {
        struct image_auth *auth = append(dst, str_z(s->registry));
        auth->username = dup_or_null(s->username);
        auth->password = dup_or_null(s->password);
        auth->identity_token = dup_or_null(s->identity_token);
    }
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool image_auths_equal(const struct image_auths *a, const struct image_auths *b)
{
    const struct image_auth *x = a->head, *y = b->head;
    for (; x && y; x = x->next, y = y->next)
        if (!same(x->registry, y->registry) || !same(x->username, y->username) ||
            !same(x->password, y->password) || !same(x->identity_token, y->identity_token))
            return false;
    return !x && !y;
}

struct str auth_registry_key(struct str s)
{
    if (str_starts(s, STR("https://")))
        s = str_sub(s, 8, s.n);
    else if (str_starts(s, STR("http://")))
        s = str_sub(s, 7, s.n);
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    if (str_ends(s, STR("/v1")) || str_ends(s, STR("/v2")))
        s.n -= 3;
    if (str_is(s, "index.docker.io") || str_is(s, "registry-1.docker.io"))
        s = STR("docker.io");
    return s;
}

/* "host/path": the longest key that is a prefix of it at a slash wins, as in the kubelet's keyring.
 */
const struct image_auth *auth_find(const struct image_auths *a, const char *domain,
                                   const char *path)
{
    const struct image_auth *best = NULL;
    if (!a)
        return NULL;
    char *full = xasprintf("%s/%s", domain, path);
    for (const struct image_auth *x = a->head; x; x = x->next) {
        size_t n = strlen(x->registry);
        if (n && strncmp(full, x->registry, n) == 0 && full[n] == '/' &&
            (!best || n > strlen(best->registry)))
            best = x;
    }
    free(full);
    return best;
}

static int add_entry(struct image_auths *a, const struct json *entry, struct arena *arena,
                     struct error *err)
{
    struct str user = json_get_str(entry, STR("username")),
               password = json_get_str(entry, STR("password"));
    struct str auth64 = json_get_str(entry, STR("auth")),
               token = json_get_str(entry, STR("identitytoken"));
    if (auth64.n) {
        struct str plain = STR_NONE;
        int r = base64_parse(str_trim(auth64), arena, &plain);
        ssize_t colon = r < 0 ? -1 : str_find(plain, ':');
        if (colon < 0)
            return error_set(
                err, REASON_INVALID,
                "credentials of registry \"%.*s\": auth is not base64 of user:password",
                STR_ARG(entry->key));
        if (!user.n)
            user = str_sub(plain, 0, (size_t)colon);
        if (!password.n)
            password = str_sub(plain, (size_t)colon + 1, plain.n);
    }
    struct image_auth *auth = append(a, auth_registry_key(entry->key));
    if (user.n) {
        auth->username = str_dup(user);
        auth->password = str_dup(password);
    }
    if (token.n)
        auth->identity_token = str_dup(token);
    return 0;
}

static int add_all(struct image_auths *a, const struct json *auths, struct arena *arena,
                   struct error *err)
{
    if (!json_is(auths, JSON_OBJ) || auths->n > AUTHS_MAX)
        return error_set(err, REASON_INVALID,
                         "registry credentials: not an object of at most %d registries", AUTHS_MAX);
    json_for_each(entry, auths)
    {
        if (!json_is(entry, JSON_OBJ))
            return error_set(err, REASON_INVALID, "credentials of registry \"%.*s\" are no object",
                             STR_ARG(entry->key));
        int r = add_entry(a, entry, arena, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse(struct image_auths *a, struct str json, bool outer, struct error *err)
{
    struct arena arena = {0};
    struct json *root = NULL;
    int r = json_parse(json, &arena, &(struct json_limits){.depth_max = 10, .values_max = 100000},
                       &root, err);
    if (r >= 0)
        r = add_all(a, outer ? json_getz(root, "auths") : root, &arena, err);
    arena_fini(&arena);
    return r;
}

int image_auths_add_dockerconfigjson(struct image_auths *a, struct str json, struct error *err)
{
    return parse(a, json, true, err);
}

int image_auths_add_dockercfg(struct image_auths *a, struct str json, struct error *err)
{
    return parse(a, json, false, err);
}
