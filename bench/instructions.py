"""`python -m bench instructions`: user-space instructions per query, counted by valgrind's callgrind.

Unlike times, counts hardly vary from run to run or machine to machine, so that CI can watch them: --record writes those
of WATCHED to a file and --check compares with it. They depend on the CPython and on the libpq, so that the file has
them for each pair. Each figure is the difference of two runs that differ only in the number of queries, divided by that
number: the interpreter's start, imports, connecting and warm caches cancel out. Under valgrind the client is some fifty
times slower than the server, so answers are there whenever it looks: batching is at its best, and the figures are the
work per query, not per wake-up. A server that has to wait for a processor makes that untrue and only adds to a count:
--check counts again what seems to have grown.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.drivers import DRIVERS, REFERENCE
from bench.figures import Table, number, ratio, times
from bench.fleet import add_driver_options, chosen, environment_of, opening
from bench.process import DriverError, DriverProcess
from bench.results import add_output_options, note, publish
from bench.server import ROOT, Target, add_server_options, open_target
from bench.workloads import COMMAND, ROW, ROWS, WORKLOADS

POOLS = ("holisticpool", "asyncpg")
TASKS = 20
WARM_UP_EACH = 25
FEW_EACH = 5
MANY_EACH = 55
TOLERANCE = 0.05
TRIES = 3
TIMEOUT_SECONDS = 600.0
RECORDED = ROOT / "bench" / "recorded-instructions.json"
WATCHED = (
    ("holisticpool", ROW.name),
    ("holisticpool", ROWS.name),
    ("holisticpool", COMMAND.name),
    ("holisticpool-lease", ROW.name),
)
"""Driver and statement of each count that --check watches: pool.fetch of one row and of many, pool.execute, a lease."""
Row = dict[str, Any]


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
    group = parser.add_argument_group("watching, which measures a fixed choice of holisticpool's calls")
    group.add_argument(
        "--check",
        type=Path,
        nargs="?",
        const=RECORDED,
        metavar="FILE",
        help=f"compare with the figures recorded there (default: {RECORDED.name}); exit status 1 if one has grown",
    )
    group.add_argument(
        "--tolerance", type=fraction, default=TOLERANCE, metavar="5%", help="what --check lets pass (default: 5%%)"
    )
    group.add_argument(
        "--record", type=Path, nargs="?", const=RECORDED, metavar="FILE", help="write the figures there instead"
    )
    group.add_argument(
        "--build",
        default="",
        metavar="NAME",
        help="the figures are of a build of this name, e.g. wheel, whose compilation makes them other figures",
    )
    add_server_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Counts, prints the table, writes the raw figures; 1 where --check found growth or nothing was measured."""
    if shutil.which("valgrind") is None:
        note("bench: valgrind is not installed (Debian: apt-get install valgrind)")
        return 2
    began = time.monotonic()
    watching = options.check or options.record
    cells = WATCHED if watching else [(driver, name) for driver in options.drivers for name in options.workloads]
    libpq: dict[str, int] = {}
    rows: list[Row] = []
    with open_target(options) as target:
        for loop in options.loops:
            for driver, workload in cells:
                note(f"{driver}, {loop}, {workload}")
                try:
                    counted = per_query(driver, loop, workload, options, target, libpq)
                except DriverError as error:
                    note(f"without {driver} on {loop}: {error}")
                    continue
                rows.append({"driver": driver, "loop": loop, "workload": workload, "instructions": counted})
        server = target.description
        if watching and len(rows) < len(cells) * len(options.loops):
            return 1
        if options.record is not None:
            record(options.record, counted_on(libpq, options.build), rows)
        if options.check is not None:
            return _check(options, target, libpq, rows, began)
    if not watching:
        publish("instructions", options, server, {"libpq": libpq, "rows": rows}, tables)
    return 0 if rows else 1


def per_query(
    driver: str, loop: str, workload: str, options: argparse.Namespace, target: Target, libpq: dict[str, int]
) -> float:
    """Instructions that one more query costs; the driver's libpq goes into `libpq`. Raises DriverError."""
    few, many = (_count(driver, loop, workload, options, target, libpq, each=each) for each in (FEW_EACH, MANY_EACH))
    queries: int = options.tasks * (MANY_EACH - FEW_EACH)
    return (many - few) / queries


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


# ---- recorded figures ----


def counted_on(libpq: dict[str, int], build: str = "") -> str:
    """What counts depend on, as the file names it."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"CPython {python}, libpq {max(libpq.values()) // 10_000}, {platform.machine()}" + (build and f", {build}")


def name_of(row: Row) -> str:
    return f"{row['driver']}, {row['loop']}, {row['workload']}"


def record(path: Path, where: str, rows: list[Row]) -> None:
    """Puts the figures of this environment into the file, beside those of others."""
    recorded = json.loads(path.read_text()) if path.exists() else {}
    recorded[where] = {name_of(row): round(row["instructions"]) for row in rows}
    path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    note(f"recorded for {where}: {path}")


def growth(now: list[Row], before: dict[str, float], tolerance: float) -> list[str]:
    """A sentence for each figure that has grown by more than `tolerance`, or that has nothing to compare with."""
    complaints = []
    for row in now:
        was = before.get(name_of(row))
        if was is None:
            complaints.append(f"{name_of(row)}: no figure is recorded to compare with")
        elif row["instructions"] > was * (1 + tolerance):
            grown = row["instructions"] / was - 1
            complaints.append(
                f"{name_of(row)}: {row['instructions']:,.0f} instructions per query, {grown:.1%} more than {was:,.0f}"
                f" (allowed: {tolerance:.1%})"
            )
    return complaints


def _check(options: argparse.Namespace, target: Target, libpq: dict[str, int], rows: list[Row], began: float) -> int:
    """Prints every figure beside the recorded one, and at the end a line as pytest's; the exit status."""
    where = counted_on(libpq, options.build)
    recorded = json.loads(options.check.read_text())
    before = recorded.get(where)
    known = before or {}
    for row in rows:
        for _ in range(TRIES - 1):
            if not growth([row], known, options.tolerance) or name_of(row) not in known:
                break
            note(f"{row['driver']}, {row['loop']}, {row['workload']} again")
            again = per_query(row["driver"], row["loop"], row["workload"], options, target, libpq)
            row["instructions"] = min(again, row["instructions"])
    seconds = time.monotonic() - began
    lines = [
        (name_of(row), number(row["instructions"]), number(known.get(name_of(row))), _change(row, known))
        for row in rows
    ]
    print(Table(("call", "instructions", "recorded", "change"), lines, title=where).text())
    if before is None:
        print(f"nothing is recorded for {where} (only for {'; '.join(recorded)}), so that nothing can have grown.")
        print("`./dev bench instructions --record` records these figures.")
        print(f"{len(rows)} skipped in {seconds:.1f}s")
        return 0
    complaints = growth(rows, before, options.tolerance)
    for complaint in complaints:
        print(complaint)
    failed = f"{len(complaints)} failed, " if complaints else ""
    print(f"{failed}{len(rows) - len(complaints)} passed in {seconds:.1f}s")
    return 1 if complaints else 0


def _change(row: Row, before: dict[str, float]) -> str:
    was = before.get(name_of(row))
    return "-" if was is None else f"{row['instructions'] / was - 1:+.1%}"


def fraction(text: str) -> float:
    """`5%` or `0.05` as 0.05, for argparse's `type`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a percentage nor a fraction") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is negative")
    return value


# ---- counting ----


def _count(
    driver: str,
    loop: str,
    workload: str,
    options: argparse.Namespace,
    target: Target,
    libpq: dict[str, int],
    *,
    each: int,
) -> int:
    """All instructions of a process that runs `each` queries per task after a warm-up."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "callgrind.out"
        process = DriverProcess(
            loop,
            command_prefix=("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}"),
            environment={"PYTHONHASHSEED": "0"} | environment_of(driver),
            timeout=TIMEOUT_SECONDS,
        )
        with process:
            opened = process.ask("open", **opening(options, driver, target))
            if opened["libpq"] is not None:
                libpq[driver] = opened["libpq"]
            process.ask("verify", workload=workload)
            process.ask("count", workload=workload, tasks=options.tasks, each=WARM_UP_EACH)
            process.ask("count", workload=workload, tasks=options.tasks, each=each)
            process.ask("close")
        return total_of(output.read_text() if output.exists() else "")


def total_of(callgrind_output: str) -> int:
    """The count in a callgrind file. Raises DriverError where there is none."""
    found = re.search(r"^(?:summary|totals): (\d+)", callgrind_output, re.MULTILINE)
    if found is None:
        raise DriverError("callgrind wrote no count")
    return int(found.group(1))
