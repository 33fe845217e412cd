/* The channel protocols of exec and attach, server side: one set of callbacks over WebSocket
 * (v4.channel.k8s.io, v5.channel.k8s.io; also the older binary ones) and SPDY/3.1
 * (v4.channel.k8s.io ... of remotecommand).
 *
 * WebSocket: the first byte of each message is the channel: 0 stdin, 1 stdout, 2 stderr, 3 error, 4
 * resize, and in v5 255 "close channel N" (its second byte). SPDY: one stream per channel, named by
 * its header streamtype. The error channel carries one v1.Status as JSON at the end. */
#pragma once

#include "http/server.h"

struct remote;

struct remote_callbacks {
    void (*on_open)(void *arg); /* all wanted channels are there */
    void (*on_stdin)(void *arg, struct str data);
    void (*on_stdin_end)(void *arg);
    void (*on_resize)(void *arg, unsigned rows, unsigned cols);
    void (*on_drain)(void *arg); /* output may go on */
    /* Once, last: the connection is gone; nothing may be called any more. */
    void (*on_close)(void *arg);
};

struct remote_opts {
    bool stdin_open, stdout_open, stderr_open, tty;
};

/* Answers the upgrade request (also with a refusal: then NULL and no callback). */
struct remote *remote_accept(struct http_request *req, const struct remote_opts *o,
                             const struct remote_callbacks *cb, void *arg);
/* stream 1 or 2. False: the peer is slow, stop producing until on_drain. */
bool remote_output(struct remote *r, int stream, struct str data);
void remote_pause_stdin(struct remote *r, bool paused);
/* Sends the final status (exit code 0: Success; > 0: NonZeroExitCode; < 0: an internal error with
 * message) and closes behind it; on_close follows. */
void remote_finish(struct remote *r, int code, const char *message);
/* Cuts; on_close follows. */
void remote_abort(struct remote *r);
