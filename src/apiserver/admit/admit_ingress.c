/* DefaultIngressClass: a new Ingress that names no class gets the default one. Kubernetes:
 * plugin/pkg/admission/network/defaultingressclass. */
#include "apiserver/admit/admit.h"

int admit_ingress_class(struct api_call *c, void *msg, const struct object *old)
{
    static const char *const annotations[] = {"ingressclass.kubernetes.io/is-default-class"};
    struct api_ingress *g = msg;
    if (c->kind != KIND(INGRESS) || old || c->subresource.n || g->spec.ingress_class_name.p ||
        KV_GET(&g->metadata, annotations, STR("kubernetes.io/ingress.class")))
        return 0;
    struct str name =
        admit_default_class(c, KIND(INGRESS_CLASS), annotations, ARRAY_LEN(annotations));
    if (name.n)
        g->spec.ingress_class_name = name;
    return 0;
}
