/*
 * batch.h - handing the parameter sets of a batch to libpq.
 *
 * The sets are executions of one statement without a synchronisation point in
 * between: outside a transaction the server takes all up to the point as one, so
 * that they are committed together or not at all.
 *
 * Called by phase.c and conn.c.
 */
#ifndef HP_BATCH_H
#define HP_BATCH_H

#include "engine/conn.h"

/* Is a batch only partly sent? Its end would commit what was sent. */
bool hp_batch_is_feeding(const hp_request *req);
/* Hand over parameter sets until the socket is full, then the synchronisation
 * point that commits them all. After an error the server skips the rest: stop. */
void hp_batch_feed(hp_conn *conn, hp_request *req);

#endif
