"""`python -m bench memory`: what a driver adds to a process, and whether that stays flat as it goes on.

Resident memory of the driver's own process: bare (interpreter and loop, before the driver is imported), with the pool
open, and after each of STEPS equal parts of the queries. Growth is over the second half of them, when caches are full.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench.drivers import DRIVERS
from bench.figures import Table, number
from bench.fleet import add_driver_options
from bench.process import DriverError, DriverProcess
from bench.results import add_output_options, note, publish
from bench.server import Target, add_server_options, open_target
from bench.workloads import ROW, ROWS, SCALAR

POOLS = ("holisticpool", "asyncpg", "psycopg", "psqlpy")
STEPS = 10
TASKS = 20
QUERIES = 60_000
KIB = 1024
MIB = 1024 * KIB


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
                    rows.append(measure(driver, loop, options.pool_size, options.queries, target))
                except DriverError as error:
                    note(f"without {driver} on {loop}: {error}")
        server = target.description
    publish("memory", options, server, {"rows": rows}, tables)
    return 0 if rows else 1


def measure(driver: str, loop: str, pool_size: int, queries: int, target: Target) -> dict[str, Any]:
    """The resident bytes of one driver's process at each point."""
    workloads = (SCALAR, ROW, ROWS)
    each = max(1, queries // (STEPS * TASKS * len(workloads)))
    with DriverProcess(loop) as process:
        bare = process.ask("memory")["bytes"]
        process.ask("open", driver=driver, dsn=target.dsn, size=pool_size)
        opened = process.ask("memory")["bytes"]
        after = []
        for _ in range(STEPS):
            for workload in workloads:
                process.ask("count", workload=workload.name, tasks=TASKS, each=each)
            after.append(process.ask("memory")["bytes"])
    return {
        "driver": driver,
        "loop": loop,
        "bare": bare,
        "open": opened,
        "after": after,
        "queries_per_step": each * TASKS * len(workloads),
    }


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per driver; everything but the last column is MiB above the bare interpreter."""
    rows, pool_size = document["rows"], document["options"]["pool_size"]
    lines = []
    for row in rows:
        after = row["after"]
        middle = after[len(after) // 2 - 1]
        thousands = row["queries_per_step"] * (len(after) - len(after) // 2) / 1_000
        lines.append(
            (
                f"{DRIVERS[row['driver']].module}, {row['loop']}",
                number((row["open"] - row["bare"]) / MIB, 1),
                number((after[0] - row["bare"]) / MIB, 1),
                number((after[-1] - row["bare"]) / MIB, 1),
                number((after[-1] - middle) / KIB / thousands, 1),
            )
        )
    queries = rows[0]["queries_per_step"] if rows else 0
    head = (
        "pool",
        f"{pool_size} connections open",
        f"after {queries:,} queries",
        f"after {queries * STEPS:,}",
        "KiB growth per 1,000",
    )
    return [Table(head, lines, title="Resident memory, MiB above the bare interpreter")]
