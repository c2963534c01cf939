/*
 * news.h - what the server says beside its answers: notices, and notifications
 * of channels that were listened to.
 *
 * libpq hands notices out in the middle of its parser, where nobody may end the
 * session: they are copied and kept until libpq is left. Both kinds then go up in
 * the order in which they came, before the answer that followed them. Where nobody
 * listens (conn->listeners is NULL) all of it is dropped, and a notice costs one
 * comparison.
 *
 * Called by conn.c, ending.c and pipe.c.
 */
#ifndef HP_NEWS_H
#define HP_NEWS_H

#include "engine/conn.h"

/* libpq's PQnoticeReceiver; `arg` is the hp_conn. A FATAL one is why the session
 * will end: kept in conn->fatal, and no news. */
void hp_news_take_notice(void *arg, const PGresult *res);
/* An error or a notice: where it is FATAL, it is why the session will end, and kept
 * in conn->fatal. Is it? */
bool hp_news_take_reason(hp_conn *conn, const PGresult *res);
/* Tell the listeners what has come. They may end the session. */
void hp_news_deliver(hp_conn *conn);
/* Take in and drop what has come: nobody is to hear of it. */
void hp_news_drop(hp_conn *conn);
/* Drop what is kept for a session that ends. */
void hp_news_free(hp_conn *conn);

#endif
