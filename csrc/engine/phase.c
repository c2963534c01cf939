/*
 * phase.c - see phase.h.
 */
#include "engine/batch.h"
#include "engine/begin.h"
#include "engine/conn_parts.h"
#include "engine/copy.h"
#include "engine/cursor.h"
#include "engine/phase_parts.h"
#include "engine/prepared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char NO_ANSWER[] = "the server ended a statement without having answered it";
static const char NO_COPY[] = "the server took the command for another one than a COPY";
static const char COPY_REFUSED[] = "COPY cannot be run by this method";

/* ---- sending ---- */

void
hp_phase_add_step(hp_request *req, hp_step step)
{
    req->steps[req->nsteps++] = (unsigned char)step;
}

static void
begin_phase(hp_conn *conn, hp_request *req, hp_phase phase)
{
    if (conn->inflight.last != req) { /* its answers will come after those of the others */
        hp_request_remove(&conn->inflight, req);
        hp_request_push(&conn->inflight, req);
    }
    if (conn->env->pipeline > 0) {
        req->began = hp_now();
        req->alone = conn->inflight.count == 1;
    }
    req->phase = phase;
    req->nsteps = req->step = 0;
    PQclear(req->result);
    PQclear(req->failure);
    req->result = req->failure = NULL;
    req->prepare_failed = req->skipped = false;
}

static int
enter_pipeline(hp_conn *conn)
{
    if (!conn->pipeline) {
        if (!PQenterPipelineMode(conn->pg)) {
            return -1;
        }
        conn->pipeline = true;
    }
    return 0;
}

static int
leave_pipeline(hp_conn *conn)
{
    if (conn->pipeline) {
        if (!PQexitPipelineMode(conn->pg)) {
            return -1;
        }
        conn->pipeline = false;
    }
    return 0;
}

int
hp_phase_send_sync(hp_conn *conn, hp_request *req)
{
    hp_phase_add_step(req, HP_STEP_SYNC);
    conn->pipe.unsynced = conn->pipe.answer_due = false;
#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC
    return PQsendPipelineSync(conn->pg) ? 0 : -1;
#else
    return PQpipelineSync(conn->pg) ? 0 : -1;
#endif
}

int
hp_phase_send_end(hp_conn *conn, hp_request *req)
{
    if (req->open_ended) {
        conn->pipe.answer_due = true;
        return 0;
    }
    return hp_phase_send_sync(conn, req);
}

int
hp_phase_begin(hp_conn *conn, hp_request *req, hp_phase phase)
{
    begin_phase(conn, req, phase);
    return enter_pipeline(conn);
}

static void
send_describe(hp_conn *conn, hp_request *req)
{
    if (hp_phase_begin(conn, req, HP_PHASE_DESCRIBE) < 0 || hp_prepared_send_closes(conn, req) < 0) {
        goto error;
    }
    if (!hp_prepared_is(conn, req->stmt) && hp_prepared_send(conn, req, false) < 0) {
        goto error;
    }
    if (!PQsendDescribePrepared(conn->pg, req->stmt->name)) {
        goto error;
    }
    hp_phase_add_step(req, HP_STEP_DESCRIBE);
    if (hp_phase_send_end(conn, req) < 0) {
        goto error;
    }
    hp_conn_flush(conn);
    return;
error:
    hp_conn_break_sending(conn);
}

static void
send_lookup(hp_conn *conn, hp_request *req)
{
    const char *values[1] = {req->lookup_arg};
    begin_phase(conn, req, HP_PHASE_LOOKUP);
    conn->unnamed = 0;
    if (enter_pipeline(conn) < 0 || !PQsendQueryParams(conn->pg, req->lookup_sql, 1, NULL, values, NULL, NULL, 0)) {
        goto error;
    }
    hp_phase_add_step(req, HP_STEP_LOOKUP);
    if (hp_phase_send_end(conn, req) < 0) {
        goto error;
    }
    hp_conn_flush(conn);
    return;
error:
    hp_conn_break_sending(conn);
}

int
hp_phase_send_one(hp_conn *conn, hp_request *req)
{
    const hp_params *params = &req->params;
    return PQsendQueryPrepared(conn->pg, req->stmt->name, params->n, params->values, params->lengths, params->formats,
                               req->result_format)
               ? 0
               : -1;
}

void
hp_phase_writable(hp_conn *conn, hp_request *req)
{
    if (hp_batch_is_feeding(req)) {
        hp_batch_feed(conn, req);
    } else if (req->copy != NULL) {
        hp_copy_writable(conn, req);
    }
}

static void
note_effects(hp_conn *conn, const hp_stmt *stmt)
{
    conn->touched |= stmt->info.touches || conn->odd_strings;
    conn->prepares |= stmt->info.prepares || conn->odd_strings;
}

/* What EXECUTE consists of, but for the sets of a batch. */
static int
send_statement(hp_conn *conn, hp_request *req)
{
    if (req->kind == HP_REQ_CURSOR) {
        req->was_prepared = req->as_described = false;
        return hp_cursor_send(conn, req);
    }
    req->was_prepared = hp_prepared_is(conn, req->stmt); /* after the closes, which may take the unnamed one's place */
    if (!req->was_prepared && hp_prepared_send(conn, req, true) < 0) {
        return -1;
    }
    req->as_described =
        req->was_prepared && hp_prepared_knows(conn, req->stmt) && hp_stmt_is_steady(req->stmt) && !req->stmt->outdated;
    hp_phase_add_step(req, HP_STEP_EXECUTE);
    return req->kind == HP_REQ_BATCH ? 0 : hp_phase_send_one(conn, req);
}

static void
send_execute(hp_conn *conn, hp_request *req)
{
    begin_phase(conn, req, HP_PHASE_EXECUTE);
    req->sets_sent = req->sets_done = 0;
    req->portion_sent = 0;
    req->in_block = conn->begin != NULL || PQtransactionStatus(conn->pg) == PQTRANS_INTRANS;
    if (enter_pipeline(conn) < 0 || hp_prepared_send_closes(conn, req) < 0 || hp_begin_send(conn, req) < 0 ||
        hp_batch_begin(conn, req) < 0) {
        goto error;
    }
    if (send_statement(conn, req) < 0) {
        goto error;
    }
    note_effects(conn, req->stmt);
    if (req->kind == HP_REQ_BATCH) {
        hp_batch_feed(conn, req);
        return;
    }
    req->sets_sent = 1;
    if (hp_phase_send_end(conn, req) < 0) {
        goto error;
    }
    hp_conn_flush(conn);
    return;
error:
    hp_conn_break_sending(conn);
}

static void
send_script(hp_conn *conn, hp_request *req)
{
    begin_phase(conn, req, HP_PHASE_SCRIPT);
    conn->unnamed = 0;
    if (req->stmt != NULL) {
        note_effects(conn, req->stmt);
    }
    hp_phase_add_step(req, HP_STEP_SCRIPT);
    if (leave_pipeline(conn) < 0 || !PQsendQuery(conn->pg, req->script)) {
        hp_conn_break_sending(conn);
        return;
    }
    hp_conn_flush(conn);
}

static void
send_closes(hp_conn *conn, hp_request *req)
{
    begin_phase(conn, req, HP_PHASE_CLOSE);
    if (enter_pipeline(conn) < 0 || hp_prepared_send_closes(conn, req) < 0 || hp_begin_send(conn, req) < 0 ||
        (conn->begin != NULL && hp_phase_send_sync(conn, req) < 0)) {
        hp_conn_break_sending(conn);
        return;
    }
    hp_conn_flush(conn);
}

/* ---- from one phase to the next ---- */

static void
break_protocol(hp_conn *conn, const char *text)
{
    hp_error err;
    if (hp_is_lack_of_memory(PQerrorMessage(conn->pg))) {
        hp_error_lack_of_memory(&err, PQerrorMessage(conn->pg));
    } else {
        hp_error_set(&err, HP_ERR_INTERNAL, "%s", text);
    }
    hp_conn_break(conn, &err);
}

static void
finish_with(hp_conn *conn, hp_request *req, hp_error_kind kind, const char *text)
{
    hp_error err;
    hp_error_set(&err, kind, "%s", text);
    hp_conn_finish(conn, req, &err);
}

static void
bind_and_execute(hp_conn *conn, hp_request *req)
{
    if (req->describe_only) {
        hp_conn_finish(conn, req, NULL);
        return;
    }
    if (!req->bound || req->bound_for != conn->user) {
        int rc = conn->env->up->bind(req, conn->user);
        if (rc > 0) {
            return;
        }
        if (rc < 0 || req->abandoned) {
            finish_with(conn, req, HP_ERR_BINDING, "a parameter could not be encoded");
            return;
        }
        req->bound = true;
    }
    send_execute(conn, req);
}

/* The statement means something else now: take a new one and describe it. */
static void
start_over(hp_conn *conn, hp_request *req)
{
    hp_stmt *fresh = conn->env->up->renew(req);
    if (fresh == NULL) {
        finish_with(conn, req, HP_ERR_NO_MEMORY, "out of memory");
        return;
    }
    hp_stmt_unref(req->stmt);
    req->stmt = fresh;
    req->bound = false;
    req->retried = true;
    hp_phase_start(conn, req);
}

static void
after_binding(hp_conn *conn, hp_request *req, hp_bind_result answer)
{
    switch (answer) {
    case HP_READY:
        req->stmt->described = true;
        bind_and_execute(conn, req);
        break;
    case HP_LOOKUP:
        send_lookup(conn, req);
        break;
    case HP_FAILED:
        finish_with(conn, req, HP_ERR_BINDING, "the statement could not be bound");
        break;
    case HP_GONE:
        break;
    }
}

static void
described(hp_conn *conn, hp_request *req)
{
    hp_stmt *stmt = req->stmt;
    if (stmt->described) {
        /* Another session described it meanwhile. */
        if (hp_stmt_agrees(stmt, req->result)) {
            hp_prepared_know(conn, stmt);
            bind_and_execute(conn, req);
        } else if (!req->retried) {
            start_over(conn, req);
        } else {
            finish_with(conn, req, HP_ERR_INTERNAL, "the types of the statement keep changing");
        }
        return;
    }
    if (stmt->param_types != NULL && !req->retried && !hp_stmt_agrees(stmt, req->result)) {
        /* Its description is another session's, which looks up the types, and is outdated by now. */
        start_over(conn, req);
        return;
    }
    if (hp_stmt_describe(stmt, req->result) < 0) {
        finish_with(conn, req, HP_ERR_NO_MEMORY, "out of memory");
        return;
    }
    hp_prepared_know(conn, stmt);
    stmt->described = false; /* until the binding is ready for it */
    after_binding(conn, req, conn->env->up->described(req, req->result));
}

void
hp_phase_finish_with_failure(hp_conn *conn, hp_request *req)
{
    hp_error err;
    hp_error_clear(&err);
    err.kind = HP_ERR_SERVER;
    err.result = req->failure;
    const char *state = PQresultErrorField(req->failure, PG_DIAG_SQLSTATE);
    if (state != NULL && strcmp(state, "57014") == 0 && req->piped && conn->probe_due) {
        hp_error_set(&err, HP_ERR_PIPELINE,
                     "the request to cancel another statement of the pipeline cancelled this one");
        snprintf(err.sqlstate, sizeof err.sqlstate, "%s", state);
    } else if (state != NULL) {
        snprintf(err.sqlstate, sizeof err.sqlstate, "%s", state);
    } else if (hp_is_lack_of_memory(PQresultErrorMessage(req->failure))) {
        hp_error_lack_of_memory(&err, PQresultErrorMessage(req->failure));
    }
    hp_conn_finish(conn, req, &err);
}

/* Errors that a new description of the statement may heal: its parameters have
 * the types of before (a column's type has changed, an enum was recreated), or a
 * column has no binary form any more. */
static bool
may_be_of_old_types(const char *state)
{
    static const char *const STATES[] = {
        "42883", /* undefined_function: of an operator, or no binary output function */
        "42804", /* datatype_mismatch */
        "42846", /* cannot_coerce */
        "42704", /* undefined_object */
        "42P18", /* indeterminate_datatype */
        "22P03", /* invalid_binary_representation */
        "XX000", /* internal_error: "cache lookup failed for type" */
    };
    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++) {
        if (strcmp(state, STATES[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Did the statement fail because what we know of it is out of date? Then the
 * same text may simply be sent again, provided that no transaction was spoiled:
 * nothing of it was executed, or what was is rolled back.
 *   26000 naming our statement: it is gone
 *   0A000 by RevalidateCachedQuery: the plan's result type has changed
 *   others: only where the text cannot have committed anything on the way */
static bool
is_outdated(const hp_request *req)
{
    const char *state = PQresultErrorField(req->failure, PG_DIAG_SQLSTATE);
    const char *function = PQresultErrorField(req->failure, PG_DIAG_SOURCE_FUNCTION);
    const char *text = PQresultErrorField(req->failure, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL || req->stmt == NULL) {
        return false;
    }
    if (strcmp(state, "26000") == 0) {
        return req->was_prepared && text != NULL && strstr(text, req->stmt->name) != NULL;
    }
    if (strcmp(state, "0A000") == 0) {
        return req->was_prepared && function != NULL && strcmp(function, "RevalidateCachedQuery") == 0;
    }
    if (req->was_described && req->prepare_failed && strncmp(state, "42", 2) == 0) {
        return true;
    }
    return (req->was_described || req->was_prepared) && may_be_of_old_types(state) && hp_stmt_is_steady(req->stmt);
}

/* Not for this request, but the next one of the same text finds a new statement. */
static void
renew_for_others(hp_conn *conn, hp_request *req)
{
    hp_stmt_unref(conn->env->up->renew(req));
}

/* A session that had to prepare it with the types of an older description
 * answers as things are now. This answer says itself what it is; later ones
 * would be read by the description. */
static void
check_columns(hp_conn *conn, hp_request *req)
{
    if (req->as_described || PQresultStatus(req->result) != PGRES_TUPLES_OK) {
        return;
    }
    if (hp_stmt_returns(req->stmt, req->result)) {
        hp_prepared_know(conn, req->stmt);
    } else {
        /* Others that hold it may find it here before it is closed. */
        req->stmt->outdated = true;
        hp_prepared_forget(conn, req->stmt, false);
        renew_for_others(conn, req);
    }
}

/* With others in flight libpq only says that the session is active; but where
 * several share it, none is in a transaction. */
static bool
is_outside_transaction(const hp_conn *conn)
{
    return conn->inflight.count > 1 || PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
}

static bool
may_start_over(const hp_conn *conn, const hp_request *req)
{
    if (req->retried || req->in_portions || req->open_ended || (req->piped && conn->inflight.count > 1)) {
        return false; /* in a pipeline what follows may build on it */
    }
    return is_outside_transaction(conn);
}

/* Nothing of the statement's own is wrong: one in front of it was to prepare it too. */
static void
finish_unprepared(hp_conn *conn, hp_request *req)
{
    hp_error err;
    hp_error_set(&err, HP_ERR_PIPELINE,
                 "the statement was not run: preparing it failed in front of it in the pipeline");
    snprintf(err.sqlstate, sizeof err.sqlstate, "26000");
    hp_conn_finish(conn, req, &err);
}

static void
executed(hp_conn *conn, hp_request *req)
{
    if (req->failure == NULL) {
        check_columns(conn, req);
        hp_conn_finish(conn, req, NULL);
        return;
    }
    if (!is_outdated(req)) {
        hp_phase_finish_with_failure(conn, req);
        return;
    }
    const char *state = PQresultErrorField(req->failure, PG_DIAG_SQLSTATE);
    hp_prepared_forget(conn, req->stmt, req->prepare_failed || strcmp(state, "26000") == 0);
    if (!may_start_over(conn, req)) {
        renew_for_others(conn, req);
        if (req->piped && strcmp(state, "26000") == 0) {
            finish_unprepared(conn, req);
        } else {
            hp_phase_finish_with_failure(conn, req);
        }
        return;
    }
    start_over(conn, req);
}

static void
phase_done(hp_conn *conn, hp_request *req)
{
    if (req->phase == HP_PHASE_CONTROL) {
        hp_pipe_control_done(conn, req);
        return;
    }
    if (req->abandoned) {
        hp_conn_finish(conn, req, NULL);
        return;
    }
    if (req->open_ended && req->skipped && req->failure == NULL) {
        hp_pipe_finish_skipped(conn, req);
        return;
    }
    if (req->usage_error) {
        finish_with(conn, req, HP_ERR_USAGE, COPY_REFUSED);
        return;
    }
    switch (req->phase) {
    case HP_PHASE_CLOSE:
        if (req->failure != NULL) {
            hp_phase_finish_with_failure(conn, req);
        } else {
            send_script(conn, req);
        }
        break;
    case HP_PHASE_DESCRIBE:
    case HP_PHASE_LOOKUP:
        if (req->failure != NULL) {
            hp_phase_finish_with_failure(conn, req);
        } else if (req->result == NULL) {
            finish_with(conn, req, HP_ERR_INTERNAL, "the server did not describe the statement");
        } else if (req->phase == HP_PHASE_DESCRIBE) {
            described(conn, req);
        } else {
            after_binding(conn, req, conn->env->up->looked_up(req, req->result));
        }
        break;
    case HP_PHASE_EXECUTE:
        if (req->failure == NULL && req->result == NULL) {
            break_protocol(conn, NO_ANSWER);
        } else {
            executed(conn, req);
        }
        break;
    case HP_PHASE_CONTROL: /* above */
        break;
    case HP_PHASE_SCRIPT:
        if (req->failure == NULL && req->result == NULL) {
            break_protocol(conn, NO_ANSWER);
        } else if (req->failure != NULL) {
            hp_phase_finish_with_failure(conn, req);
        } else if (req->copy != NULL && req->copy->state == HP_COPY_STARTING) {
            finish_with(conn, req, HP_ERR_USAGE, NO_COPY);
        } else {
            hp_conn_finish(conn, req, NULL);
        }
        break;
    }
}

void
hp_phase_start(hp_conn *conn, hp_request *req)
{
    if (hp_pipe_start(conn, req)) {
        return;
    }
    bool is_script = req->kind == HP_REQ_SCRIPT || req->kind == HP_REQ_COPY || req->kind == HP_REQ_INTERNAL;
    if (!is_script && req->stmt->info.kind == HP_SQL_COPY) {
        /* In the extended protocol the server would take the synchronisation
         * point for a part of the data. */
        finish_with(conn, req, HP_ERR_USAGE, COPY_REFUSED);
        return;
    }
    if (is_script && req->kind != HP_REQ_INTERNAL && (conn->begin != NULL || hp_prepared_crowded(conn))) {
        send_closes(conn, req);
    } else if (is_script) {
        send_script(conn, req);
    } else if (!req->stmt->described) {
        req->was_described = false;
        send_describe(conn, req);
    } else {
        req->was_described = true;
        bind_and_execute(conn, req);
    }
}

/* ---- answers ---- */

/* COPY in the simple protocol can be refused and the session kept: end the
 * input, or read the output and drop it. */
static void
refuse_copy(hp_conn *conn, hp_request *req, ExecStatusType status)
{
    req->usage_error = true;
    if (status == PGRES_COPY_IN && req->phase == HP_PHASE_SCRIPT) {
        if (PQputCopyEnd(conn->pg, COPY_REFUSED) < 0) {
            hp_conn_break_sending(conn);
            return;
        }
        hp_conn_flush(conn);
    } else if (status == PGRES_COPY_OUT && req->phase == HP_PHASE_SCRIPT) {
        conn->copy_out = true;
    } else {
        break_protocol(conn, COPY_REFUSED);
    }
}

static void
take_error(hp_conn *conn, hp_request *req, hp_step step, PGresult *res)
{
    if (step == HP_STEP_PREPARE) {
        hp_prepared_failed(conn, req->stmt);
        conn->unnamed = 0;
        req->prepare_failed = true;
    } else if (step == HP_STEP_BEGIN) {
        hp_begin_answered(conn, false);
    }
    hp_pipe_note_error(conn, req, res);
    if (step != HP_STEP_CLOSE && req->failure == NULL) {
        req->failure = res;
        return;
    }
    PQclear(res);
}

/* The rows of one set of a batch. Code of the user's may have ended the request. */
static void
take_part(hp_conn *conn, hp_request *req, PGresult *res)
{
    if (conn->env->up->part(req, res) == HP_GONE) {
        PQclear(res);
        return;
    }
    PQclear(req->result);
    req->result = res;
}

static void
take_result(hp_conn *conn, hp_request *req, hp_step step, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    switch (status) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        if (step == HP_STEP_CLOSE || step == HP_STEP_PREPARE || step == HP_STEP_TEXT) {
            PQclear(res);
        } else if (step == HP_STEP_BEGIN) {
            PQclear(res);
            hp_begin_answered(conn, true);
        } else if (step == HP_STEP_EXECUTE && req->collects && !req->abandoned) {
            take_part(conn, req, res);
        } else {
            PQclear(req->result);
            req->result = res;
        }
        break;
    case PGRES_FATAL_ERROR:
        take_error(conn, req, step, res);
        break;
    case PGRES_PIPELINE_ABORTED:
        req->skipped = true;
        if (step == HP_STEP_PREPARE) {
            hp_prepared_failed(conn, req->stmt);
            conn->unnamed = 0;
        } else if (step == HP_STEP_BEGIN) {
            hp_begin_answered(conn, false);
        }
        PQclear(res);
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        if (!hp_copy_begin(conn, req, res)) {
            refuse_copy(conn, req, status);
        }
        PQclear(res);
        break;
    default:
        PQclear(res);
        break_protocol(conn, "libpq gave a result of an unexpected kind");
        break;
    }
}

void
hp_phase_answer(hp_conn *conn, hp_request *req, PGresult *res)
{
    hp_step step = (hp_step)req->steps[req->step];
    bool is_sync = res != NULL && PQresultStatus(res) == PGRES_PIPELINE_SYNC;
    if (is_sync != (step == HP_STEP_SYNC)) {
        PQclear(res);
        if (PQstatus(conn->pg) == CONNECTION_BAD) {
            hp_conn_lost(conn); /* libpq has given up on what came, and says why */
            return;
        }
        break_protocol(conn, "the answers of the server are out of step");
        return;
    }
    if (res != NULL && !is_sync) {
        take_result(conn, req, step, res);
        return;
    }
    PQclear(res);
    if (step == HP_STEP_EXECUTE) {
        req->sets_done++;
        if (hp_batch_is_feeding(req)) {
            /* After an error the synchronisation point follows at once, but not
             * before the NULL that ends the error's results: libpq drops that
             * NULL if something is queued in front of it. */
            if (req->failure != NULL) {
                hp_batch_feed(conn, req);
            }
            return;
        }
        if (req->sets_done < req->sets_sent) {
            return;
        }
    }
    if (++req->step == req->nsteps) {
        phase_done(conn, req);
    }
}
