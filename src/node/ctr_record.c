/* POD/c/NAME/record.json: what must be known of a container after our death (the form of the file
 * is record.c's). It is written before each step it announces, so the next agent sees at most one
 * step more than was done, never one less:
 *
 *   preparing  nothing runs; directories may be half made
 *   creating   conmon may be there, crun may have created; surely not started
 *   starting   its program may have been let go
 *   running    started
 *   exited     ended and cleaned; `end` says how */
#include "node/agent.h"

#include "base/mem.h"
#include "node/fsutil.h"
#include "node/jw.h"
#include "node/record.h"
#include "node/resize.h"

static void write_end(struct jw *w, const char *key, const struct ctr_end *e)
{
    if (!e->set)
        return;
    jw_key_open(w, key, '{');
    jw_key_i64(w, "code", e->code);
    jw_key_i64(w, "signal", e->signal);
    jw_key_i64(w, "started", e->started);
    jw_key_i64(w, "finished", e->finished);
    jw_key_z(w, "reason", e->reason ? e->reason : "");
    jw_key_z(w, "message", e->message ? e->message : "");
    jw_key_z(w, "id", e->id ? e->id : "");
    jw_close(w, '}');
}

void ctr_save(struct ctr *c)
{
    const struct ctr_record *r = &c->rec;
    struct buf b = {0};
    struct jw w = {&b, false};
    jw_open(&w, '{');
    jw_key_i64(&w, "attempt", r->attempt);
    jw_key_i64(&w, "restarts", r->restarts);
    jw_key_z(&w, "phase", r->phase ? r->phase : "");
    jw_key_z(&w, "image", r->image ? r->image : "");
    jw_key_z(&w, "imageID", r->image_id ? r->image_id : "");
    jw_key_z(&w, "stopSignal", r->stop_signal ? r->stop_signal : "");
    jw_key_i64(&w, "created", r->created);
    jw_key_i64(&w, "started", r->started);
    jw_key_i64(&w, "backoff", r->backoff_s);
    jw_key_bool(&w, "hooked", r->hooked);
    jw_key_bool(&w, "wasStarted", r->was_started);
    jw_key_bool(&w, "ready", r->ready);
    jw_key_i64(&w, "pid", r->pid);
    jw_key_i64(&w, "pidStart", (int64_t)r->pid_start);
    if (c->in_force) {
        jw_key(&w, "resources");
        schema_encode_json(&api_resource_requirements_desc, c->in_force, 0, &b);
        w.comma = true;
    }
    write_end(&w, "end", &r->end);
    write_end(&w, "last", &r->last);
    jw_close(&w, '}');
    struct fs_path file = fs_path("%s/record.json", c->dir);
    int rc = record_save(file.s, buf_str(&b));
    if (rc == -ENOENT && (rc = fs_mkdirs(c->dir, 0700)) == 0)
        rc = record_save(file.s, buf_str(&b));
    if (rc < 0)
        log_error("pod %s/%s: cannot write the record of container %s: %s", c->pod->ns,
                  c->pod->name, c->name, strerror(-rc));
    buf_fini(&b);
}

static int64_t get_i64(const struct json *v, const char *key)
{
    const struct json *m = json_get(v, str_z(key));
    return json_is(m, JSON_INT) ? m->i : 0;
}

static bool get_bool(const struct json *v, const char *key)
{
    const struct json *m = json_get(v, str_z(key));
    return json_is(m, JSON_BOOL) && m->b;
}

static char *get_text(const struct json *v, const char *key)
{
    return str_dup(json_get_str(v, str_z(key)));
}

static void read_end(const struct json *v, struct ctr_end *e)
{
    if (!json_is(v, JSON_OBJ))
        return;
    *e = (struct ctr_end){
        .set = true,
        .code = (int)get_i64(v, "code"),
        .signal = (int)get_i64(v, "signal"),
        .started = get_i64(v, "started"),
        .finished = get_i64(v, "finished"),
        .reason = get_text(v, "reason"),
        .message = get_text(v, "message"),
        .id = get_text(v, "id"),
    };
}

/* A record from before pods could be resized: what is allocated. */
static void read_in_force(struct ctr *c, const struct json *v, struct arena *a)
{
    struct api_resource_requirements r;
    struct error err = {0};
    if (json_is(v, JSON_OBJ) &&
        schema_decode_json(&api_resource_requirements_desc, v, a, NULL, &r, &err) >= 0)
        ctr_set_in_force(c, &r);
    else
        ctr_set_in_force(c, NULL);
    error_fini(&err);
}

int ctr_load(struct ctr *c)
{
    struct arena a = {0};
    struct json *v;
    int r = record_load(fs_path("%s/record.json", c->dir).s, &a, &v);
    if (r == 0) {
        ctr_record_fini(&c->rec);
        c->rec = (struct ctr_record){
            .attempt = (unsigned)get_i64(v, "attempt"),
            .restarts = (unsigned)get_i64(v, "restarts"),
            .phase = get_text(v, "phase"),
            .image = get_text(v, "image"),
            .image_id = get_text(v, "imageID"),
            .stop_signal = get_text(v, "stopSignal"),
            .created = get_i64(v, "created"),
            .started = get_i64(v, "started"),
            .backoff_s = get_i64(v, "backoff"),
            .hooked = get_bool(v, "hooked"),
            .was_started = get_bool(v, "wasStarted"),
            .ready = get_bool(v, "ready"),
            .pid = (int)get_i64(v, "pid"),
            .pid_start = (uint64_t)get_i64(v, "pidStart"),
        };
        if (c->rec.attempt)
            read_in_force(c, json_getz(v, "resources"), &a);
        read_end(json_getz(v, "end"), &c->rec.end);
        read_end(json_getz(v, "last"), &c->rec.last);
    }
    arena_fini(&a);
    return r;
}

void ctr_end_clear(struct ctr_end *e)
{
    free(e->reason);
    free(e->message);
    free(e->id);
    *e = (struct ctr_end){0};
}

void ctr_record_fini(struct ctr_record *r)
{
    free(r->phase);
    free(r->image);
    free(r->image_id);
    free(r->stop_signal);
    ctr_end_clear(&r->end);
    ctr_end_clear(&r->last);
    *r = (struct ctr_record){0};
}
