/*
 * route.h - which session carries a single statement, when several may be in
 * flight on one (pipelining).
 *
 * What is known of a statement is the running estimate hp_stmt.cost: how long it
 * keeps the server busy. That is how much later its answer came than it could have:
 * a round trip after it was sent, or with the answer in front of it. Up to half a
 * round trip of the former is the network's and the schedulers' doing and no cost;
 * where it is the statement's all the same, that shows as time between answers once
 * others are behind it. An estimate rises faster than it falls. The round trip is
 * the shortest time that anything took alone in the last seconds, and at most a
 * small multiple of the shortest ever, so that a pool that runs nothing but slow
 * statements does not take their time for the network's.
 *
 * What a statement adds to a queue is its mean time, at its lowest in the last
 * seconds: where sessions compete for processors each of their answers takes
 * longer, and more sessions would only make that worse.
 *
 * A statement is slow while its cost is unknown, or more than the limit, which is
 * a millisecond or the round trip. Then
 *
 *   - a read that is not slow may go out behind others like it, while the sum of
 *     their times on that session is within the limit too: so the depth adapts to
 *     the round trip, and nobody waits much longer than for the network. It does so
 *     even while sessions are idle, but only up to a quarter of a millisecond;
 *   - slow statements never share, and leave one session of the pool to others, if
 *     others have come within the last second: among themselves they queue (`held`);
 *   - who waits is served in order: nothing new is sent past waiters.
 *
 * A depth that the user has set takes the place of that sum, and of nothing else.
 *
 * Estimates can be wrong, and a read can wait for a lock. Where a statement with
 * others behind it takes long, those are taken back and sent elsewhere (share.c);
 * one timer for the pool looks for that while anything shares.
 *
 * Called by pool.c.
 */
#ifndef HP_ROUTE_H
#define HP_ROUTE_H

#include "engine/pool.h"

/* What a pool's `pipeline` may say besides a depth. */
enum { HP_PIPELINE_OFF = 0, HP_PIPELINE_AUTO = -1 };
/* A depth beyond this only makes the queue longer. */
enum { HP_PIPELINE_MOST = 64 };

void hp_route_init(hp_pool *pool, int pipeline);
void hp_route_stop(hp_pool *pool);

/* Is its cost unknown, or above the limit? Sets req->load. */
bool hp_route_is_slow(const hp_pool *pool, hp_request *req);
/* A statement has come that is not slow. */
void hp_route_note_short(hp_pool *pool, hp_time now);
/* Have slow statements all the sessions that they may have? */
bool hp_route_is_full_of_slow(const hp_pool *pool);
/* May this request go out behind what is in flight on that session? */
bool hp_route_has_room(const hp_pool *pool, const hp_conn *conn, const hp_request *req, hp_time now);
/* The session with the least in flight that has room for it, or NULL. */
hp_conn *hp_route_find(const hp_pool *pool, hp_request *req, hp_time now);
/* Something is in flight behind another request: see to it that it will not wait long. */
void hp_route_watch(hp_pool *pool);
/* Learn from an answer. */
void hp_route_learn(hp_pool *pool, hp_conn *conn, const hp_request *req);

#endif
