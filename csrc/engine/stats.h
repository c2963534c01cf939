/*
 * stats.h - counters and latency histograms of one pool.
 *
 * Counters are plain integers that the files owning an event increment; a
 * histogram has eight buckets for each power of two of microseconds, so that a
 * percentile is at most 12.5 % off and recording costs a few instructions.
 * Nothing is locked: the event loop's thread alone writes and reads.
 */
#ifndef HP_STATS_H
#define HP_STATS_H

#include "engine/base.h"

enum {
    HP_HISTOGRAM_SUB_BITS = 3,
    HP_HISTOGRAM_BUCKETS = 40 << HP_HISTOGRAM_SUB_BITS /* up to 2^40 us: twelve days */
};

typedef struct hp_histogram {
    uint64_t buckets[HP_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum_us;
    hp_time max_us;
} hp_histogram;

typedef enum hp_recycle_reason {
    HP_RECYCLE_MAX_QUERIES,
    HP_RECYCLE_IDLE,
    HP_RECYCLE_LIFETIME,
    HP_RECYCLE_BROKEN,
    HP_RECYCLE_REASONS
} hp_recycle_reason;

/* One slot for each first character pair of SQLSTATE: two base-36 digits. */
enum { HP_ERROR_CLASSES = 36 * 36 };

typedef struct hp_stats {
    uint64_t acquisitions; /* connections handed to a lease or a statement */
    uint64_t reused;       /* ... that had been handed out before */
    uint64_t acquire_timeouts;
    uint64_t query_timeouts;
    uint64_t cancellations;     /* requests whose caller left */
    uint64_t rejected;          /* refused by max_waiters */
    uint64_t queries;           /* statements sent for callers */
    uint64_t connects;          /* sessions opened */
    uint64_t connection_errors; /* attempts that failed */
    uint64_t resets;            /* session resets sent */
    uint64_t pipelined;         /* statements sent behind others */
    uint64_t resent;            /* ... sent again elsewhere, since their turn did not come */
    uint64_t recycled[HP_RECYCLE_REASONS];
    uint32_t errors_by_class[HP_ERROR_CLASSES];
    hp_histogram wait;  /* from asking for a connection to having it */
    hp_histogram query; /* from sending a statement to its complete answer */
} hp_stats;

void hp_histogram_add(hp_histogram *histogram, hp_time us);
/* Seconds: the upper end of the bucket that holds quantile q (0..1); 0 when empty. */
double hp_histogram_quantile(const hp_histogram *histogram, double q);
double hp_histogram_mean(const hp_histogram *histogram);
double hp_histogram_max(const hp_histogram *histogram);

/* Count an error by the first two characters of its SQLSTATE. */
void hp_stats_error(hp_stats *stats, const char *sqlstate);
/* The two characters of class i, written to out[3]. */
void hp_stats_error_class(int i, char *out);

#endif
