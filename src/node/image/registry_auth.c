/* Getting in: a registry that wants credentials answers 401 and says where a token is to be had
 * (distribution spec, token authentication). The token server gets the user's password; the
 * registry and the blob store only the token. Without credentials an anonymous token is asked for.
 */
#include "node/image/registry_internal.h"

#include "base/mem.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "node/image/auth.h"

static struct str param(struct str rest, const char *key)
{
    while (rest.n) {
        struct str name, value;
        if (!str_cut(&rest, '=', &name))
            return STR_NONE;
        if (rest.n && rest.p[0] == '"') {
            rest = str_sub(rest, 1, rest.n);
            if (!str_cut(&rest, '"', &value))
                return STR_NONE;
            struct str skipped;
            str_cut(&rest, ',', &skipped);
        } else {
            str_cut(&rest, ',', &value);
        }
        if (str_ieq(str_trim(name), str_z(key)))
            return value;
    }
    return STR_NONE;
}

bool challenge_parse(struct str header, struct challenge *ret)
{
    struct challenge c;
    header = str_trim(header);
    str_cut(&header, ' ', &c.scheme);
    if (!c.scheme.n)
        return false;
    c.realm = param(header, "realm");
    c.service = param(header, "service");
    c.scope = param(header, "scope");
    *ret = c;
    return true;
}

static int to_buf(void *arg, const void *p, size_t n)
{
    struct buf *b = arg;
    buf_add(b, p, n);
    return b->overflow ? -EFBIG : 0;
}

static void add_query(struct registry *r, struct buf *url, const char *key, struct str value)
{
    if (!value.n)
        return;
    char *escaped = curl_easy_escape(r->curl, value.p, (int)value.n);
    buf_printf(url, "%c%s=%s", url->data && strchr(url->data, '?') ? '&' : '?', key,
               escaped ? escaped : "");
    curl_free(escaped);
}

static int take_token(struct registry *r, struct str body, struct error *err)
{
    struct arena a = {0};
    struct json *root = NULL;
    int res = json_parse(body, &a, &(struct json_limits){.depth_max = 10, .values_max = 1000},
                         &root, err);
    struct str token = json_get_str(root, STR("token"));
    if (!token.n)
        token = json_get_str(root, STR("access_token"));
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] <= ' ' || token.p[i] == 0x7f) /* would break the header */
            token.n = 0;
    if (res >= 0 && !token.n)
        res = error_set(err, REASON_UNAUTHORIZED, "the token server gave no token");
    if (res >= 0) {
        free(r->authorization);
        r->authorization = xasprintf("Bearer %.*s", STR_ARG(token));
    }
    arena_fini(&a);
    return res < 0 ? res : 0;
}

/* The refresh-token form of the exchange (OAuth2), for credentials that are an identity token. */
static char *oauth_form(struct registry *r, const struct challenge *c, const char *identity_token)
{
    struct buf form = {0};
    char *t = curl_easy_escape(r->curl, identity_token, 0),
         *s = curl_easy_escape(r->curl, c->service.p, (int)c->service.n);
    char *scope = curl_easy_escape(r->curl, c->scope.p, (int)c->scope.n);
    buf_printf(&form,
               "grant_type=refresh_token&client_id=davit&refresh_token=%s&service=%s&scope=%s",
               t ? t : "", c->service.n && s ? s : "", c->scope.n && scope ? scope : "");
    curl_free(t);
    curl_free(s);
    curl_free(scope);
    return buf_take(&form, NULL);
}

static int bearer(struct registry *r, const struct challenge *c, const struct image_auth *auth,
                  struct error *err)
{
    struct buf url = {0}, body = {.limit_bytes = TOKEN_BYTES_MAX};
    char *form = NULL, *fallback = xasprintf("repository:%s:pull", r->name->path);
    struct exchange x = {.accept = "application/json", .sink = to_buf, .arg = &body};
    buf_add_str(&url, c->realm);
    if (auth && auth->identity_token) {
        form = oauth_form(r, c, auth->identity_token);
        x.post = form;
    } else {
        add_query(r, &url, "service", c->service);
        add_query(r, &url, "scope", c->scope.n ? c->scope : str_z(fallback));
        x.user = auth ? auth->username : NULL;
        x.password = auth ? auth->password : NULL;
    }
    x.url = url.data;
    int res;
    if (!url.data || !registry_plain_allowed(r, url.data))
        res = error_set(err, REASON_FORBIDDEN,
                        "the registry sends to a token server without TLS (%.200s)",
                        url.data ? url.data : "");
    else
        res = registry_exchange(r, &x, err);
    if (res == 0 && x.status / 100 == 2) {
        res = take_token(r, buf_str(&body), err);
    } else if (res == 0) {
        r->unauthorized = x.status == 401 || x.status == 403;
        res = error_set(err, REASON_UNAUTHORIZED, "%s: the token server answered %ld",
                        auth ? "unauthorized: the credentials were refused"
                             : "unauthorized: authentication required",
                        x.status);
    }
    exchange_fini(&x);
    buf_fini(&url);
    buf_fini(&body);
    free(form);
    free(fallback);
    return res < 0 ? res : 1;
}

static int basic(struct registry *r, const struct image_auth *auth)
{
    struct buf plain = {0}, text = {0};
    if (!auth || !auth->username ||
        (r->authorization && strncmp(r->authorization, "Basic ", 6) == 0))
        return 0;
    buf_printf(&plain, "%s:%s", auth->username, auth->password ? auth->password : "");
    buf_add_lit(&text, "Basic ");
    base64_print(buf_str(&plain), &text);
    free(r->authorization);
    r->authorization = buf_take(&text, NULL);
    buf_fini(&plain);
    return 1;
}

int registry_authenticate(struct registry *r, const char *challenge, struct error *err)
{
    struct challenge c;
    const struct image_auth *auth = auth_find(r->auths, r->name->domain, r->name->path);
    if (!challenge_parse(str_z(challenge), &c))
        return 0;
    if (str_ieq(c.scheme, STR("Bearer")) && c.realm.n) {
        /* A token that was just given and is refused will be refused again. */
        if (r->authorization && strncmp(r->authorization, "Bearer ", 7) == 0 && r->unauthorized)
            return 0;
        return bearer(r, &c, auth, err);
    }
    return str_ieq(c.scheme, STR("Basic")) ? basic(r, auth) : 0;
}
