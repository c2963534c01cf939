"""The whole table, the plots and the pages are made from raw figures, and say aloud what is missing."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from bench.plots import Bar, Series, bar_chart, line_chart
from bench.render import DETAILS, plots, replace, short_table
from bench.summary import PARTS, summary
from bench.table import STEPS


def sample(rate: float, p99: float = 2_000.0) -> dict[str, float]:
    return {"queries_per_second": rate, "cpu_us": 10.0, "p50_us": 500.0, "p99_us": p99}


def throughput(**rates: list[float]) -> dict[str, Any]:
    rows = [
        {
            "driver": driver.replace("_", "-"),
            "loop": "asyncio",
            "workload": "row",
            "tasks": tasks,
            "rounds": [sample(rate) for rate in found],
        }
        for driver, found in rates.items()
        for tasks in (1, 20)
    ]
    return {"rows": rows, "floors": [], "options": {"pool_size": 8, "loops": ["asyncio"]}}


def instructions(**counts: float) -> dict[str, Any]:
    rows = [
        {"driver": driver, "loop": "asyncio", "workload": "row", "instructions": count}
        for driver, count in counts.items()
    ]
    return {"rows": rows, "options": {"tasks": 20}}


def line(documents: dict[str, dict[str, Any]], start: str, failures: dict[str, str] | None = None) -> list[str]:
    (found,) = [list(row) for row in summary(documents, failures or {}).rows if row[0].startswith(start)]
    return found


def test_every_part_is_measured_summed_up_and_shown_in_detail() -> None:
    assert list(PARTS) == list(STEPS) == list(DETAILS)


def test_ratio_says_how_many_times_better_whichever_way_is_better() -> None:
    documents = {
        "throughput": throughput(holisticpool=[40_000.0, 50_000.0], asyncpg=[10_000.0, 10_000.0]),
        "instructions": instructions(holisticpool=30_000.0, asyncpg=300_000.0),
    }
    assert line(documents, "primary-key row, 20 tasks")[1:4] == ["45,000 /s", "10,000 /s", "4.50x"]
    assert line(documents, "user-space instructions")[1:4] == ["30,000", "300,000", "10.0x"]


def test_one_task_is_compared_with_a_bare_connection() -> None:
    documents = {"throughput": throughput(holisticpool=[12_000.0], asyncpg=[4_000.0], asyncpg_bare=[8_000.0])}
    found = line(documents, "primary-key row, one task")
    assert found[1:4] == ["12,000 /s", "8,000 /s (bare)", "1.50x"]


def test_driver_without_a_figure_leaves_a_dash_and_no_ratio() -> None:
    found = line({"throughput": throughput(holisticpool=[40_000.0])}, "primary-key row, 20 tasks")
    assert found[2:4] == ["-", "-"]


def test_part_that_failed_has_its_line_with_the_reason() -> None:
    found = line({}, "half-core", {"half-core": "cannot set a CPU quota"})
    assert found[1] == "-" and found[5] == "not measured: cannot set a CPU quota"


def test_part_that_was_left_out_has_its_line_too() -> None:
    assert line({}, "bulk")[5] == "not measured in this run"


def test_readme_gets_one_loop_and_holisticpool_as_it_comes() -> None:
    documents = {"throughput": throughput(holisticpool=[1.0], holisticpool_pipelined=[2.0], asyncpg=[1.0])}
    names = [row[0] for row in short_table(summary(documents, {})).rows]
    assert "primary-key row, 20 tasks" in names
    assert not [name for name in names if "auto" in name]


def test_charts_are_xml_and_hold_every_series() -> None:
    documents = {
        "throughput": throughput(holisticpool=[40_000.0], asyncpg=[10_000.0]),
        "instructions": instructions(holisticpool=30_000.0, asyncpg=300_000.0),
    }
    charts = plots(documents)
    assert set(charts) == {"throughput.svg", "p99.svg", "instructions.svg"}
    for chart in charts.values():
        ElementTree.fromstring(chart)
        assert "holisticpool pool.fetch" in chart and "asyncpg pool.fetch" in chart


def test_chart_places_larger_values_higher() -> None:
    chart = line_chart("t", "x", "y", [Series("a", [(1, 10.0), (64, 1_000.0)])], log_y=True)
    root = ElementTree.fromstring(chart)
    (line_of_points,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line_of_points.attrib["points"].split())
    assert x1 < x2 and y1 > y2


def test_longest_bar_is_the_largest_value_and_names_are_escaped() -> None:
    root = ElementTree.fromstring(bar_chart("t", [Bar("a < b", 1.0, "1"), Bar("c", 4.0, "4", ours=True)]))
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]
    first, second = (float(bar.attrib["width"]) for bar in bars)
    assert second == pytest.approx(4 * first, rel=0.01)


@pytest.mark.parametrize("chart", [line_chart("t", "x", "y", []), bar_chart("t", [])])
def test_chart_of_nothing_says_so(chart: str) -> None:
    ElementTree.fromstring(chart)
    assert "nothing was measured" in chart


def test_page_is_changed_between_the_marks_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:x:begin -->\nold\n<!-- bench:x:end -->\nafter\n")
    replace(page, "x", "new")
    assert page.read_text() == "before\n<!-- bench:x:begin -->\nnew\n<!-- bench:x:end -->\nafter\n"
    with pytest.raises(ValueError, match="has no marks"):
        replace(page, "y", "new")
