/*
 * test_request.c - the FIFO of requests against an array.
 */
#include "engine/request.h"

#include "harness.h"

static void
check_list(const hp_request_list *list, hp_request *const *model, int n)
{
    const hp_request *before = NULL;
    const hp_request *req = list->first;
    CHECK_INT(list->count, n);
    for (int i = 0; i < n; i++) {
        CHECK(req == model[i]);
        CHECK(req->prev == before);
        before = req;
        req = req->next;
    }
    CHECK(req == NULL);
    CHECK(list->last == before);
}

static void
test_a_new_request_has_no_deadline(void)
{
    hp_request req;
    memset(&req, 0xff, sizeof req);
    hp_request_init(&req, HP_REQ_BATCH);
    CHECK_INT(req.kind, HP_REQ_BATCH);
    CHECK_INT(req.state, HP_REQ_NEW);
    CHECK(req.acquire_timeout == HP_NEVER && req.command_timeout == HP_NEVER && req.deadline == HP_NEVER);
    CHECK(req.timer.slot == 0 && req.stmt == NULL && req.result == NULL && !req.abandoned);
}

static void
test_the_list_keeps_its_order_whatever_is_taken_out(void)
{
    enum { N = 16, ROUNDS = 4000 };
    static hp_request requests[N];
    hp_request *model[N];
    bool listed[N] = {false};
    hp_request_list list = {0};
    int n = 0;
    uint64_t random = 7;
    for (int i = 0; i < N; i++) {
        hp_request_init(&requests[i], HP_REQ_LEASE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        unsigned which = harness_below(&random, N);
        if (!listed[which]) {
            hp_request_push(&list, &requests[which]);
            model[n++] = &requests[which];
        } else {
            int i = 0;
            hp_request_remove(&list, &requests[which]);
            CHECK(requests[which].prev == NULL && requests[which].next == NULL);
            while (model[i] != &requests[which]) {
                i++;
            }
            memmove(&model[i], &model[i + 1], (size_t)(--n - i) * sizeof model[0]);
        }
        listed[which] = !listed[which];
        check_list(&list, model, n);
    }
}

int
main(void)
{
    RUN(test_a_new_request_has_no_deadline);
    RUN(test_the_list_keeps_its_order_whatever_is_taken_out);
    return harness_end();
}
