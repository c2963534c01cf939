"""`python -m bench render`: the table, the plots, and what README and docs/ show of them, from raw figures on disk.

No measuring. Files are replaced as wholes; of README.md and docs/performance.md only what stands between the marks
`<!-- bench:NAME:begin -->` and `<!-- bench:NAME:end -->`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import acquire, bulk, compare, fastapi_cost, instructions, latency, memory, openloop, startup
from bench.drivers import DRIVERS
from bench.figures import Table, median, number
from bench.fleet import OURS
from bench.plots import Bar, Series, bar_chart, line_chart
from bench.results import RESULTS, headline, note, read
from bench.server import ROOT
from bench.summary import PARTS, Documents, summary
from bench.workloads import ROW, ROWS, WORKLOADS

WHOLE = RESULTS / "table"
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
US_PER_MS = 1_000
PLOTTED_LOOP = "asyncio"
DETAILS: dict[str, Callable[[dict[str, Any]], Sequence[Table]]] = {
    "instructions": instructions.tables,
    "throughput": compare.tables,
    "half-core": compare.tables,
    "acquire": acquire.tables,
    "fastapi": fastapi_cost.tables,
    "openloop": openloop.tables,
    "latency": latency.tables,
    "bulk": bulk.tables,
    "memory": memory.tables,
    "startup": startup.tables,
}
LEFT_OUT_OF_README = re.compile(
    r", (8|200) tasks, \w+,|uvloop|pipeline off|pipeline auto|one after the other"
    r"|tasks,( asyncio,)? wheel|50 ms, wheel|p99\.9|of it private|growth"
    r"|pool\.acquire\(\): fetch, (8|64|200) tasks|first row, 8"
)
PLOTS = {
    "throughput.svg": "queries per second by number of tasks",
    "p99.svg": "p99 by number of tasks",
    "instructions.svg": "instructions per query",
    "fastapi.svg": "CPU that a query adds to a FastAPI request",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--directory", type=Path, default=WHOLE, help=f"of the raw figures (default: {WHOLE.name}/)")


def run(options: argparse.Namespace) -> int:
    """Renders what is there; 1 where there is nothing."""
    directory: Path = options.directory
    documents = {part: read(path) for part in PARTS if (path := directory / f"{part}.json").exists()}
    if not documents:
        note(f"no raw figures in {directory}")
        return 1
    render(directory, documents, {}, publish=directory == WHOLE)
    return 0


def render(directory: Path, documents: Documents, failures: dict[str, str], *, publish: bool) -> None:
    """Writes table.md and the plots; with `publish` also into README.md and docs/performance.md."""
    table = summary(documents, failures)
    source = headline(documents.get("throughput") or next(iter(documents.values())))
    (directory / "table.md").write_text(f"{source}\n\n{table.markdown()}\n")
    for name, text in plots(documents).items():
        (directory / name).write_text(text)
    note(f"\nthe table and the plots: {directory}")
    if not publish:
        return
    replace(README, "table", f"{source}\n\n{short_table(table).markdown()}\n\n{_images(directory, README)}")
    replace(PERFORMANCE, "table", f"{source}\n\n{table.markdown()}\n\n{_images(directory, PERFORMANCE)}")
    details = [made for part, document in documents.items() for made in DETAILS[part](document)]
    replace(PERFORMANCE, "details", "\n\n".join(made.markdown() for made in details))
    note(f"and in {README.name}, {PERFORMANCE.name}")


def short_table(table: Table) -> Table:
    """The lines that README has room for: asyncio, and holisticpool as it comes."""
    lines = [
        [row[0].replace(", as it comes", "").replace(f", {PLOTTED_LOOP}", ""), *row[1:4]]
        for row in table.rows
        if not LEFT_OUT_OF_README.search(row[0])
    ]
    return Table(table.columns[:4], lines)


def plots(documents: Documents) -> dict[str, str]:
    """The charts whose parts were measured, by file name."""
    found = {}
    if "throughput" in documents:
        document = documents["throughput"]
        found["throughput.svg"] = line_chart(
            f"{ROW.title}, {PLOTTED_LOOP}: thousand queries per second",
            "tasks at once",
            "thousand/s",
            [*_series(document, "queries_per_second", 1 / 1_000), *_floor_series(document)],
        )
        found["p99.svg"] = line_chart(
            f"{ROW.title}, {PLOTTED_LOOP}: p99, ms",
            "tasks at once",
            "ms",
            _series(document, "p99_us", 1 / US_PER_MS),
            log_y=True,
        )
    if "instructions" in documents:
        counts = documents["instructions"]["rows"]
        found["instructions.svg"] = bar_chart(
            "User-space instructions per query, thousand",
            [
                _bar(row["driver"], row["instructions"] / 1_000, f", {WORKLOADS[row['workload']].title}")
                for workload in (ROW.name, ROWS.name)
                for row in counts
                if row["workload"] == workload
            ],
        )
    if "fastapi" in documents:
        found["fastapi.svg"] = bar_chart(
            f"CPU that a query adds to a FastAPI request, {PLOTTED_LOOP}, us",
            [
                _bar(row["driver"], middle, "")
                for row in documents["fastapi"]["rows"]
                if row["loop"] == PLOTTED_LOOP
                and (middle := median([value for value in row["added"] if value is not None])) is not None
            ],
        )
    return found


def replace(path: Path, name: str, text: str) -> None:
    """Puts `text` between the marks of `name`. Raises ValueError where they are not there."""
    content = path.read_text()
    begin, end = f"<!-- bench:{name}:begin -->", f"<!-- bench:{name}:end -->"
    before, found, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{path.name} has no marks {begin} and {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _images(directory: Path, page: Path) -> str:
    up = "../" * len(page.parent.relative_to(ROOT).parts)
    where = directory.relative_to(ROOT)
    return "\n\n".join(f"![{what}]({up}{where}/{name})" for name, what in PLOTS.items() if (directory / name).exists())


def _bar(driver: str, value: float, suffix: str) -> Bar:
    return Bar(_title(driver) + suffix, value, number(value, 1 if value < 100 else 0), _is_ours(driver))


def _series(document: dict[str, Any], figure: str, factor: float) -> list[Series]:
    points: dict[str, list[tuple[float, float]]] = {}
    for row in document["rows"]:
        if row["loop"] != PLOTTED_LOOP or row["workload"] != ROW.name:
            continue
        value = median([sample[figure] for sample in row["rounds"] if sample is not None])
        if value is not None:
            points.setdefault(row["driver"], []).append((row["tasks"], value * factor))
    return [Series(_title(driver), sorted(found), _is_ours(driver)) for driver, found in points.items()]


def _floor_series(document: dict[str, Any]) -> list[Series]:
    """pgbench with as many clients as the pool lets work at once, for each number of tasks."""
    size = document["options"]["pool_size"]
    rates = {
        floor["clients"]: median([sample["queries_per_second"] for sample in floor["rounds"]])
        for floor in document["floors"]
        if floor["workload"] == ROW.name and not floor["pipelined"]
    }
    tasks = sorted({row["tasks"] for row in document["rows"]})
    points = [(count, rate / 1_000) for count in tasks if (rate := rates.get(min(count, size))) is not None]
    return [Series("pgbench, prepared", points)] if points else []


def _title(driver: str) -> str:
    return DRIVERS[driver].title


def _is_ours(driver: str) -> bool:
    return DRIVERS[driver].module == OURS
