/*
 * request.c - see request.h.
 */
#include "engine/request.h"

#include <string.h>

void
hp_request_init(hp_request *req, hp_request_kind kind)
{
    memset(req, 0, sizeof *req);
    req->kind = kind;
    req->acquire_timeout = req->command_timeout = req->deadline = HP_NEVER;
}

void
hp_request_push(hp_request_list *list, hp_request *req)
{
    req->next = NULL;
    req->prev = list->last;
    if (list->last != NULL) {
        list->last->next = req;
    } else {
        list->first = req;
    }
    list->last = req;
    list->count++;
}

void
hp_request_unshift(hp_request_list *list, hp_request *req)
{
    req->prev = NULL;
    req->next = list->first;
    if (list->first != NULL) {
        list->first->prev = req;
    } else {
        list->last = req;
    }
    list->first = req;
    list->count++;
}

void
hp_request_remove(hp_request_list *list, hp_request *req)
{
    if (req->prev != NULL) {
        req->prev->next = req->next;
    } else {
        list->first = req->next;
    }
    if (req->next != NULL) {
        req->next->prev = req->prev;
    } else {
        list->last = req->prev;
    }
    req->prev = req->next = NULL;
    list->count--;
}
