"""`python -m bench fastapi`: the CPU that one query adds to a FastAPI request.

The application runs in the driver's own process and is called through its ASGI interface, with TASKS requests under way
at once: no socket, HTTP parser or load generator shares the figure, only FastAPI, the loop and the driver. A round
measures the route that runs a query and the one that does all but that, one after the other; the difference is what the
query adds, the waking of the loop included.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, median, number, paired_ratio, percent, spread, times
from bench.fleet import Contestant, add_driver_options, add_round_options, open_fleet, rotated
from bench.process import DriverError
from bench.results import add_output_options, note, publish
from bench.server import add_server_options, open_target
from bench.workloads import ROW

ROUNDS = 7
SECONDS = 0.4
TASKS = 20
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser)
    group = add_round_options(parser, rounds=ROUNDS, seconds=SECONDS, what="each route per round")
    group.add_argument("--tasks", type=int, default=TASKS, help=f"requests under way at once (default: {TASKS})")
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the tables, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows: dict[tuple[str, str], Row] = {}
    with open_target(options) as target, open_fleet(options, target, workloads=(ROW.name,)) as fleet:
        for number_of_round in range(options.rounds):
            note(f"round {number_of_round + 1}/{options.rounds}")
            for contestant in rotated(fleet, number_of_round):
                key = (contestant.driver, contestant.loop)
                row = rows.setdefault(
                    key, {"driver": contestant.driver, "loop": contestant.loop, "with": [], "without": [], "added": []}
                )
                _add_round(row, contestant, options.tasks, options.seconds)
        server = target.description
    publish("fastapi", options, server, {"rows": list(rows.values())}, tables)
    return 0 if rows else 1


def tables(document: dict[str, Any]) -> list[Table]:
    """One table per loop, a line per driver: CPU us per request, and how much less the query adds than asyncpg's."""
    return [
        _table(loop, [row for row in document["rows"] if row["loop"] == loop]) for loop in document["options"]["loops"]
    ]


def _table(loop: str, rows: list[Row]) -> Table:
    reference: list[float | None] = next((row["added"] for row in rows if row["driver"] == REFERENCE), [])
    lines = []
    for row in rows:
        added = _measured(row["added"])
        lines.append(
            (
                DRIVERS[row["driver"]].title,
                number(median(_measured(row["without"])), 1),
                number(median(_measured(row["with"])), 1),
                number(median(added), 1),
                times(paired_ratio(reference, row["added"])),
                percent(spread(added)),
            )
        )
    head = ("driver", "no query, us", "one query, us", "query adds, us", "less than asyncpg", "spread")
    return Table(head, lines, title=f"CPU per FastAPI request, {loop}")


def _measured(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _add_round(row: Row, contestant: Contestant, tasks: int, seconds: float) -> None:
    measured: list[float | None] = [None, None]
    try:
        measured = [
            contestant.process.ask("request", route=route, tasks=tasks, seconds=seconds)["cpu_us"]
            for route in ("without", "with")
        ]
    except DriverError as error:
        note(f"{contestant.driver}, {contestant.loop}: {error}")
    without, with_query = measured
    row["without"].append(without)
    row["with"].append(with_query)
    row["added"].append(None if without is None or with_query is None else with_query - without)
