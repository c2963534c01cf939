"""`python -m bench memory`: what a driver adds to a process, and whether that stays flat as it goes on.

Resident memory of the driver's own process above the bare interpreter, loop and load: with the pool open, and after
each of STEPS equal parts of the queries, of which there are a third of each statement. Growth is over the second half
of them, when caches are full. A driver over libpq maps its libraries too, which a machine holds once for all processes
that use them: they are shown, and so is what no other process can share.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.drivers import DRIVERS
from bench.figures import Table, number
from bench.fleet import add_driver_options, environment_of, opening
from bench.process import DriverError, DriverProcess
from bench.results import add_output_options, note, publish
from bench.server import Target, add_server_options, open_target
from bench.workloads import ROW, ROWS, SCALAR

POOLS = ("holisticpool", "holisticpool-wheel", "asyncpg", "psycopg", "psqlpy")
STEPS = 6
TASKS = 20
STATEMENTS = (SCALAR.name, ROW.name, ROWS.name)
EACH = 427
"""Queries of a task in a step: 25,620 in all, the number that a service is asked about."""
QUERIES = STEPS * TASKS * EACH * len(STATEMENTS)
KIB = 1024
MIB = 1024 * KIB
TIMEOUT_SECONDS = 900.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--queries", type=int, default=QUERIES, help=f"in all, equally of each statement (default: {QUERIES:,})"
    )
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measures, prints the table, writes the raw figures; 0, or 1 where no driver could be measured."""
    rows = []
    with open_target(options) as target:
        for loop in options.loops:
            for driver in options.drivers:
                note(f"{driver}, {loop}")
                try:
                    rows.append(measure(driver, loop, options, target))
                except DriverError as error:
                    note(f"without {driver} on {loop}: {error}")
        server = target.description
    publish("memory", options, server, {"rows": rows}, tables)
    return 0 if rows else 1


def measure(driver: str, loop: str, options: argparse.Namespace, target: Target) -> dict[str, Any]:
    """The bytes of one driver's process at each point."""
    each = max(1, options.queries // (STEPS * TASKS * len(STATEMENTS)))
    with DriverProcess(loop, timeout=TIMEOUT_SECONDS, environment=environment_of(driver)) as process:
        process.ask("compile", driver=driver)
        process.ask("rehearse", workloads=STATEMENTS, tasks=TASKS, each=min(each, EACH))
        bare = process.ask("memory")
        process.ask("open", **opening(options, driver, target))
        opened = process.ask("memory")
        after = []
        for _ in range(STEPS):
            for workload in STATEMENTS:
                process.ask("repeat", workload=workload, tasks=TASKS, each=each)
            after.append(process.ask("memory"))
    return {
        "driver": driver,
        "loop": loop,
        "bare": bare,
        "open": opened,
        "after": after,
        "queries_per_step": each * TASKS * len(STATEMENTS),
    }


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per driver; everything but the last column is MiB above the bare interpreter."""
    rows, pool_size = document["rows"], document["options"]["pool_size"]
    lines = []
    for row in rows:
        bare, after = row["bare"], row["after"]
        middle = after[len(after) // 2 - 1]
        thousands = row["queries_per_step"] * (len(after) - len(after) // 2) / 1_000
        lines.append(
            (
                f"{DRIVERS[row['driver']].title}, {row['loop']}",
                number((row["open"]["resident"] - bare["resident"]) / MIB, 1),
                *(number((after[0][kind] - bare[kind]) / MIB, 1) for kind in ("resident", "libraries", "private")),
                number((after[-1]["resident"] - bare["resident"]) / MIB, 1),
                number((after[-1]["resident"] - middle["resident"]) / KIB / thousands, 2),
            )
        )
    queries = rows[0]["queries_per_step"] if rows else 0
    head = (
        "pool",
        f"{pool_size} connections open",
        f"after {queries:,} queries",
        "of it libraries",
        "private",
        f"after {queries * STEPS:,}",
        "KiB growth per 1,000",
    )
    return [Table(head, lines, title="Resident memory, MiB above the bare interpreter")]
