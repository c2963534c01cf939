"""What PostgreSQL's own programs take for the bulk chores, on a server, and the table of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PostgresServer

from bench.bulk import tables
from bench.chores import Clock
from bench.floors import FLOORS, TABLE
from bench.server import Target
from bench.workloads import BULK_SQL, SCHEMA, SETUP_SQL

COUNT = 1_000
LEFT_BEHIND = {"executemany": 2_000, "fetchmany": 2_000}
"""Rows in the table at the end, where those of the warm-up are there too."""


@pytest.fixture(scope="module")
def target(server: PostgresServer) -> Iterator[Target]:
    found = Target(server.dsn(), server.bindir, "")
    found.psql(SETUP_SQL + BULK_SQL)
    yield found
    found.psql(f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.mark.parametrize("chore", FLOORS)
def test_floor_does_the_work_that_is_measured(target: Target, tmp_path: Path, chore: str) -> None:
    floor = FLOORS[chore]
    if not floor.is_there(target):
        pytest.skip(f"this server's directory has no {floor.program}")
    path = tmp_path / "rows"
    path.write_text("".join(f"{number}\titem number {number}\t{number * 0.25}\n" for number in range(COUNT)))
    target.psql(f"TRUNCATE {TABLE}")
    if chore == "copy_out":
        target.psql(f"INSERT INTO {TABLE} SELECT i, 'x', 1 FROM generate_series(1, {COUNT}) AS i")
    assert floor.run(target, COUNT, path) > 0
    if chore == "copy_out":
        assert len(Path(f"{path}.psql").read_text().splitlines()) == COUNT
    elif chore != "prepared":
        assert target.psql(f"SELECT count(*) FROM {TABLE}") == str(LEFT_BEHIND.get(chore, COUNT))


def test_floor_that_fails_says_why(target: Target, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"psql: .*No such file"):
        FLOORS["copy_in"].run(target, COUNT, tmp_path / "missing")


def test_time_of_a_server_process_that_is_not_here_is_unknown() -> None:
    class Elsewhere:
        def get_server_pid(self) -> int:
            return 2**22 + 1  # above any pid of Linux

    taken = Clock(Elsewhere()).taken()
    assert taken.seconds >= 0 and taken.server_seconds is None


def test_table_has_the_floor_and_how_much_the_server_worked() -> None:
    rows = [
        {"driver": "holisticpool", "chore": "copy_in", "count": 10, "seconds": [2.0], "server_seconds": [1.8]},
        {"driver": "asyncpg", "chore": "copy_in", "count": 10, "seconds": [3.0], "server_seconds": [1.5]},
        {"driver": "psql", "chore": "copy_in", "count": 10, "seconds": [4.0], "server_seconds": []},
        {"driver": "holisticpool", "chore": "cursor", "count": 10, "seconds": [2.0]},
    ]
    (table,) = tables({"rows": rows})
    found = [(row[1], *row[4:7]) for row in table.rows]
    assert found == [
        ("holisticpool", "1.50x", "0.50x", "90%"),
        ("asyncpg", "1.00x", "0.75x", "50%"),
        ("psql \\copy", "0.75x", "1.00x", "-"),
        ("holisticpool", "-", "-", "-"),
    ]
