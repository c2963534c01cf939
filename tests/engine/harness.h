/*
 * harness.h - what the C tests of the engine share: checks, the list of tests
 * run, the closing line.
 *
 * A test is a function without arguments, run by RUN(). CHECK notes a failure
 * with its place and goes on; REQUIRE ends the program, where going on would
 * only crash. The closing line is "N passed, N failed", with ", N skipped" where
 * something was skipped; the numbers are of tests. A test that hangs is named
 * and ends the program after PATIENCE_S, or HP_PATIENCE seconds (for valgrind).
 */
#ifndef HP_TEST_HARNESS_H
#define HP_TEST_HARNESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_S = 110 };

static unsigned harness_passed, harness_failed, harness_skipped;
static unsigned harness_failures; /* checks of the current test */
static const char *harness_test = "main";

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            harness_note(__FILE__, __LINE__, #condition);                                                              \
        }                                                                                                              \
    } while (0)

#define CHECK_TEXT(got, want) harness_text(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_INT(got, want)  harness_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            harness_note(__FILE__, __LINE__, #condition);                                                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define RUN(test) harness_run(#test, test)

static inline void
harness_note(const char *file, int line, const char *what)
{
    harness_failures++;
    fprintf(stderr, "%s:%d: %s: not so: %s\n", file, line, harness_test, what);
}

static inline void
harness_text(const char *file, int line, const char *what, const char *got, const char *want)
{
    if (got == NULL || want == NULL ? got != want : strcmp(got, want) != 0) {
        harness_failures++;
        fprintf(stderr, "%s:%d: %s: %s is \"%s\", not \"%s\"\n", file, line, harness_test, what, got ? got : "(null)",
                want ? want : "(null)");
    }
}

static inline void
harness_int(const char *file, int line, const char *what, long long got, long long want)
{
    if (got != want) {
        harness_failures++;
        fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", file, line, harness_test, what, got, want);
    }
}

static inline void
harness_hangs(int signum)
{
    static const char said[] = "hangs: ";
    ssize_t n = write(STDERR_FILENO, said, sizeof said - 1);
    n = write(STDERR_FILENO, harness_test, strlen(harness_test));
    n = write(STDERR_FILENO, "\n", 1);
    (void)n;
    (void)signum;
    _exit(EXIT_FAILURE);
}

static inline void
harness_run(const char *name, void (*test)(void))
{
    harness_test = name;
    harness_failures = 0;
    signal(SIGALRM, harness_hangs);
    const char *patience = getenv("HP_PATIENCE");
    alarm(patience != NULL ? (unsigned)strtoul(patience, NULL, 10) : PATIENCE_S);
    test();
    alarm(0);
    if (harness_failures == 0) {
        harness_passed++;
    } else {
        harness_failed++;
    }
    harness_test = "main";
}

static inline void
harness_skip(unsigned tests, const char *why)
{
    harness_skipped += tests;
    printf("skipped %u: %s\n", tests, why);
}

static inline int
harness_end(void)
{
    printf("%u passed, %u failed", harness_passed, harness_failed);
    if (harness_skipped > 0) {
        printf(", %u skipped", harness_skipped);
    }
    printf("\n");
    fflush(stdout); /* a leak report ends the program before stdio does */
    return harness_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

typedef struct harness_case {
    const char *name;
    void (*test)(void);
} harness_case;

#define CASE(test)                                                                                                     \
    {                                                                                                                  \
#test, test                                                                                                    \
    }

/* Run them all, or none if there is a reason not to. HP_TEST names a single one. */
static inline void
harness_cases(const harness_case *tests, size_t n, const char *why_not)
{
    const char *only = getenv("HP_TEST");
    if (why_not != NULL) {
        harness_skip((unsigned)n, why_not);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (only == NULL || strcmp(only, tests[i].name) == 0) {
            harness_run(tests[i].name, tests[i].test);
        }
    }
}

/* The whole of a main(). */
static inline int
harness_main(const harness_case *tests, size_t n, const char *why_not)
{
    harness_cases(tests, n, why_not);
    return harness_end();
}

/* xorshift64*: the same numbers for the same seed everywhere. */
static inline uint64_t
harness_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1DULL;
}

/* 0 .. n-1 */
static inline unsigned
harness_below(uint64_t *state, unsigned n)
{
    return (unsigned)((harness_random(state) >> 16) % n);
}

#endif
