/*
 * copy.h - COPY FROM STDIN and COPY TO STDOUT on a leased session.
 *
 * A COPY is a request (HP_REQ_COPY) that stays first in flight from its command
 * to its status; what libpq keeps for it is its own (libpq does no COPY in
 * pipeline mode, so that the session leaves it first). In between the data
 * passes, in pieces that mean nothing:
 *
 *     STARTING --ready for data--> FEEDING --end, abandon, refused--> ENDING --> DONE
 *         |                                                             ^ |
 *         +-----rows follow-----> READING --------last row--------------+ |
 *         +-----error-----------------------------------------------------+
 *
 *   STARTING  the command was sent
 *   FEEDING   the caller hands data over with hp_copy_put(), and ends it
 *   READING   rows go to up->copy_row() as they come; it lasts until the caller is
 *             through with the last of them (hp_copy_taken()), so that the COPY is
 *             not over, and its time neither, before its data is
 *   ENDING    no data any more: the status, or an error, is on its way
 *
 * Bounded memory, both ways. FEEDING: hp_copy_put() says when the socket is full,
 * and the caller waits for up->copy_ready(). READING: up->copy_row() says when it
 * has enough; the socket is not looked at then until hp_copy_resume(). It is not
 * watched at all, since the end of a session cannot be ignored by a poll set.
 *
 * What fails while FEEDING, at either end, takes all of the data back: an abandoned
 * COPY is ended by CopyFail, never by CopyDone. Abandoned while READING, the rest
 * of the rows is dropped (conn->copy_out) and the command cancelled.
 *
 * libpq hides an error that the server sends while FEEDING until the caller has
 * ended the data. So as not to ask an endless source in vain, we look at what has
 * come before libpq takes it (`refused`). That is not possible on an encrypted
 * connection, nor certain on any: then the error is found at the end of the data.
 *
 * Called by conn.c, phase.c and ending.c; the last group by the binding.
 */
#ifndef HP_COPY_H
#define HP_COPY_H

#include "engine/conn.h"

typedef enum hp_copy_state { HP_COPY_STARTING, HP_COPY_FEEDING, HP_COPY_READING, HP_COPY_ENDING } hp_copy_state;

/* Lies where its request does, and as long. */
typedef struct hp_copy {
    hp_copy_state state;
    bool from_stdin; /* what is expected: else to stdout */
    int columns;     /* of a row, as the server says when it begins */
    bool full;       /* FEEDING: the socket is; copy_ready() follows */
    bool refused;    /* FEEDING: the server has sent an error, which libpq does not show yet */
    bool paused;     /* READING: the caller has enough for now */
    bool held;       /* READING: ... has rows that it is not through with */
    bool ended;      /* READING: it has got the last one */
} hp_copy;

/* The server is ready for the data or will send some. False: not for this request, refuse it. */
bool hp_copy_begin(hp_conn *conn, hp_request *req, const PGresult *res);
/* Input is there that libpq has not taken in yet. */
void hp_copy_look(const hp_conn *conn, hp_request *req);
/* Take what libpq has of the data. True: answers may be asked for. */
bool hp_copy_receive(hp_conn *conn, hp_request *req);
/* The socket has taken everything. */
void hp_copy_writable(hp_conn *conn, hp_request *req);
/* The caller has left: end the data. True: a cancel request is needed as well, at once. */
bool hp_copy_abandon(hp_conn *conn, hp_request *req);
/* The connection broke: bring libpq to where it shows the server's last words. */
void hp_copy_break(const hp_conn *conn, const hp_request *req);

/* ---- for the caller of a COPY that is not over ---- */

/* FEEDING, and not full. 0, 1: full now, or -1: the request has ended meanwhile. */
int hp_copy_put(hp_conn *conn, hp_request *req, const char *data, int len);
/* FEEDING: that was all. The status follows, possibly from inside this call. */
void hp_copy_end(hp_conn *conn, hp_request *req);
/* READING, paused: go on. Calls back. */
void hp_copy_resume(hp_conn *conn, hp_request *req);
/* READING: the caller is through with every row that it has got. Calls back. */
void hp_copy_taken(hp_conn *conn, hp_request *req);

#endif
