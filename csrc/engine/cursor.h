/*
 * cursor.h - cursors of the server for statements with parameters.
 *
 * The protocol's own way, an Execute with a row limit, is not to be had through
 * libpq. So a cursor is declared by DECLARE in the extended protocol, where the
 * server takes the parameters of the statement in it, and read by FETCH, whose
 * rows come in the format that is asked for.
 *
 * Both texts are different for each cursor: they go out as the unnamed statement
 * and are kept nowhere. The statement's own description, which the session has or
 * asks for first, says how to encode parameters and read rows. DECLARE and the
 * first FETCH are one flush; an error of the one skips the other.
 *
 * Called by phase.c.
 */
#ifndef HP_CURSOR_H
#define HP_CURSOR_H

#include "engine/conn.h"

/* Send what a CURSOR request asks for, without the synchronisation point. 0, or -1: libpq refused. */
int hp_cursor_send(hp_conn *conn, hp_request *req);

#endif
