"""Measurements inside a driver's own process other than the load: idle leases, memory, cost within a request."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from bench.drivers import Driver
from bench.workloads import ROW

LEASE_SHAPES = ("block", "pair")
FIRST_LEASES = 50
NS_PER_SECOND = 1_000_000_000
NS_PER_US = 1_000
KIB = 1024

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
_EXTENSION_MODULE = re.compile(r"\.(cpython-|abi3)")

Message = MutableMapping[str, Any]
AsgiApp = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


@dataclass(frozen=True)
class Memory:
    """Bytes of a process: `resident` as tools show it, `private` what no other process can share.

    `libraries` is the resident part that is shared libraries (their code and constants, mapped from files), other than
    the extension modules of Python packages.
    """

    resident: int
    private: int
    libraries: int


def memory_now() -> Memory:
    """Of this process, after a full collection (Linux)."""
    gc.collect()
    resident = private = libraries = 0
    is_library = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == "Rss":
                resident += _kib(value)
                libraries += _kib(value) * is_library
            elif name in ("Private_Clean", "Private_Dirty"):
                private += _kib(value)
            elif _MAPPING.match(line):
                file = line.split(maxsplit=5)[5:]
                is_library = bool(file) and ".so" in file[0] and not _EXTENSION_MODULE.search(file[0])
    return Memory(resident * KIB, private * KIB, libraries * KIB)


def _kib(value: str) -> int:
    return int(value.split()[0])


async def nanoseconds_per_lease(driver: Driver, shape: str, seconds: float) -> float:
    """Acquire and release with nothing in between, one after the other: the mean over about `seconds`.

    `shape` is one of LEASE_SHAPES. Smaller batches before the counted one warm up and find its size.
    """
    run = {"block": driver.lease_block, "pair": driver.lease_pair}[shape]
    count = FIRST_LEASES
    while True:
        began = time.perf_counter_ns()
        await run(count)
        elapsed = time.perf_counter_ns() - began
        if elapsed >= seconds * NS_PER_SECOND / 2:
            return elapsed / count
        count = max(2 * count, int(seconds * NS_PER_SECOND * count / elapsed))


def service(driver: Driver) -> AsgiApp:
    """A FastAPI application with one route that runs a query and one that does all but that."""
    from fastapi import FastAPI

    app = FastAPI()
    fetch = driver.call(ROW)

    @app.get("/with/{user_id}")
    async def with_query(user_id: int) -> dict[str, int]:
        return {"id": user_id, "rows": len(await fetch(user_id))}

    @app.get("/without/{user_id}")
    async def without_query(user_id: int) -> dict[str, int]:
        return {"id": user_id, "rows": 1}

    return app


async def cpu_us_per_request(app: AsgiApp, route: str, tasks: int, seconds: float) -> float:
    """CPU of this process per request; `route` is `with` or `without`.

    Requests enter through the ASGI interface: no socket, no HTTP parser and no load generator share the figure.
    """
    counts = [0] * tasks
    gc.collect()
    cpu_before = time.process_time_ns()
    deadline = time.perf_counter_ns() + int(seconds * NS_PER_SECOND)
    await asyncio.gather(*(_requests(app, route, deadline, counts, task) for task in range(tasks)))
    return (time.process_time_ns() - cpu_before) / sum(counts) / NS_PER_US


async def _requests(app: AsgiApp, route: str, deadline: int, counts: list[int], task: int) -> None:
    while time.perf_counter_ns() < deadline:
        await _request(app, f"/{route}/{ROW.keys[counts[task] % len(ROW.keys)]}")
        counts[task] += 1
        # A request without a query never suspends; a server goes back to its loop after each one.
        await asyncio.sleep(0)


async def _request(app: AsgiApp, path: str) -> None:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"bench"), (b"accept", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"{path} answered {statuses}")
