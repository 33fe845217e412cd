/* Manifests, indexes, configurations, docker-archive lists and credentials: one input through all.
 */
#include "node/image/auth.h"
#include "node/image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct error err = {0};
    struct manifest m;
    struct config c;
    struct archive_image *v;
    unsigned n;
    struct image_auths auths = {0};
    if (manifest_parse(text, "application/vnd.oci.image.manifest.v1+json; charset=utf-8", &m,
                       &err) == 0) {
        ASSERT(m.n_layers <= INDEX_ENTRIES_MAX);
        for (unsigned i = 0; i < m.n_layers; i++)
            ASSERT(digest_valid(str_z(m.layers[i].digest)) && m.layers[i].size <= LAYER_BYTES_MAX);
        if (m.is_index)
            (void)manifest_pick(&m);
        manifest_fini(&m);
    } else {
        ASSERT(err.message.n > 0);
    }
    error_clear(&err);
    if (config_parse(text, &c, &err) == 0) {
        ASSERT(c.n_diff_ids <= IMAGE_LAYERS_MAX && c.run.env && c.run.volumes && c.run.user);
        config_fini(&c);
    } else {
        ASSERT(err.message.n > 0);
    }
    error_clear(&err);
    if (docker_archive_parse(text, &v, &n, &err) == 0)
        docker_archive_free(v, n);
    error_clear(&err);
    if (image_auths_add_dockerconfigjson(&auths, text, &err) == 0)
        (void)auth_find(&auths, "docker.io", "library/x");
    error_clear(&err);
    if (image_auths_add_dockercfg(&auths, text, &err) == 0)
        (void)auth_find(&auths, "r.example", "x");
    image_auths_fini(&auths);
    error_fini(&err);
    return 0;
}
