"""Tables of a comparison, from raw figures made by hand."""

from __future__ import annotations

from typing import Any

from bench.report import tables
from bench.results import headline


def sample(queries_per_second: float) -> dict[str, Any]:
    return {"queries_per_second": queries_per_second, "cpu_us": 10.0, "p50_us": 500.0, "p99_us": 1500.0}


def row(driver: str, tasks: int, rounds: list[dict[str, Any] | None]) -> dict[str, Any]:
    return {"driver": driver, "loop": "asyncio", "workload": "row", "tasks": tasks, "rounds": rounds}


def document(rows: list[dict[str, Any]], floors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"options": {"pool_size": 8}, "rows": rows, "floors": floors or []}


def cells(text: str, first: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(first))
    return line.removeprefix(first).split()


def test_one_cell_is_shown_in_detail_with_ratios_to_asyncpg() -> None:
    (table,) = tables(
        document(
            [
                row("asyncpg", 1, [sample(1000), sample(2000)]),
                row("psqlpy", 1, [sample(500), sample(1000)]),
            ]
        )
    )
    assert "1 task;" in table.title
    assert cells(table.text(), "asyncpg pool.fetch") == ["1,500", "1.00x", "10.0", "1.00x", "0.50", "1.50", "67%"]
    assert cells(table.text(), "psqlpy") == ["750", "0.50x", "10.0", "1.00x", "0.50", "1.50", "67%"]


def test_rounds_that_failed_leave_a_dash_and_nothing_else() -> None:
    (table,) = tables(document([row("asyncpg", 1, [sample(1000)]), row("psqlpy", 1, [None])]))
    assert cells(table.text(), "psqlpy") == ["-"] * 7


def test_several_numbers_of_tasks_give_the_headline_and_three_grids() -> None:
    rows = [row(driver, tasks, [sample(1000 * tasks)]) for driver in ("asyncpg", "psqlpy") for tasks in (1, 20)]
    titles = [table.title for table in tables(document(rows))]
    assert len(titles) == 4
    assert "20 tasks" in titles[0]
    assert titles[1].endswith("thousand queries/s and ratio")
    assert titles[3].endswith("p50 / p99 in ms")


def test_floor_of_a_cell_is_that_of_as_many_clients_as_the_pool_lets_work() -> None:
    floors = [
        {
            "title": "pgbench",
            "workload": "row",
            "clients": clients,
            "rounds": [{"queries_per_second": qps, "cpu_us": 1.0}],
        }
        for clients, qps in ((1, 5_000.0), (8, 50_000.0))
    ]
    rows = [row("asyncpg", tasks, [sample(1000)]) for tasks in (1, 20)]
    shown = tables(document(rows, floors))
    assert cells(shown[0].text(), "pgbench")[:2] == ["50,000", "50.0x"]
    assert cells(shown[1].text(), "pgbench") == ["5.0", "5.00x", "50.0", "50.0x"]


def test_no_rows_is_no_table() -> None:
    assert tables(document([])) == []


def test_headline_names_the_libpq_of_each_package_once() -> None:
    document = {
        "environment": {"server": "PostgreSQL 15", "python": "3.11.7", "cores": 2},
        "libpq": {"holisticpool": 150_020, "holisticpool-lease": 150_020, "psycopg": 170_004},
    }
    assert headline(document).endswith("; libpq of holisticpool 15, psycopg 17")
