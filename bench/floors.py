"""What PostgreSQL's own programs take for the bulk chores: the floor beside the drivers.

COPY is psql's \\copy, of the same file or, for records, of the same rows in COPY's binary format. It is a process of
its own for each run, whose start and connecting (some 20 ms) are in its figures.

Many executions of one statement are pgbench's, with as many INSERTs in a pipeline as PIPELINE in a transaction of its
own. Each of its commands is a statement of its own, whose first executions are planned: they are not counted. The
figures are of pgbench's log, without its start.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.pgbench import script_of
from bench.server import Target
from bench.workloads import BULK, ROW, SCHEMA

PIPELINE = 100
WARM_UP = 10
US_PER_SECOND = 1_000_000
TABLE = f"{SCHEMA}.{BULK}"
BINARY = "WITH (FORMAT binary)"


@dataclass(frozen=True)
class Floor:
    """One program's way to do a chore: (server, count, path of the file to read or write) -> seconds."""

    program: str
    title: str
    run: Callable[[Target, int, Path], float]

    def is_there(self, target: Target) -> bool:
        return (target.bindir / self.program).exists()


def _copy_in(target: Target, _count: int, path: Path) -> float:
    _truncate(target)
    return _psql(target, f"\\copy {TABLE} FROM '{path}'")


def _copy_records(target: Target, count: int, path: Path) -> float:
    binary = Path(f"{path}.binary")
    if not binary.exists():
        _copy_in(target, count, path)
        _psql(target, f"\\copy {TABLE} TO '{binary}' {BINARY}")
    _truncate(target)
    return _psql(target, f"\\copy {TABLE} FROM '{binary}' {BINARY}")


def _copy_out(target: Target, _count: int, path: Path) -> float:
    return _psql(target, f"\\copy {TABLE} TO '{path}.psql'")


def _executemany(target: Target, count: int, _path: Path) -> float:
    return _pipelines(target, count, f"INSERT INTO {TABLE} VALUES (:id, :name, :price)")


def _fetchmany(target: Target, count: int, _path: Path) -> float:
    return _pipelines(target, count, f"INSERT INTO {TABLE} VALUES (:id, :name, :price) RETURNING id")


def _prepared(target: Target, count: int, _path: Path) -> float:
    output = _pgbench(target, script_of(ROW, pipelined=False), count)
    return count / float(_found(r"^tps = ([\d.]+) \(without", output))


FLOORS = {
    "executemany": Floor("pgbench", f"pgbench, pipelines of {PIPELINE}", _executemany),
    "fetchmany": Floor("pgbench", f"pgbench, pipelines of {PIPELINE}", _fetchmany),
    "prepared": Floor("pgbench", "pgbench -M prepared, one client", _prepared),
    "copy_records": Floor("psql", "psql \\copy, binary", _copy_records),
    "copy_in": Floor("psql", "psql \\copy", _copy_in),
    "copy_out": Floor("psql", "psql \\copy", _copy_out),
}


def _truncate(target: Target) -> None:
    target.psql(f"TRUNCATE {TABLE}")


def _psql(target: Target, command: str) -> float:
    began = time.perf_counter()
    _run(target, ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command])
    return time.perf_counter() - began


def _pipelines(target: Target, count: int, statement: str) -> float:
    """`count` executions; scaled where that is no multiple of PIPELINE."""
    _truncate(target)
    transactions = max(1, round(count / PIPELINE))
    # pgbench before version 16 prepares a script's commands at the first that is outside a pipeline.
    script = ["SELECT;", "\\startpipeline", "BEGIN;", *[f"{statement};"] * PIPELINE, "COMMIT;", "\\endpipeline"]
    with tempfile.TemporaryDirectory() as directory:
        values = ("-D", "id=5000", "-D", "name=item-number-5000", "-D", "price=1250.25")
        log = ("-l", "--log-prefix", f"{directory}/log")
        _pgbench(target, "\n".join(script), WARM_UP + transactions, *values, *log)
        (lines,) = (path.read_text().splitlines() for path in Path(directory).iterdir())
    microseconds = [int(line.split()[2]) for line in lines[WARM_UP:]]
    return sum(microseconds) / US_PER_SECOND * count / (transactions * PIPELINE)


def _pgbench(target: Target, script: str, transactions: int, *options: str) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = ["pgbench", "-n", "-M", "prepared", "-c", "1", "-t", str(transactions), *options, "-f", file.name]
        return _run(target, command)


def _found(pattern: str, output: str) -> str:
    found = re.search(pattern, output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"pgbench: {output.strip()[-200:]}")
    return found.group(1)


def _run(target: Target, command: list[str]) -> str:
    """The program of the server's directory; what it prints. Raises RuntimeError with that where it fails."""
    program, *arguments = command
    done = subprocess.run(
        [target.bindir / program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=target.environment(),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program}: {done.stdout.strip()[-200:]}")
    return done.stdout
