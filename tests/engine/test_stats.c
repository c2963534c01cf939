/*
 * test_stats.c - histograms against exact quantiles, counters of error classes.
 */
#include "engine/stats.h"

#include "harness.h"

#include <math.h>

static int
by_value(const void *a, const void *b)
{
    hp_time x = *(const hp_time *)a;
    hp_time y = *(const hp_time *)b;
    return (x > y) - (x < y);
}

/* The value of rank ceil(q * n), as the histogram defines a quantile. */
static double
exact_quantile(const hp_time *sorted, size_t n, double q)
{
    size_t rank = (size_t)ceil(q * (double)n);
    return (double)sorted[rank > 0 ? rank - 1 : 0];
}

static void
test_quantiles_are_at_most_an_eighth_above_the_exact_ones(void)
{
    enum { N = 5000 };
    static const double QUANTILES[] = {0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0};
    static hp_time values[N];
    uint64_t random = 42;
    for (unsigned bits = 1; bits <= 36; bits++) {
        static hp_histogram histogram;
        memset(&histogram, 0, sizeof histogram);
        double sum = 0;
        for (int i = 0; i < N; i++) {
            values[i] = (hp_time)(harness_random(&random) >> (64 - 1 - harness_below(&random, bits)));
            hp_histogram_add(&histogram, values[i]);
            sum += (double)values[i];
        }
        qsort(values, N, sizeof values[0], by_value);
        for (size_t i = 0; i < sizeof QUANTILES / sizeof QUANTILES[0]; i++) {
            double exact = exact_quantile(values, N, QUANTILES[i]);
            double got = hp_histogram_quantile(&histogram, QUANTILES[i]) * 1e6;
            CHECK(got >= exact - 1e-6);
            CHECK(got <= exact * 1.125 + 1 + 1e-6);
        }
        CHECK(fabs(hp_histogram_mean(&histogram) * 1e6 - sum / N) < 1e-3 * (sum / N) + 1e-9);
        CHECK(hp_histogram_max(&histogram) == (double)values[N - 1] / 1e6);
        CHECK(hp_histogram_quantile(&histogram, 1.0) <= hp_histogram_max(&histogram));
    }
}

static void
test_an_empty_histogram_says_zero(void)
{
    static const hp_histogram empty;
    CHECK(hp_histogram_quantile(&empty, 0.5) == 0.0);
    CHECK(hp_histogram_mean(&empty) == 0.0);
    CHECK(hp_histogram_max(&empty) == 0.0);
}

static void
test_values_out_of_range_stay_in_the_table(void)
{
    static hp_histogram histogram;
    hp_histogram_add(&histogram, -5);
    hp_histogram_add(&histogram, INT64_MAX);
    hp_histogram_add(&histogram, (hp_time)1 << 40);
    hp_histogram_add(&histogram, ((hp_time)1 << 40) - 1);
    uint64_t total = 0;
    for (int i = 0; i < HP_HISTOGRAM_BUCKETS; i++) {
        total += histogram.buckets[i];
    }
    CHECK_INT(total, 4);
    CHECK_INT(histogram.buckets[0], 1);
    CHECK_INT(histogram.max_us, INT64_MAX);
    CHECK(hp_histogram_quantile(&histogram, 1.0) > 0);
}

static void
test_each_power_of_two_begins_a_bucket(void)
{
    for (int bit = 3; bit < 40; bit++) {
        static hp_histogram histogram;
        memset(&histogram, 0, sizeof histogram);
        hp_histogram_add(&histogram, ((hp_time)1 << bit) - 1);
        hp_histogram_add(&histogram, (hp_time)1 << bit);
        /* The lower value does not share the upper one's bucket. */
        CHECK(hp_histogram_quantile(&histogram, 0.5) * 1e6 <= (double)((hp_time)1 << bit) + 1e-3);
    }
}

static void
test_errors_are_counted_by_class(void)
{
    static hp_stats stats;
    char name[3];
    hp_stats_error(&stats, "23505");
    hp_stats_error(&stats, "23502");
    hp_stats_error(&stats, "XX000");
    hp_stats_error(&stats, "");
    hp_stats_error(&stats, "2");
    hp_stats_error(&stats, "a1");
    hp_stats_error(&stats, "2\xff");
    unsigned total = 0;
    for (int i = 0; i < HP_ERROR_CLASSES; i++) {
        hp_stats_error_class(i, name);
        total += stats.errors_by_class[i];
        if (strcmp(name, "23") == 0) {
            CHECK_INT(stats.errors_by_class[i], 2);
        } else if (strcmp(name, "XX") == 0) {
            CHECK_INT(stats.errors_by_class[i], 1);
        } else {
            CHECK_INT(stats.errors_by_class[i], 0);
        }
    }
    CHECK_INT(total, 3);
}

int
main(void)
{
    RUN(test_quantiles_are_at_most_an_eighth_above_the_exact_ones);
    RUN(test_an_empty_histogram_says_zero);
    RUN(test_values_out_of_range_stay_in_the_table);
    RUN(test_each_power_of_two_begins_a_bucket);
    RUN(test_errors_are_counted_by_class);
    return harness_end();
}
