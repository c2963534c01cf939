/*
 * cursor.c - see cursor.h.
 */
#include "engine/cursor.h"

#include "engine/phase_parts.h"

static int
send_declare(hp_conn *conn, hp_request *req)
{
    const hp_params *params = &req->params;
    hp_phase_add_step(req, req->fetch != NULL ? HP_STEP_TEXT : HP_STEP_EXECUTE);
    return PQsendQueryParams(conn->pg, req->declare, params->n, req->stmt->param_types, params->values, params->lengths,
                             params->formats, 0)
               ? 0
               : -1;
}

static int
send_fetch(hp_conn *conn, hp_request *req)
{
    hp_phase_add_step(req, HP_STEP_EXECUTE);
    return PQsendQueryParams(conn->pg, req->fetch, 0, NULL, NULL, NULL, NULL, req->result_format) ? 0 : -1;
}

int
hp_cursor_send(hp_conn *conn, hp_request *req)
{
    conn->unnamed = 0;
    if (req->declare != NULL && send_declare(conn, req) < 0) {
        return -1;
    }
    return req->fetch != NULL ? send_fetch(conn, req) : 0;
}
