/* Hooks of ConfigMap and Secret. */
#pragma once

#include "api/hooks.h"

/* A Secret that holds a service account's token, and the annotations that say whose it is. */
#define SECRET_TYPE_ACCOUNT_TOKEN "kubernetes.io/service-account-token"
#define SECRET_ACCOUNT_NAME       "kubernetes.io/service-account.name"
#define SECRET_ACCOUNT_UID        "kubernetes.io/service-account.uid"

extern const struct api_hooks config_map_hooks, secret_hooks;
