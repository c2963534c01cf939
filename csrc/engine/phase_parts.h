/*
 * phase_parts.h - what the files that send (phase.c, prepared.c, batch.c) need of
 * each other and nobody else may call.
 */
#ifndef HP_PHASE_PARTS_H
#define HP_PHASE_PARTS_H

#include "engine/phase.h"

/* Something was sent whose answer is the next to come. */
void hp_phase_add_step(hp_request *req, hp_step step);
/* A synchronisation point, with its step. 0, or -1: libpq refused. */
int hp_phase_send_sync(hp_conn *conn, hp_request *req);
/* What ends a phase: that, unless the request is open-ended. 0, or -1: libpq refused. */
int hp_phase_send_end(hp_conn *conn, hp_request *req);
/* A new phase, in libpq's pipeline mode. 0, or -1: libpq refused. */
int hp_phase_begin(hp_conn *conn, hp_request *req, hp_phase phase);
/* The request is over, and its `failure` is why. */
void hp_phase_finish_with_failure(hp_conn *conn, hp_request *req);
/* One execution of req->stmt with req->params. 0, or -1: libpq refused. */
int hp_phase_send_one(hp_conn *conn, hp_request *req);

#endif
