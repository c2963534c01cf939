/*
 * stats.c - see stats.h.
 */
#include "engine/stats.h"

#include <math.h>

static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* Values below 8 us have a bucket each; above, the three bits after the
 * leading one choose among eight. */
static unsigned
bucket_of(uint64_t us)
{
    unsigned sub = 1u << HP_HISTOGRAM_SUB_BITS;
    if (us < sub) {
        return (unsigned)us;
    }
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    unsigned shift = top - HP_HISTOGRAM_SUB_BITS;
    unsigned bucket = (shift + 1) * sub + (unsigned)((us >> shift) & (sub - 1));
    return bucket < HP_HISTOGRAM_BUCKETS ? bucket : HP_HISTOGRAM_BUCKETS - 1;
}

static double
upper_end_us(unsigned bucket)
{
    unsigned sub = 1u << HP_HISTOGRAM_SUB_BITS;
    if (bucket < sub) {
        return (double)bucket + 1;
    }
    unsigned shift = bucket / sub - 1;
    return ldexp((double)(sub + bucket % sub + 1), (int)shift);
}

void
hp_histogram_add(hp_histogram *histogram, hp_time us)
{
    if (us < 0) {
        us = 0;
    }
    histogram->buckets[bucket_of((uint64_t)us)]++;
    histogram->count++;
    histogram->sum_us += (uint64_t)us;
    if (us > histogram->max_us) {
        histogram->max_us = us;
    }
}

double
hp_histogram_quantile(const hp_histogram *histogram, double q)
{
    if (histogram->count == 0) {
        return 0.0;
    }
    uint64_t rank = (uint64_t)ceil(q * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HP_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank && seen > 0) {
            double us = upper_end_us(i);
            double max_us = (double)histogram->max_us;
            return (us < max_us ? us : max_us) / 1e6;
        }
    }
    return hp_histogram_max(histogram);
}

double
hp_histogram_mean(const hp_histogram *histogram)
{
    return histogram->count ? (double)histogram->sum_us / (double)histogram->count / 1e6 : 0.0;
}

double
hp_histogram_max(const hp_histogram *histogram)
{
    return (double)histogram->max_us / 1e6;
}

static int
digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : -1;
}

void
hp_stats_error(hp_stats *stats, const char *sqlstate)
{
    int high = sqlstate[0] ? digit(sqlstate[0]) : -1;
    int low = high >= 0 ? digit(sqlstate[1]) : -1;
    if (low >= 0) {
        stats->errors_by_class[high * 36 + low]++;
    }
}

void
hp_stats_error_class(int i, char *out)
{
    out[0] = DIGITS[i / 36];
    out[1] = DIGITS[i % 36];
    out[2] = '\0';
}
