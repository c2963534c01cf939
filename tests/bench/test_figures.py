"""The arithmetic behind every figure the bench prints."""

from __future__ import annotations

import pytest

from bench.figures import Table, number, paired_ratio, percentile, ratio, spread, times


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.505, 51.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_percentile_is_a_measured_value(fraction: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], fraction) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(("values", "fraction"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_percentile_refuses_what_has_no_answer(values: list[float], fraction: float) -> None:
    with pytest.raises(ValueError):
        percentile(values, fraction)


def test_ratio_needs_both_sides() -> None:
    assert ratio(6.0, 2.0) == 3.0
    assert ratio(None, 2.0) is None
    assert ratio(6.0, 0.0) is None


def test_paired_ratio_survives_a_slow_round_of_both() -> None:
    assert paired_ratio([400.0, 40.0, 400.0], [100.0, 10.0, 100.0]) == 4.0


def test_paired_ratio_skips_rounds_that_failed_on_either_side() -> None:
    assert paired_ratio([400.0, None, 300.0], [100.0, 10.0, None]) == 4.0
    assert paired_ratio([None], [1.0]) is None


def test_spread_is_relative_to_the_median() -> None:
    assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert spread([100.0]) is None


def test_numbers_are_readable() -> None:
    assert number(1234567.8) == "1,234,568"
    assert number(1.25, 1) == "1.2"
    assert number(None) == "-"
    assert times(4.2) == "4.20x"
    assert times(12.34) == "12.3x"
    assert times(None) == "-"


def test_table_aligns_text_left_and_figures_right() -> None:
    table = Table(("driver", "q/s"), [("asyncpg", "9"), ("x", "1,000")], title="Title")
    assert table.text() == "Title\ndriver     q/s\n-------  -----\nasyncpg      9\nx        1,000"


def test_table_without_rows_is_its_head() -> None:
    assert Table(("a", "b"), []).text() == "a  b\n-  -"


def test_markdown_table_states_its_alignment() -> None:
    lines = Table(("driver", "q/s"), [("x", "1")]).markdown().splitlines()
    assert lines == ["| driver | q/s |", "| ------ | --: |", "| x      |   1 |"]
