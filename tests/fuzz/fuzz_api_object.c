/* An object of any kind as a client may send it, through everything that is done to it before it is
 * stored: decode, defaults, prepare, rules; and then the same object as an update of itself and of
 * an empty one. */
#include "api/hooks.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line; a name that is none stands for some kind all the same. */
static const struct schema_kind *kind_named(struct str name)
{
    unsigned sum = 0;
    for (int i = 0; i < _KIND_MAX; i++)
        if (str_eqz(name, schema_kinds[i]->kind))
            return schema_kinds[i];
    for (size_t i = 0; i < name.n; i++)
        sum += (uint8_t)name.p[i];
    return schema_kinds[sum % _KIND_MAX];
}

static void *decode(const struct schema_kind *k, struct str text, struct arena *a)
{
    struct schema_decode opts = {.unknown = SCHEMA_UNKNOWN_WARN};
    void *msg = schema_new(k->desc, a);
    return schema_decode_text(k->desc, text, a, &opts, msg, NULL) < 0 ? NULL : msg;
}

static void rules(const struct schema_kind *k, const void *msg, const void *old)
{
    const struct api_hooks *h = api_hooks_find(k);
    struct error err = {0};
    api_validate_meta(k, msg, old, &err);
    (void)!schema_validate(k->desc, msg, old, &err);
    if (h && h->validate)
        h->validate(msg, &err);
    if (h && h->validate_create && !old)
        h->validate_create(msg, &err);
    if (h && h->validate_update && old)
        h->validate_update(msg, old, &err);
    if (h && h->validate_status && old)
        h->validate_status(msg, old, &err);
    if (err.n_causes)
        ASSERT(error_invalid(&err, STR("X"), STR("x")) < 0 && err.message.n);
    error_fini(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct str text = {(const char *)data, size}, name, second, first;
    if (!str_cut(&text, '\n', &name))
        return 0;
    const struct schema_kind *k = kind_named(name);
    const struct api_hooks *h = api_hooks_find(k);
    second = text;
    bool two = str_cut(&second, '\n', &first);
    void *msg = decode(k, first, &a), *old = two ? decode(k, second, &a) : schema_new(k->desc, &a);
    if (msg && old) {
        api_default(k, msg, &a);
        api_default(k, old, &a);
        if (h && h->prepare_create)
            h->prepare_create(old, &a);
        if (h && h->prepare_update)
            h->prepare_update(msg, old, &a);
        rules(k, msg, NULL);
        rules(k, msg, old);
        rules(k, msg, msg);
        void *copy = schema_clone(k->desc, msg, &a);
        ASSERT(schema_equal(k->desc, copy, msg));
        api_default(k, copy, &a); /* defaults are there already: nothing changes */
        ASSERT(schema_equal(k->desc, copy, msg));
    }
    arena_fini(&a);
    return 0;
}
