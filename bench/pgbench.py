"""What PostgreSQL itself gives: pgbench over the same statements, as the floor under every driver.

pgbench -M prepared sends a prepared statement and waits for its answer, from a program in C that does nothing with the
rows. The pipelined form keeps PIPELINE_DEPTH statements under way per connection; pgbench before version 16 cannot
prepare inside a pipeline, and then sends the statement's text each time (-M extended), which its title says.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.server import Target
from bench.workloads import Workload

PIPELINE_DEPTH = 16
PREPARES_IN_PIPELINE = 16
"""The first major version of pgbench that does."""
US_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class Floor:
    """One run: like bench.load.Sample, as far as pgbench tells."""

    queries_per_second: float
    cpu_us: float


class Pgbench:
    """The pgbench of one directory of binaries."""

    def __init__(self, program: Path) -> None:
        self._program = program
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"(\d+)", shown)
        self._version = int(found.group(1)) if found else 0

    @classmethod
    def find(cls, target: Target) -> Pgbench | None:
        """The one beside the server's programs; None where there is none."""
        program = target.bindir / "pgbench"
        return cls(program) if program.exists() else None

    def title(self, pipelined: bool) -> str:
        """What the run is called in a table."""
        if not pipelined:
            return "pgbench -M prepared"
        return f"pgbench -M {self._mode(pipelined)}, pipeline of {PIPELINE_DEPTH}"

    def run(self, target: Target, workload: Workload, clients: int, seconds: int, *, pipelined: bool) -> Floor:
        """Runs for whole `seconds`. Raises RuntimeError with pgbench's message."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(script_of(workload, pipelined))
            script.flush()
            command = [str(self._program), "-n", "-M", self._mode(pipelined), "-c", str(clients), "-j", "1"]
            output, cpu_seconds = _run([*command, "-T", str(seconds), "-f", script.name], target.environment())
        per_transaction = PIPELINE_DEPTH if pipelined else 1
        rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
        count = re.search(r"transactions actually processed: (\d+)", output)
        if rate is None or count is None:
            raise RuntimeError(f"pgbench: {output.strip()[-200:]}")
        queries = int(count.group(1)) * per_transaction
        return Floor(float(rate.group(1)) * per_transaction, cpu_seconds * US_PER_SECOND / queries)

    def _mode(self, pipelined: bool) -> str:
        return "extended" if pipelined and self._version < PREPARES_IN_PIPELINE else "prepared"


def script_of(workload: Workload, pipelined: bool) -> str:
    draw = f"\\set key random({workload.keys.start}, {workload.keys.stop - 1})\n"
    statement = draw + workload.sql.replace("$1", ":key") + ";\n"
    if not pipelined:
        return statement
    return "\\startpipeline\n" + statement * PIPELINE_DEPTH + "\\endpipeline\n"


def _run(command: list[str], environment: dict[str, str]) -> tuple[str, float]:
    """The output, and the CPU seconds that the child took."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise RuntimeError(f"pgbench: {text.strip()[-200:]}")
    return text, usage.ru_utime + usage.ru_stime
