/* rt_sim: a struct rt on virtual time. Nothing happens until a step is asked for; a step runs one
 * callback, in the order of a real turn; when nothing is due the clock jumps to the next timer.
 * Posts and work are delivered after a seeded delay, random numbers are seeded: one seed, one
 * history. A turn that follows at once costs 1 us of virtual time, so work that reschedules itself
 * cannot stop it.
 *
 * Not there: file descriptors (rt_fd_init gives -ENOTSUP), hence no sockets and no processes.
 * Streams are in-memory pairs (rt/stream.h), which work on any loop. One thread only, but for
 * rt_post. */
#pragma once

#include "rt/rt.h"

struct rt *rt_sim_new(uint64_t seed, usec_t start_wall);

/* One event. False when nothing is left to happen. */
bool rt_sim_step(struct rt *rt);
/* Everything due up to now + span; the clock ends there. */
void rt_sim_run_for(struct rt *rt, nsec_t span);
/* rt_run_until of rt.h works too: steps until pred holds, or virtual `timeout` passed, or nothing
 * is left to happen. */

/* Delays for rt_post and rt_work, uniform in [min, max]. Default: posts 0..50 us, work 50 us..5 ms.
 */
void rt_sim_set_post_delay(struct rt *rt, nsec_t min, nsec_t max);
void rt_sim_set_work_delay(struct rt *rt, nsec_t min, nsec_t max);
/* Moves the wall clock only, as an administrator or NTP would. */
void rt_sim_wall_jump(struct rt *rt, usec_t by);
/* Delivers a signal to all rt_signal of that number, at the next step. */
void rt_sim_signal(struct rt *rt, int signum);

uint64_t rt_sim_seed(const struct rt *rt);
/* Running hash of (virtual time, kind, callback name) of every event so far: equal digests, equal
 * histories. */
uint64_t rt_sim_digest(const struct rt *rt);
/* Called before each event; for traces of a failing seed. NULL: none. */
typedef void (*rt_sim_trace_fn)(void *arg, nsec_t now, const char *kind, const char *callback);
void rt_sim_trace(struct rt *rt, rt_sim_trace_fn fn, void *arg);
