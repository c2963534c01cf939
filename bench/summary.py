"""The one table: what each command measured, a line for each thing a service may care about.

From the raw figures of the parts (bench/table.py); no measuring and no I/O. A part that was not measured, or failed,
has its line all the same, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.drivers import DRIVERS
from bench.figures import MISSING, Table, median, number, paired_ratio, percent, spread, times
from bench.floors import FLOORS
from bench.latency import round_trips
from bench.workloads import ROW, ROWS

Documents = dict[str, dict[str, Any]]
Values = list[float | None]

OURS, LEASE = "holisticpool", "holisticpool-lease"
VARIANTS = {
    OURS: "as it comes",
    "holisticpool-exclusive": "pipeline off",
    "holisticpool-pipelined": "pipeline auto",
    "holisticpool-wheel": "wheel",
}
BUILDS = {OURS: "", "holisticpool-wheel": ", wheel"}
PEER, PEER_LEASE, BARE, PSYCOPG = "asyncpg", "asyncpg-lease", "asyncpg-bare", "psycopg"
HEAD = ("what", "holisticpool", "asyncpg", "ratio", "spread", "others")
MIB = 1024 * 1024
MS = 1_000


@dataclass(frozen=True)
class Line:
    """One line. `higher` says which way is better: the ratio is how many times better we are than the peer."""

    what: str
    ours: Values
    peer: Values
    others: str = ""
    higher: bool = False
    unit: str = ""
    digits: int = 0
    peer_name: str = ""

    def cells(self) -> tuple[str, ...]:
        ours, peer = _known(self.ours), _known(self.peer)
        better = paired_ratio(self.ours, self.peer) if self.higher else paired_ratio(self.peer, self.ours)
        shown = self._shown(peer) + (f" ({self.peer_name})" if self.peer_name and peer else "")
        return (self.what, self._shown(ours), shown, times(better), percent(spread(ours)), self.others)

    def _shown(self, values: list[float]) -> str:
        text = number(median(values), self.digits)
        return text if text == MISSING or not self.unit else f"{text} {self.unit}"


def summary(documents: Documents, failures: dict[str, str]) -> Table:
    """The table of all lines; `failures` says of a part why it is missing."""
    lines: list[tuple[str, ...]] = []
    for part, lines_of in PARTS.items():
        if part in failures:
            lines.append((part, MISSING, MISSING, MISSING, MISSING, f"not measured: {failures[part]}"))
        elif part in documents:
            lines.extend(line.cells() for line in lines_of(documents[part]))
        else:
            lines.append((part, MISSING, MISSING, MISSING, MISSING, "not measured in this run"))
    return Table(HEAD, lines, title="The whole table", left=1)


# ---- the lines of each part ----


def _instructions(document: dict[str, Any]) -> Iterator[Line]:
    counted = {(row["driver"], row["workload"]): row["instructions"] for row in document["rows"]}
    for workload, what in ((ROW.name, "10-column row by primary key"), (ROWS.name, "100 rows of 6 columns")):
        for driver, variant in VARIANTS.items():
            if (driver, workload) in counted:
                yield Line(
                    f"user-space instructions per query, {what}, {variant}",
                    [counted[driver, workload]],
                    _one(counted.get((PEER, workload))),
                    _others({BARE: counted.get((BARE, workload))}),
                )


def _throughput(document: dict[str, Any]) -> Iterator[Line]:
    rows = {(row["driver"], row["loop"], row["workload"], row["tasks"]): row["rounds"] for row in document["rows"]}
    tasks_measured = sorted({key[3] for key in rows})
    for loop in dict.fromkeys(key[1] for key in rows):
        for tasks in tasks_measured:
            if tasks == 1:
                continue
            peers = {name: median(_known(_figures(rows, name, loop, tasks))) for name in (BARE, PSYCOPG, "psqlpy")} | {
                "pgbench": _floor(document, min(tasks, document["options"]["pool_size"]))
            }
            for driver, variant in VARIANTS.items():
                ours = _figures(rows, driver, loop, tasks)
                if ours:
                    yield Line(
                        f"primary-key row, {tasks} tasks, {loop}, {variant}",
                        ours,
                        _figures(rows, PEER, loop, tasks),
                        _others(peers),
                        higher=True,
                        unit="/s",
                    )
            lease = _figures(rows, LEASE, loop, tasks)
            if lease:
                yield Line(
                    f"async with pool.acquire(): fetch, {tasks} tasks, {loop}",
                    lease,
                    _figures(rows, PEER_LEASE, loop, tasks),
                    higher=True,
                    unit="/s",
                )
        ours = _figures(rows, OURS, loop, 1)
        if ours:
            yield Line(
                f"primary-key row, one task, {loop}, against a bare connection",
                ours,
                _figures(rows, BARE, loop, 1),
                _others({PEER: median(_known(_figures(rows, PEER, loop, 1)))}),
                higher=True,
                unit="/s",
                peer_name="bare",
            )


def _half_core(document: dict[str, Any]) -> Iterator[Line]:
    rows = {(row["driver"], row["loop"], row["workload"], row["tasks"]): row["rounds"] for row in document["rows"]}
    for loop in dict.fromkeys(key[1] for key in rows):
        for tasks in sorted({key[3] for key in rows}):
            for driver, variant in VARIANTS.items():
                ours = _figures(rows, driver, loop, tasks)
                if ours:
                    yield Line(
                        f"half a core, primary-key row, {tasks} tasks, {loop}, {variant}",
                        ours,
                        _figures(rows, PEER, loop, tasks),
                        _others({BARE: median(_known(_figures(rows, BARE, loop, tasks)))}),
                        higher=True,
                        unit="/s",
                    )


def _acquire(document: dict[str, Any]) -> Iterator[Line]:
    rows = {
        (row["driver"], row["loop"], row["shape"]): _scaled(row["nanoseconds"], 1 / 1_000) for row in document["rows"]
    }
    for loop in document["options"]["loops"]:
        if (OURS, loop, "pair") in rows:
            yield Line(
                f"idle acquire and release, {loop}",
                rows[OURS, loop, "pair"],
                rows.get((PEER, loop, "pair"), []),
                _others({name: median(_known(rows.get((name, loop, "pair"), []))) for name in (PSYCOPG, "psqlpy")}, 1),
                unit="us",
                digits=2,
            )


def _fastapi(document: dict[str, Any]) -> Iterator[Line]:
    rows = {(row["driver"], row["loop"]): row["added"] for row in document["rows"]}
    for loop in document["options"]["loops"]:
        others = {name: median(_known(rows.get((name, loop), []))) for name in ("asyncpg-noreset", BARE, PSYCOPG)}
        for driver, variant in VARIANTS.items():
            if (driver, loop) in rows:
                yield Line(
                    f"CPU that a query adds to a FastAPI request, {loop}, {variant}",
                    rows[driver, loop],
                    rows.get((PEER, loop), []),
                    _others(others),
                    unit="us",
                    digits=1,
                )


def _openloop(document: dict[str, Any]) -> Iterator[Line]:
    rows = {row["driver"]: row["rounds"] for row in document["rows"]}
    options = document["options"]
    for figure, name in (("p99_us", "p99"), ("p999_us", "p99.9")):
        found = {
            driver: _scaled([None if sample is None else sample[figure] for sample in rounds], 1 / MS)
            for driver, rounds in rows.items()
        }
        for driver, variant in VARIANTS.items():
            if driver in found:
                yield Line(
                    f"{name} of fast statements at {options['rate']:,}/s with {options['slow_fraction']:.0%} of"
                    f" {options['slow_ms']:g} ms, {variant}",
                    found[driver],
                    found.get(PEER, []),
                    _others({other: median(_known(found.get(other, []))) for other in (BARE, PSYCOPG)}, 1),
                    unit="ms",
                    digits=2,
                )


def _latency(document: dict[str, Any]) -> Iterator[Line]:
    rows = {row["driver"]: row for row in document["rows"]}
    options = document["options"]
    rates = {
        driver: [None if sample is None else sample["queries_per_second"] for sample in row["load"]]
        for driver, row in rows.items()
    }
    for driver, variant in VARIANTS.items():
        if driver in rates:
            yield Line(
                f"{options['pool_size']} connections, {2 * options['delay_ms']:g} ms round trip,"
                f" {options['tasks']} tasks, {variant}",
                rates[driver],
                rates.get(PEER, []),
                _others({other: median(_known(rates.get(other, []))) for other in (BARE, PSYCOPG)}),
                higher=True,
                unit="/s",
            )
    if OURS in rows:
        yield Line(
            f"transaction of two statements, {2 * options['delay_ms']:g} ms round trip",
            [*round_trips(rows[OURS], "transaction")],
            [*round_trips(rows[PEER], "transaction")] if PEER in rows else [],
            unit="round trips",
            digits=2,
        )


def _bulk(document: dict[str, Any]) -> Iterator[Line]:
    rows = {(row["driver"], row["chore"]): row for row in document["rows"]}
    for (driver, chore), row in rows.items():
        if driver != OURS:
            continue
        seconds = _scaled(row["seconds"], MS)
        floor = FLOORS.get(chore)
        others = ""
        if floor is not None and (floor.program, chore) in rows:
            theirs = rows[floor.program, chore]["seconds"]
            against = paired_ratio(row["seconds"], theirs)
            others = f"{floor.title} {number(median(_known(_scaled(theirs, MS))))} ms"
            others += f", of which we take {times(against)}" if against else ""
        yield Line(
            f"{TITLES[chore]}, {row['count']:,}",
            seconds,
            _scaled(rows[PEER, chore]["seconds"], MS) if (PEER, chore) in rows else [],
            others,
            unit="ms",
        )


TITLES = {
    "executemany": "executemany, rows",
    "fetchmany": "fetchmany, rows",
    "prepared": "prepared statement, fetches one after the other",
    "copy_records": "copy_records_to_table, rows",
    "copy_in": "copy_to_table from a file, rows",
    "copy_out": "copy_from_table to a file, rows",
    "cursor": "async for over a cursor, rows",
}


def _memory(document: dict[str, Any]) -> Iterator[Line]:
    rows = {row["driver"]: row for row in document["rows"]}
    if OURS not in rows:
        return
    pool_size, queries = document["options"]["pool_size"], rows[OURS]["queries_per_step"]
    for kind, what in (("resident", "resident memory"), ("private", "of it private")):
        found = {driver: (row["after"][0][kind] - row["bare"][kind]) / MIB for driver, row in rows.items()}
        for driver in BUILDS:
            if driver in found:
                yield Line(
                    f"{what}: {pool_size} connections, after {queries:,} queries{BUILDS[driver]}",
                    [found[driver]],
                    _one(found.get(PEER)),
                    _others({PSYCOPG: found.get(PSYCOPG)}, 1),
                    unit="MiB",
                    digits=1,
                )
    growth = {driver: _growth_kib(row) for driver, row in rows.items()}
    later = queries * (len(rows[OURS]["after"]) // 2)
    yield Line(f"growth over {later:,} queries more", [growth[OURS]], _one(growth.get(PEER)), unit="KiB")


def _growth_kib(row: dict[str, Any]) -> float:
    after = row["after"]
    grown: int = after[-1]["resident"] - after[len(after) // 2 - 1]["resident"]
    return grown / 1024


def _startup(document: dict[str, Any]) -> Iterator[Line]:
    rows = {row["driver"]: row["rounds"] for row in document["rows"]}
    size = document["options"]["pool_size"]
    for figure, what in (
        ("import_seconds", "import"),
        ("first_row_seconds", "import to first row, 1 connection"),
        ("all_open_seconds", f"import to first row, {size} connections"),
    ):
        found = {driver: _scaled([sample[figure] for sample in rounds], MS) for driver, rounds in rows.items()}
        for driver in [name for name in BUILDS if name in found]:
            yield Line(
                f"{what}{BUILDS[driver]}",
                found[driver],
                found.get(PEER, []),
                _others({PSYCOPG: median(_known(found.get(PSYCOPG, [])))}, 1),
                unit="ms",
                digits=1,
            )


PARTS = {
    "instructions": _instructions,
    "throughput": _throughput,
    "half-core": _half_core,
    "acquire": _acquire,
    "fastapi": _fastapi,
    "openloop": _openloop,
    "latency": _latency,
    "bulk": _bulk,
    "memory": _memory,
    "startup": _startup,
}
"""What the table is made of, in its order; bench/table.py says how each is measured."""


def _figures(rows: dict[tuple[str, str, str, int], Any], driver: str, loop: str, tasks: int) -> Values:
    rounds = rows.get((driver, loop, ROW.name, tasks), [])
    return [None if sample is None else sample["queries_per_second"] for sample in rounds]


def _floor(document: dict[str, Any], clients: int) -> float | None:
    for floor in document["floors"]:
        if floor["workload"] == ROW.name and floor["clients"] == clients and not floor["pipelined"]:
            return median([sample["queries_per_second"] for sample in floor["rounds"]])
    return None


def _others(values: dict[str, float | None], digits: int = 0) -> str:
    names = {BARE: "asyncpg bare", "asyncpg-noreset": "asyncpg, no reset"}
    return ", ".join(
        f"{names.get(name) or getattr(DRIVERS.get(name), 'module', name)} {number(value, digits)}"
        for name, value in values.items()
        if value is not None
    )


def _one(value: float | None) -> Values:
    return [] if value is None else [value]


def _known(values: Values) -> list[float]:
    return [value for value in values if value is not None]


def _scaled(values: Values, factor: float) -> Values:
    return [None if value is None else value * factor for value in values]
