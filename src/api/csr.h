/* Rules of certificate requests. */
#pragma once

#include "api/hooks.h"

/* The signers of the cluster itself (KEP-1513). */
#define CSR_SIGNER_CLIENT  "kubernetes.io/kube-apiserver-client"
#define CSR_SIGNER_KUBELET "kubernetes.io/kube-apiserver-client-kubelet"
#define CSR_SIGNER_SERVING "kubernetes.io/kubelet-serving"

/* Key of spec.extra: the address the API server was asked from. */
#define CSR_EXTRA_ADDRESS "davit.dev/client-address"
/* Annotation of a join's request, "true": the machine has made its Node; the name is the Node's. */
#define CSR_JOINED_ANNOTATION "davit.dev/joined"

/* The condition of a type ("Approved", "Denied", "Failed"), or NULL. */
const struct api_certificate_signing_request_condition *
csr_condition(const struct api_certificate_signing_request *c, const char *type);

extern const struct api_hooks csr_hooks;
