/* See negotiate.h. An Accept header is walked once; each range that names something we have is a
 * candidate with its q-value, and then with how much it says (a type before a wildcard); the first
 * of the best wins, as RFC 9110 12.5.1 and Kubernetes' clients mean it. */
#include "apiserver/front/negotiate.h"

struct range {
    enum accept_as as;
    bool ok, v1, v1beta1, v2, meta_group, discovery_group, pretty;
    int q; /* thousandths */
};

static int parse_q(struct str v)
{
    int q = 0, unit = 1000;
    for (size_t i = 0; i < v.n && unit; i++) {
        if (v.p[i] == '.')
            continue;
        if (v.p[i] < '0' || v.p[i] > '9')
            return 0;
        q += (v.p[i] - '0') * unit;
        unit /= 10;
    }
    return MIN(q, 1000);
}

static void parse_param(struct str p, struct range *r)
{
    struct str v = str_trim(p), k;
    if (!str_cut(&v, '=', &k))
        return;
    k = str_trim(k);
    v = str_trim(v);
    if (str_is(k, "q")) {
        r->q = parse_q(v);
    } else if (str_is(k, "as")) {
        if (str_is(v, "Table"))
            r->as = AS_TABLE;
        else if (str_is(v, "PartialObjectMetadata"))
            r->as = AS_PARTIAL;
        else if (str_is(v, "PartialObjectMetadataList"))
            r->as = AS_PARTIAL_LIST;
        else if (str_is(v, "APIGroupDiscoveryList"))
            r->as = AS_DISCOVERY_V2;
        else
            r->ok = false;
    } else if (str_is(k, "v")) {
        r->v1 = str_is(v, "v1");
        r->v1beta1 = str_is(v, "v1beta1");
        r->v2 = str_is(v, "v2");
    } else if (str_is(k, "g")) {
        r->meta_group = str_is(v, "meta.k8s.io");
        r->discovery_group = str_is(v, "apidiscovery.k8s.io");
    } else if (str_is(k, "stream")) {
        r->ok &= !v.n || str_is(v, "watch");
    } else if (str_is(k, "pretty")) {
        r->pretty = str_is(v, "1");
    }
}

/* True when the range names something we have. *ret_rank: q, then how much it says. */
static bool parse_range(struct str text, struct accept *ret, int *ret_rank)
{
    struct str type, param;
    struct range r = {.ok = true, .q = 1000};
    str_cut(&text, ';', &type);
    type = str_trim(type);
    while (str_cut(&text, ';', &param) || param.n)
        parse_param(param, &r);
    int says = str_ieq(type, STR("*/*")) ? 0 : str_ieq(type, STR("application/*")) ? 1 : 2;
    *ret = (struct accept){.media = MEDIA_JSON, .as = r.as, .pretty = r.pretty};
    if (says < 2)
        ret->any = true;
    else if (str_ieq(type, STR("application/yaml")))
        ret->media = MEDIA_YAML;
    else if (str_ieq(type, STR("application/vnd.kubernetes.protobuf")))
        ret->media = MEDIA_PB;
    else if (!str_ieq(type, STR("application/json")))
        r.ok = false;
    if (r.as == AS_DISCOVERY_V2)
        r.ok &= r.v2 && r.discovery_group;
    else if (r.as != AS_ITSELF)
        r.ok &=
            r.meta_group && (ret->media == MEDIA_PB ? r.v1 && r.as != AS_TABLE : r.v1 || r.v1beta1);
    ret->beta = r.as != AS_ITSELF && r.v1beta1;
    *ret_rank = r.q * 3 + says;
    return r.ok && r.q > 0;
}

int accept_parse(struct str header, bool json_only, struct accept *ret)
{
    struct str rest = header, item;
    int best = 0;
    if (!str_trim(header).n) {
        *ret = (struct accept){.media = MEDIA_JSON, .any = true};
        return 0;
    }
    while (str_cut(&rest, ',', &item) || item.n) {
        struct accept a;
        int rank;
        if (parse_range(item, &a, &rank) && rank > best &&
            !(json_only && a.media == MEDIA_PB && a.as == AS_ITSELF)) {
            best = rank;
            *ret = a;
        }
    }
    return best ? 0 : -ENOMSG;
}

int content_type_parse(struct str header, enum media *ret)
{
    struct str type, rest = header;
    str_cut(&rest, ';', &type);
    type = str_trim(type);
    if (!type.n || str_ieq(type, STR("application/json")))
        *ret = MEDIA_JSON;
    else if (str_ieq(type, STR("application/yaml")) || str_ieq(type, STR("text/yaml")))
        *ret = MEDIA_YAML;
    else if (str_ieq(type, STR("application/vnd.kubernetes.protobuf")))
        *ret = MEDIA_PB;
    else
        return -ENOTSUP;
    return 0;
}
