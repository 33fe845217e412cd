/* Places: what the walks over JSON need to know of a value's type to say who owns what of it, be
 * the type a message of the tables or a part of a custom kind's schema. A place is two words, made
 * on the way down, so that neither sort of type has to be turned into the other.
 *
 * What a schema says is read as Kubernetes does (kube-openapi's schemaconv): lists are owned as a
 * whole unless they are sets or have keys, objects by their members unless they are atomic; where
 * anything goes, what a value is decides. Unknown members are kept below a place that says so. */
#include "schema/fields_int.h"

#include "schema/structural.h"

/* A custom kind whose schema is not at hand. */
static const struct structural_node anything = {.preserve = true};

static struct fields_place whole_place(void)
{
    return (struct fields_place){.type = FIELDS_PLACE_WHOLE};
}

static struct fields_place msg_place(const struct schema_desc *desc)
{
    return (struct fields_place){.type = FIELDS_PLACE_MSG, .desc = desc};
}

static struct fields_place elem_place(const struct schema_field *f)
{
    if (fields_elem_shape(f) == FIELDS_MSG)
        return msg_place(f->msg);
    return (struct fields_place){.type = FIELDS_PLACE_ELEM, .field = f};
}

static struct fields_place field_place(const struct schema_field *f)
{
    if (!(f->flags & (SCHEMA_LIST | SCHEMA_MAP | SCHEMA_ATOMIC)))
        return elem_place(f);
    return (struct fields_place){.type = FIELDS_PLACE_FIELD, .field = f};
}

static struct fields_place node_place(const struct structural_node *n, bool preserve)
{
    return (struct fields_place){
        .type = FIELDS_PLACE_NODE, .preserve = preserve || n->preserve, .node = n};
}

struct fields_place fields_place_root(const struct schema_desc *desc)
{
    if (!(desc->flags & SCHEMA_DESC_REST))
        return msg_place(desc);
    struct fields_place p = node_place(desc->schema ? desc->schema : &anything, false);
    p.root = true;
    return p;
}

/* ---- shapes ---- */

enum fields_shape fields_shape(const struct schema_field *f)
{
    if (f->flags & SCHEMA_LIST) {
        if (f->rules->list_type == SCHEMA_LIST_SET)
            return FIELDS_SET;
        return f->rules->list_type == SCHEMA_LIST_MAP && f->rules->list_map_keys &&
                       f->type == SCHEMA_MSG
                   ? FIELDS_KEYED
                   : FIELDS_LEAF;
    }
    if (f->flags & SCHEMA_ATOMIC)
        return FIELDS_LEAF;
    return f->flags & SCHEMA_MAP ? FIELDS_MAP : fields_elem_shape(f);
}

static enum fields_shape node_shape(const struct structural_node *n, enum json_type t)
{
    if (t == JSON_NULL) /* as what it is declared to be */
        t = n->type == STRUCTURAL_OBJECT ? JSON_OBJ : n->type == STRUCTURAL_ARRAY ? JSON_ARR : t;
    if (t == JSON_OBJ && n->type <= STRUCTURAL_OBJECT)
        return n->map_atomic ? FIELDS_LEAF : FIELDS_MSG;
    if (t != JSON_ARR || (n->type && n->type != STRUCTURAL_ARRAY))
        return FIELDS_LEAF;
    return n->list_type == SCHEMA_LIST_SET   ? FIELDS_SET
           : n->list_type == SCHEMA_LIST_MAP ? FIELDS_KEYED
                                             : FIELDS_LEAF;
}

enum fields_shape fields_place_shape(struct fields_place p, enum json_type t)
{
    enum fields_shape shape;
    switch ((enum fields_place_type)p.type) {
    case FIELDS_PLACE_MSG:
        return FIELDS_MSG;
    case FIELDS_PLACE_FIELD:
        shape = fields_shape(p.field);
        return shape == FIELDS_MAP ? FIELDS_MSG : shape;
    case FIELDS_PLACE_NODE:
        return node_shape(p.node, t);
    case FIELDS_PLACE_FREE:
        return t == JSON_OBJ ? FIELDS_MSG : FIELDS_LEAF;
    case FIELDS_PLACE_ELEM:
    case FIELDS_PLACE_WHOLE:
        break;
    }
    return FIELDS_LEAF;
}

/* ---- going down ---- */

static struct fields_member msg_member(const struct schema_desc *desc, struct str name)
{
    const struct schema_field *f = schema_field_find(desc, name.p, name.n);
    if (!f)
        return (struct fields_member){.known = false};
    return (struct fields_member){
        .place = field_place(f), .field = f, .known = true, .declared = true};
}

static struct fields_member known(struct fields_place p, bool declared)
{
    return (struct fields_member){.place = p, .known = true, .declared = declared};
}

static struct fields_member node_member(struct fields_place p, struct str name)
{
    const struct structural_node *n = p.node, *prop;
    if (p.root || n->embedded) { /* these are declared everywhere, whatever the schema says */
        if (str_is(name, "metadata"))
            return known(msg_place(&api_object_meta_desc), true);
        if (str_is(name, "apiVersion") || str_is(name, "kind"))
            return known(whole_place(), true);
    }
    prop = structural_prop(n, name);
    if (prop)
        return known(node_place(prop, p.preserve), true);
    if (n->additional)
        return known(node_place(n->additional, p.preserve), false);
    if (p.preserve || n->additional_any || !n->n_props)
        return known((struct fields_place){.type = FIELDS_PLACE_FREE}, false);
    return (struct fields_member){.known = false};
}

/* Of what is owned as a whole. */
static struct fields_member inner_member(const struct schema_field *f, struct str name)
{
    return f->type == SCHEMA_MSG ? msg_member(f->msg, name) : known(whole_place(), false);
}

struct fields_member fields_place_member(struct fields_place p, struct str name)
{
    switch ((enum fields_place_type)p.type) {
    case FIELDS_PLACE_MSG:
        return msg_member(p.desc, name);
    case FIELDS_PLACE_FIELD:
        if (p.field->flags & SCHEMA_MAP)
            return known(elem_place(p.field), false);
        return inner_member(p.field, name);
    case FIELDS_PLACE_ELEM:
        return inner_member(p.field, name);
    case FIELDS_PLACE_NODE:
        return node_member(p, name);
    case FIELDS_PLACE_FREE:
    case FIELDS_PLACE_WHOLE:
        break;
    }
    return known(p, false);
}

struct fields_place fields_place_elem(struct fields_place p)
{
    if (p.type == FIELDS_PLACE_FIELD && p.field->flags & SCHEMA_LIST)
        return elem_place(p.field);
    if (p.type == FIELDS_PLACE_NODE && p.node->items)
        return node_place(p.node->items, p.preserve);
    return whole_place();
}

/* ---- what a value must be ---- */

static enum fields_expected table_expected(const struct schema_field *f, bool elem)
{
    if (!elem && f->flags & (SCHEMA_LIST | SCHEMA_MAP))
        return f->flags & SCHEMA_LIST ? FIELDS_ARRAY : FIELDS_OBJECT;
    switch ((enum schema_type)f->type) {
    case SCHEMA_MSG:
        return f->msg->flags & SCHEMA_DESC_AS_LIST ? FIELDS_ARRAY : FIELDS_OBJECT;
    case SCHEMA_BOOL:
        return FIELDS_BOOLEAN;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
    case SCHEMA_DOUBLE:
        return FIELDS_NUMERIC;
    case SCHEMA_STRING:
    case SCHEMA_BYTES:
    case SCHEMA_TIME:
    case SCHEMA_MICRO_TIME:
    case SCHEMA_DURATION:
        return FIELDS_STRING;
    default:
        return FIELDS_ANYTHING; /* the decoder of the merged object looks at the rest */
    }
}

static enum fields_expected node_expected(const struct structural_node *n)
{
    switch ((enum structural_type)n->type) {
    case STRUCTURAL_OBJECT:
        return FIELDS_OBJECT;
    case STRUCTURAL_ARRAY:
        return FIELDS_ARRAY;
    case STRUCTURAL_STRING: /* with another format the schema alone knows */
        return n->format.n && !str_is(n->format, "byte") ? FIELDS_ANYTHING : FIELDS_STRING;
    case STRUCTURAL_INTEGER:
    case STRUCTURAL_NUMBER:
        return FIELDS_NUMERIC;
    case STRUCTURAL_BOOLEAN:
        return FIELDS_BOOLEAN;
    case STRUCTURAL_ANY:
    case _STRUCTURAL_TYPE_MAX:
        break;
    }
    return FIELDS_ANYTHING;
}

enum fields_expected fields_place_expected(struct fields_place p)
{
    switch ((enum fields_place_type)p.type) {
    case FIELDS_PLACE_MSG:
        return FIELDS_OBJECT;
    case FIELDS_PLACE_FIELD:
        return table_expected(p.field, false);
    case FIELDS_PLACE_ELEM:
        return table_expected(p.field, true);
    case FIELDS_PLACE_NODE:
        return node_expected(p.node);
    case FIELDS_PLACE_FREE:
    case FIELDS_PLACE_WHOLE:
        break;
    }
    return FIELDS_ANYTHING;
}

/* ---- elements of lists ---- */

static void key_add(struct fields_keys *k, struct str name, struct str deflt)
{
    size_t i = k->n++;
    for (; i && str_cmp(k->v[i - 1].name, name) > 0; i--)
        k->v[i] = k->v[i - 1];
    k->v[i] = (struct fields_key){name, deflt};
}

static void table_keys(const struct schema_field *f, struct fields_keys *k, struct arena *a)
{
    const char *const *names = f->rules->list_map_keys;
    size_t n = 0;
    while (names[n])
        n++;
    k->v = arena_alloc(a, n * sizeof(*k->v));
    for (size_t i = 0; i < n; i++) {
        const struct schema_field *g = schema_field_find(f->msg, names[i], strlen(names[i]));
        const char *deflt = g ? g->rules->default_text : NULL;
        if (g)
            key_add(k, (struct str){g->name, g->name_len},
                    !deflt                     ? STR_NONE
                    : g->type == SCHEMA_STRING ? arena_printf(a, "\"%s\"", deflt)
                                               : str_z(deflt));
    }
}

static void node_keys(const struct structural_node *n, struct fields_keys *k, struct arena *a)
{
    struct buf b = {0};
    k->v = arena_alloc(a, n->n_list_keys * sizeof(*k->v));
    for (uint32_t i = 0; i < n->n_list_keys; i++) {
        const struct structural_node *p =
            n->items ? structural_prop(n->items, n->list_keys[i]) : NULL;
        buf_clear(&b);
        if (p && p->default_)
            json_print_sorted(p->default_, &b);
        key_add(k, n->list_keys[i], b.n ? arena_str(a, buf_str(&b)) : STR_NONE);
    }
    buf_fini(&b);
}

struct fields_keys fields_place_keys(struct fields_place list, struct arena *a)
{
    struct fields_keys k = {0};
    if (list.type == FIELDS_PLACE_NODE && list.node->list_type == SCHEMA_LIST_MAP)
        node_keys(list.node, &k, a);
    else if (list.type == FIELDS_PLACE_FIELD && fields_shape(list.field) == FIELDS_KEYED)
        table_keys(list.field, &k, a);
    return k;
}

static void put_scalar(const struct json *v, struct buf *b)
{
    if (v->type == JSON_STR)
        json_print_str(v->s, b);
    else
        json_print_sorted(v, b);
}

static struct str key_of_json(const struct fields_keys *keys, const struct json *v, struct arena *a,
                              struct buf *b)
{
    for (size_t i = 0; i < keys->n; i++) {
        const struct fields_key *k = &keys->v[i];
        const struct json *value = json_get(v, k->name);
        bool there = value && value->type != JSON_NULL;
        if (!there && !k->deflt.p)
            return arena_printf(a,
                                "associative list with keys has an element that omits key field "
                                "\"%.*s\" (and doesn't have default value)",
                                STR_ARG(k->name));
        fields_key_head(k->name, b);
        if (there)
            put_scalar(value, b);
        else
            out_add(b, k->deflt.p, k->deflt.n);
    }
    OUT_LIT(b, "}");
    return STR_NONE;
}

struct str fields_elem_of_json(const struct fields_keys *keys, const struct json *v,
                               struct buf *scratch, struct arena *a, struct fields_elem *ret)
{
    struct str why = STR_NONE;
    buf_clear(scratch);
    if (v->type == JSON_NULL)
        return keys->n ? STR("associative list with keys may not have null elements")
                       : STR("set has a null element");
    if (keys->n && v->type != JSON_OBJ)
        return STR("associative list with keys may not have non-map elements");
    if (!keys->n && (v->type == JSON_OBJ || v->type == JSON_ARR))
        return STR("only scalars are supported as elements of sets");
    if (keys->n)
        why = key_of_json(keys, v, a, scratch);
    else
        put_scalar(v, scratch);
    if (!why.p)
        *ret =
            fields_elem_named(keys->n ? FIELDS_KEY : FIELDS_VALUE, arena_str(a, buf_str(scratch)));
    return why;
}
