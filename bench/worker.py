"""A driver's own process: reads commands as JSON lines on stdin, answers each with one JSON line.

A clean interpreter per driver keeps one driver's libpq, threads and imports out of the figures of another. The pool
stays open from command to command while the loop stands still in between, so that a driver that waits for its turn
costs the others nothing. bench/process.py is the other side.
"""

from __future__ import annotations

import asyncio
import compileall
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from bench.chores import CHORES
from bench.drivers import DRIVERS, AsyncpgApi, Driver
from bench.load import run_count, run_for, run_in_turn
from bench.measures import AsgiApp, cpu_us_per_request, memory_now, nanoseconds_per_lease, service
from bench.stream import run_stream
from bench.workloads import ROW, WORKLOADS, sleeping

WARM_UP_SECONDS = 0.1
WARM_UP_STREAM_SECONDS = 0.5
Answer = dict[str, Any]


class Session:
    """The open driver of this process and what can be asked of it."""

    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._service: AsgiApp | None = None

    @property
    def driver(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("no driver is open")
        return self._driver

    async def open(self, driver: str, dsn: str, size: int, keywords: dict[str, Any]) -> Answer:
        opened = DRIVERS[driver]()
        await opened.open(dsn, size, **keywords)
        self._driver = opened
        return {"libpq": opened.libpq_version()}

    async def verify(self, workload: str) -> Answer:
        """A driver that answers wrongly must not be measured as fast."""
        chosen = WORKLOADS[workload]
        answer = await self.driver.call(chosen)(chosen.keys[0])
        rows = len(answer) if chosen.method == "fetch" else int(answer.rpartition(" ")[2])
        if rows != chosen.rows:
            raise RuntimeError(f"{workload}: {rows} rows instead of {chosen.rows}")
        return {}

    async def load(self, workload: str, tasks: int, seconds: float) -> Answer:
        chosen = WORKLOADS[workload]
        call, keys = self.driver.call(chosen), chosen.shuffled_keys()
        await run_for(call, keys, tasks, min(WARM_UP_SECONDS, seconds))
        return asdict(await run_for(call, keys, tasks, seconds))

    async def count(self, workload: str, tasks: int, each: int) -> Answer:
        chosen = WORKLOADS[workload]
        await run_count(self.driver.call(chosen), chosen.shuffled_keys(), tasks, each)
        return {}

    async def lease(self, shape: str, seconds: float) -> Answer:
        return {"ns": await nanoseconds_per_lease(self.driver, shape, seconds)}

    async def request(self, route: str, tasks: int, seconds: float) -> Answer:
        if self._service is None:
            self._service = service(self.driver)
        await cpu_us_per_request(self._service, route, tasks, min(WARM_UP_SECONDS, seconds))
        return {"cpu_us": await cpu_us_per_request(self._service, route, tasks, seconds)}

    async def compile(self, driver: str) -> Answer:
        """Writes the bytecode of a driver's package, as an installer does: the environment may keep Python from it."""
        found = importlib.util.find_spec(DRIVERS[driver].module)
        for directory in found.submodule_search_locations or () if found is not None else ():
            compileall.compile_dir(directory, quiet=2)
        return {}

    async def first_row(self, driver: str, dsn: str, size: int, keywords: dict[str, Any]) -> Answer:
        """For a fresh process: import, connect and query, each once and cold."""
        began = time.perf_counter()
        importlib.import_module(DRIVERS[driver].module)
        imported = time.perf_counter()
        await self.open(driver, dsn, size, keywords)
        await self.verify(ROW.name)
        return {"import_seconds": imported - began, "first_row_seconds": time.perf_counter() - began}

    async def rehearse(self, workloads: list[str], tasks: int, each: int) -> Answer:
        """What `repeat` does without a driver, so that what the load itself takes is there before a driver is."""
        for workload in workloads:
            await run_in_turn(_no_query, WORKLOADS[workload].keys, tasks, each)
        return {}

    async def repeat(self, workload: str, tasks: int, each: int) -> Answer:
        chosen = WORKLOADS[workload]
        await run_in_turn(self.driver.call(chosen), chosen.keys, tasks, each)
        return {}

    async def chore(self, name: str, count: int, path: str) -> Answer:
        if not isinstance(self.driver, AsyncpgApi):
            raise RuntimeError(f"{name} is measured with drivers that have asyncpg's interface")
        return asdict(await CHORES[name].run(self.driver.pool, count, path))

    async def stream(self, rate: int, seconds: float, slow_fraction: float, slow_ms: float) -> Answer:
        fast, slow = self.driver.call(ROW), self.driver.call(sleeping(slow_ms))
        await run_stream(fast, slow, rate, min(WARM_UP_STREAM_SECONDS, seconds), slow_fraction)
        return asdict(await run_stream(fast, slow, rate, seconds, slow_fraction))

    async def memory(self) -> Answer:
        return asdict(memory_now())

    async def close(self) -> Answer:
        await self.driver.close()
        self._driver = self._service = None
        return {}

    def command(self, name: str) -> Callable[..., Awaitable[Answer]]:
        commands: dict[str, Callable[..., Awaitable[Answer]]] = {
            "open": self.open,
            "verify": self.verify,
            "load": self.load,
            "count": self.count,
            "lease": self.lease,
            "request": self.request,
            "compile": self.compile,
            "first_row": self.first_row,
            "rehearse": self.rehearse,
            "repeat": self.repeat,
            "chore": self.chore,
            "stream": self.stream,
            "memory": self.memory,
            "close": self.close,
        }
        return commands[name]


async def _no_query(_key: int) -> list[Any]:
    await asyncio.sleep(0)
    return []


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop of the kind that `name` says: asyncio or uvloop."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def main() -> None:
    """Serves commands until stdin ends."""
    # What a driver prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    loop = new_loop(sys.argv[1] if len(sys.argv) > 1 else "asyncio")
    asyncio.set_event_loop(loop)
    session = Session()
    for line in sys.stdin:
        asked = json.loads(line)
        name = asked.pop("command")
        try:
            answer = loop.run_until_complete(session.command(name)(**asked))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)
    loop.close()
