/*
 * pipe.h - a pipeline of the caller's: statements of a lease that are sent without
 * waiting for the answers of those in front of them.
 *
 * A request that is `piped` waits on conn->pending and goes out behind the others as
 * soon as it may (hp_pipe_advance()): never more than PIPE_WINDOW are in flight, and
 * no more than the socket takes, so that neither side waits for the other to read.
 * Only the last one in flight may have phases to come (its types are looked up, say):
 * so answers and effects keep the order of the calls.
 *
 * Outside of a transaction each statement has a synchronisation point of its own. A
 * transaction is one segment without any between its BEGIN (kind BEGIN) and its end
 * (kind END): `open_ended` requests. Where one of them fails, BEGIN included, the
 * server skips the rest up to the end, so that nothing is ever run outside of the
 * transaction that it was meant for. What the segment is on our side:
 *
 *     no --BEGIN is sent--> unsynced --END is sent--> no
 *                              |
 *                              +-- failed: one was refused, failed, or abandoned: what
 *                                  follows is not sent, and END rolls back, whatever it
 *                                  is to do; its tag says what it did
 *
 * Behind END nothing is sent before its answer: where the transaction is still there,
 * the session rolls it back (`rollback_due`). A segment whose caller is gone without
 * having ended it (the pipeline is closed, the lease given back) is ended so too.
 *
 * An abandoned request is dropped in its turn where it was not sent; one that was is
 * cancelled when it is the first in flight, or in a segment that is: at once where nobody
 * waits behind it but those that share its fate, else after a while, since the cancel
 * request may hit the next one.
 *
 * Output is gathered, and sent by hp_pipe_flush(): at the end of hp_conn_receive(), or
 * by the caller. Called by conn.c, phase.c, pool.c and the binding.
 */
#ifndef HP_PIPE_H
#define HP_PIPE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

struct hp_conn;
struct hp_request;

typedef struct hp_pipe {
    bool open;         /* by the caller; nothing else may use the lease */
    bool unsynced;     /* BEGIN was sent, and no synchronisation point since */
    bool failed;       /* ... and the transaction can only be rolled back */
    bool rollback_due; /* the end of one has left it open */
    bool advancing;    /* hp_pipe_advance() is on the stack */
    bool gathering;    /* what is sent waits for hp_pipe_flush() */
    bool unflushed;    /* ... something does */
    bool answer_due;   /* the server may keep answers until it is asked for them */
    size_t gathered;   /* bytes, about */
} hp_pipe;

/* The lease is one for piped requests only. */
void hp_pipe_open(struct hp_conn *conn);
/* ... no longer; what has not been answered is to be abandoned by then. */
void hp_pipe_close(struct hp_conn *conn);
/* Send what was gathered. Breaks the session where that fails. */
void hp_pipe_flush(struct hp_conn *conn);

/* ---- for conn.c and phase.c ---- */

/* Take a piped request, which is accepted. */
void hp_pipe_submit(struct hp_conn *conn, struct hp_request *req);
/* Send what may be sent by now. */
void hp_pipe_advance(struct hp_conn *conn);
/* Answers were taken: see to an abandoned request whose turn has come, and go on. */
void hp_pipe_go_on(struct hp_conn *conn);
/* A piped request was abandoned. */
void hp_pipe_abandoned(struct hp_conn *conn, struct hp_request *req);
/* A cancel request under way is not meant for what runs now. */
bool hp_pipe_runs_innocent(const struct hp_conn *conn);
/* The segment's caller is gone, or its end was not enough: nothing is in flight. true: it is being
 * rolled back. */
bool hp_pipe_rolls_back(struct hp_conn *conn);

/* BEGIN, END, or the engine's own end of a segment: send it. false: it is another request. */
bool hp_pipe_start(struct hp_conn *conn, struct hp_request *req);
/* ... its answer is there. */
void hp_pipe_control_done(struct hp_conn *conn, struct hp_request *req);
/* An error of the server's came for it. */
void hp_pipe_note_error(struct hp_conn *conn, const struct hp_request *req, const PGresult *error);
/* The server has skipped it, for an error in front of it in the segment. */
void hp_pipe_finish_skipped(struct hp_conn *conn, struct hp_request *req);

#endif
