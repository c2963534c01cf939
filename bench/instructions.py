"""`python -m bench instructions`: user-space instructions per query, counted by valgrind's callgrind.

Unlike times, counts hardly vary from run to run or machine to machine, so that CI can watch them. Each figure is the
difference of two runs that differ only in the number of queries, divided by that number: the interpreter's start,
imports, connecting and warm caches cancel out. Under valgrind the client is some fifty times slower than the server, so
answers are there whenever it looks: batching is at its best, and the figures are the work per query, not per wake-up.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, number, ratio, times
from bench.fleet import add_driver_options, chosen
from bench.process import DriverError, DriverProcess
from bench.results import add_output_options, note, publish, read
from bench.server import Target, add_server_options, open_target
from bench.workloads import ROW, ROWS, WORKLOADS

POOLS = ("holisticpool", "asyncpg")
OURS = "holisticpool"
TASKS = 20
WARM_UP_EACH = 25
FEW_EACH = 5
MANY_EACH = 55
TOLERANCE = 0.05
TIMEOUT_SECONDS = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_driver_options(parser, drivers=POOLS, loops=("asyncio",))
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--workloads",
        type=lambda text: chosen(tuple(WORKLOADS), text),
        default=[ROW.name, ROWS.name],
        metavar="A,B",
        help=f"of {', '.join(WORKLOADS)} (default: {ROW.name}, {ROWS.name})",
    )
    group.add_argument("--tasks", type=int, default=TASKS, help=f"concurrent tasks (default: {TASKS})")
    group.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="compare holisticpool's figures with an earlier run's raw figures; exit status 1 if one has grown",
    )
    group.add_argument(
        "--tolerance", type=fraction, default=TOLERANCE, metavar="5%", help="what --check lets pass (default: 5%%)"
    )
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Counts, prints the table, writes the raw figures; 1 where --check found growth or nothing was measured."""
    if shutil.which("valgrind") is None:
        note("bench: valgrind is not installed (Debian: apt-get install valgrind)")
        return 2
    rows = []
    with open_target(options) as target:
        for loop in options.loops:
            for driver in options.drivers:
                for workload in options.workloads:
                    note(f"{driver}, {loop}, {workload}")
                    try:
                        counted = per_query(driver, loop, workload, options.tasks, options.pool_size, target)
                    except DriverError as error:
                        note(f"without {driver} on {loop}: {error}")
                        continue
                    rows.append({"driver": driver, "loop": loop, "workload": workload, "instructions": counted})
        server = target.description
    publish("instructions", options, server, {"rows": rows}, tables)
    if not rows:
        return 1
    if options.check is None:
        return 0
    complaints = growth(rows, read(options.check)["rows"], options.tolerance)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def per_query(driver: str, loop: str, workload: str, tasks: int, pool_size: int, target: Target) -> float:
    """Instructions that one more query costs. Raises DriverError."""
    few, many = (_count(driver, loop, workload, tasks, pool_size, target, each=each) for each in (FEW_EACH, MANY_EACH))
    return (many - few) / (tasks * (MANY_EACH - FEW_EACH))


def tables(document: dict[str, Any]) -> list[Table]:
    """A line per driver and statement."""
    counted = {(row["driver"], row["loop"], row["workload"]): row["instructions"] for row in document["rows"]}
    lines = [
        (
            f"{DRIVERS[driver].title}, {loop}",
            WORKLOADS[workload].title,
            number(instructions),
            times(ratio(counted.get((REFERENCE, loop, workload)), instructions)),
        )
        for (driver, loop, workload), instructions in counted.items()
    ]
    head = ("driver", "statement", "instructions", "fewer than asyncpg")
    title = f"User-space instructions per query, {document['options']['tasks']} tasks"
    return [Table(head, lines, title=title, left=2)]


def growth(now: list[dict[str, Any]], before: list[dict[str, Any]], tolerance: float) -> list[str]:
    """A sentence for each figure of ours that has grown by more than `tolerance`, or that has nothing to compare with.

    The peers are left out: what they cost is not ours to keep.
    """
    earlier = {(row["driver"], row["loop"], row["workload"]): row["instructions"] for row in before}
    complaints = []
    for row in now:
        if DRIVERS[row["driver"]].module != OURS:
            continue
        name = f"{row['driver']}, {row['loop']}, {row['workload']}"
        was = earlier.get((row["driver"], row["loop"], row["workload"]))
        if was is None:
            complaints.append(f"{name}: no earlier figure to compare with")
        elif row["instructions"] > was * (1 + tolerance):
            grown = row["instructions"] / was - 1
            complaints.append(
                f"{name}: {row['instructions']:,.0f} instructions per query, {grown:.1%} more than {was:,.0f}"
                f" (allowed: {tolerance:.1%})"
            )
    return complaints


def fraction(text: str) -> float:
    """`5%` or `0.05` as 0.05, for argparse's `type`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a percentage nor a fraction") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative")
    return value


def _count(driver: str, loop: str, workload: str, tasks: int, pool_size: int, target: Target, *, each: int) -> int:
    """All instructions of a process that runs `each` queries per task after a warm-up."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "callgrind.out"
        process = DriverProcess(
            loop,
            command_prefix=("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"),
            environment={"PYTHONHASHSEED": "0"},
            timeout=TIMEOUT_SECONDS,
        )
        with process:
            process.ask("open", driver=driver, dsn=target.dsn, size=pool_size)
            process.ask("verify", workload=workload)
            process.ask("count", workload=workload, tasks=tasks, each=WARM_UP_EACH)
            process.ask("count", workload=workload, tasks=tasks, each=each)
            process.ask("close")
        return total_of(output.read_text() if output.exists() else "")


def total_of(callgrind_output: str) -> int:
    """The count in a callgrind file. Raises DriverError where there is none."""
    found = re.search(r"^(?:summary|totals): (\d+)", callgrind_output, re.MULTILINE)
    if found is None:
        raise DriverError("callgrind wrote no count")
    return int(found.group(1))
