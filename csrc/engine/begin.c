/*
 * begin.c - see begin.h.
 */
#include "engine/begin.h"

#include "engine/phase_parts.h"

#include <stdlib.h>
#include <string.h>

int
hp_begin_set(hp_conn *conn, const char *sql)
{
    char *copy = strdup(sql);
    if (copy == NULL) {
        return -1;
    }
    hp_begin_drop(conn);
    conn->begin = copy;
    return 0;
}

bool
hp_begin_drop(hp_conn *conn)
{
    bool was_due = conn->begin != NULL && !conn->begin_sent;
    free(conn->begin);
    conn->begin = NULL;
    return was_due;
}

int
hp_begin_send(hp_conn *conn, hp_request *req)
{
    if (conn->begin == NULL) {
        return 0;
    }
    hp_phase_add_step(req, HP_STEP_BEGIN);
    conn->begin_sent = true;
    conn->unnamed = 0;
    return PQsendQueryParams(conn->pg, conn->begin, 0, NULL, NULL, NULL, NULL, 0) ? 0 : -1;
}

void
hp_begin_answered(hp_conn *conn, bool done)
{
    conn->begin_sent = false;
    if (done) {
        hp_begin_drop(conn);
    }
}
