/*
 * copy.c - see copy.h.
 */
#include "engine/copy.h"

#include "engine/conn_parts.h"
#include "engine/phase.h"

#include <sys/socket.h>

/* Goes into the server's error, which only its log shows: the caller has left. */
static const char GIVEN_UP[] = "the client gave up sending data";

static bool
is_current(const hp_conn *conn, const hp_request *req)
{
    return conn->state == HP_CONN_READY && conn->inflight.first == req;
}

bool
hp_copy_begin(hp_conn *conn, hp_request *req, const PGresult *res)
{
    hp_copy *copy = req->copy;
    ExecStatusType expected;
    if (copy == NULL || req->abandoned || copy->state != HP_COPY_STARTING) {
        return false;
    }
    expected = copy->from_stdin ? PGRES_COPY_IN : PGRES_COPY_OUT;
    if (PQresultStatus(res) != expected) {
        return false;
    }
    copy->columns = PQnfields(res);
    copy->state = copy->from_stdin ? HP_COPY_FEEDING : HP_COPY_READING;
    if (copy->from_stdin) {
        conn->env->up->copy_ready(req);
    }
    return true;
}

/* ---- FEEDING ---- */

/* Is there an ErrorResponse among the messages at the start of what has come? It
 * starts with its severity; no message boundary lies anywhere else in front of
 * such bytes. Other messages that a server sends by itself are stepped over. */
static bool
begins_with_error(const unsigned char *data, size_t len)
{
    enum { HEADER_BYTES = 5, LENGTH_BYTES = 4 };
    while (len > HEADER_BYTES) {
        size_t size = (size_t)data[1] << 24 | (size_t)data[2] << 16 | (size_t)data[3] << 8 | data[4];
        if (data[0] == 'E') {
            return data[HEADER_BYTES] == 'S' && size > LENGTH_BYTES && data[1] == 0;
        }
        if ((data[0] != 'N' && data[0] != 'A' && data[0] != 'S') || size < LENGTH_BYTES || size + 1 >= len) {
            return false;
        }
        data += size + 1;
        len -= size + 1;
    }
    return false;
}

void
hp_copy_look(const hp_conn *conn, hp_request *req)
{
    enum { LOOK_BYTES = 2048 };
    unsigned char data[LOOK_BYTES];
    if (req->copy->state != HP_COPY_FEEDING || PQsslInUse(conn->pg) || PQgssEncInUse(conn->pg)) {
        return;
    }
    ssize_t n = recv(PQsocket(conn->pg), data, sizeof data, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && begins_with_error(data, (size_t)n)) {
        req->copy->refused = true;
    }
}

/* End the data; `why` NULL: it is complete. 0, or -1: the session broke. */
static int
end_data(hp_conn *conn, hp_request *req, const char *why)
{
    req->copy->state = HP_COPY_ENDING;
    req->copy->full = false;
    if (PQputCopyEnd(conn->pg, why) <= 0) {
        hp_conn_break_sending(conn);
        return -1;
    }
    if (hp_conn_flush(conn) < 0) {
        return -1;
    }
    /* An error may have been hidden in libpq all along: no event tells of it. */
    hp_conn_receive(conn);
    return 0;
}

int
hp_copy_put(hp_conn *conn, hp_request *req, const char *data, int len)
{
    hp_copy_look(conn, req); /* sending takes input in, too */
    if (req->copy->refused) {
        hp_conn_receive(conn);
        return is_current(conn, req) ? 1 : -1;
    }
    int rc = PQputCopyData(conn->pg, data, len);
    if (rc == 0) {
        hp_error err;
        hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
        hp_conn_break(conn, &err);
        return -1;
    }
    if (rc < 0) {
        hp_conn_break_sending(conn);
        return -1;
    }
    rc = hp_conn_flush(conn);
    if (rc >= 0) {
        req->copy->full = rc > 0;
    }
    return rc;
}

void
hp_copy_writable(hp_conn *conn, hp_request *req)
{
    if (req->copy->full && !req->abandoned) {
        req->copy->full = false;
        conn->env->up->copy_ready(req);
    }
}

void
hp_copy_end(hp_conn *conn, hp_request *req)
{
    end_data(conn, req, NULL);
}

/* ---- READING ---- */

static void
pause_reading(hp_conn *conn, hp_copy *copy)
{
    copy->paused = true;
    hp_reactor_unwatch(&conn->env->reactor, &conn->watch);
}

static int
watch_again(hp_conn *conn, hp_copy *copy)
{
    copy->paused = false;
    if (hp_reactor_watch(&conn->env->reactor, &conn->watch, PQsocket(conn->pg), HP_READ) < 0) {
        hp_conn_break_sending(conn);
        return -1;
    }
    return 0;
}

/* Rows that libpq has. Their number; -1: they have come to their end, or what
 * follows is an error; -2: the session broke. */
static int
take_rows(hp_conn *conn, hp_request *req)
{
    int rows = 0;
    while (!req->copy->paused) {
        char *row;
        int len = PQgetCopyData(conn->pg, &row, 1);
        if (len == 0) {
            break;
        }
        if (len == -1) {
            return -1;
        }
        if (len < 0) {
            hp_conn_break_sending(conn); /* libpq says why */
            return -2;
        }
        int answer = conn->env->up->copy_row(req, row, (size_t)len);
        PQfreemem(row);
        req->copy->held = true;
        rows++;
        if (answer < 0) {
            hp_error err;
            hp_error_set(&err, HP_ERR_NO_MEMORY, "out of memory");
            hp_conn_break(conn, &err);
            return -2;
        }
        if (answer > 0) {
            pause_reading(conn, req->copy);
        }
    }
    return rows;
}

/* Takes rows, and more of them off the socket as long as there are: one wake-up
 * of the caller for all. It asks once more than it needs to, since what TLS has
 * decrypted and libpq had no room for is no event any more. True: the session is
 * still there. */
static bool
read_rows(hp_conn *conn, hp_request *req)
{
    hp_copy *copy = req->copy;
    int rows = 0, all = 0;
    for (int empty = 0; empty < 2 && !copy->paused;) {
        rows = take_rows(conn, req);
        if (rows < 0) {
            break;
        }
        all += rows;
        empty = rows > 0 ? 0 : empty + 1;
        if (empty < 2 && !copy->paused && !PQconsumeInput(conn->pg)) {
            hp_conn_lost(conn);
            return false;
        }
    }
    if (rows == -2) {
        return false;
    }
    copy->ended = rows == -1;
    if (all > 0 || (copy->ended && copy->held)) {
        conn->env->up->copy_ready(req);
    }
    return is_current(conn, req);
}

static bool
receive_rows(hp_conn *conn, hp_request *req)
{
    hp_copy *copy = req->copy;
    if ((!copy->ended && !read_rows(conn, req)) || !copy->ended || copy->held) {
        return false;
    }
    copy->state = HP_COPY_ENDING;
    return true;
}

void
hp_copy_taken(hp_conn *conn, hp_request *req)
{
    req->copy->held = false;
    if (req->copy->ended) {
        hp_conn_receive(conn);
    }
}

void
hp_copy_resume(hp_conn *conn, hp_request *req)
{
    if (watch_again(conn, req->copy) == 0) {
        hp_conn_receive(conn); /* what libpq has already is no event any more */
    }
}

/* ---- both ---- */

bool
hp_copy_receive(hp_conn *conn, hp_request *req)
{
    hp_copy *copy = req->copy;
    switch (copy->state) {
    case HP_COPY_FEEDING:
        if (copy->refused) {
            /* Nothing can be committed any more, so that it does not matter how the data ends. */
            end_data(conn, req, GIVEN_UP);
            return is_current(conn, req);
        }
        return false;
    case HP_COPY_READING:
        return receive_rows(conn, req);
    case HP_COPY_STARTING:
    case HP_COPY_ENDING:
        break;
    }
    return true;
}

bool
hp_copy_abandon(hp_conn *conn, hp_request *req)
{
    hp_copy *copy = req->copy;
    switch (copy->state) {
    case HP_COPY_FEEDING:
        end_data(conn, req, GIVEN_UP); /* where the server does not listen, the timer asks for a cancel */
        return false;
    case HP_COPY_READING:
        copy->state = HP_COPY_ENDING;
        conn->copy_out = !copy->ended;
        if (copy->paused && watch_again(conn, copy) < 0) {
            return false;
        }
        hp_conn_receive(conn);
        return is_current(conn, req);
    case HP_COPY_STARTING:
    case HP_COPY_ENDING:
        break;
    }
    return true;
}

void
hp_copy_break(const hp_conn *conn, const hp_request *req)
{
    char *row;
    if (req->copy->state == HP_COPY_FEEDING) {
        PQputCopyEnd(conn->pg, GIVEN_UP);
    } else if (req->copy->state == HP_COPY_READING) {
        while (PQgetCopyData(conn->pg, &row, 1) > 0) {
            PQfreemem(row);
        }
    }
}
