"""The open-loop load: queries start at fixed times, whether or not those before them have been answered.

Runs inside a driver's own process. A latency counts from the time at which its query was due, so that a loop that falls
behind does not hide it. Where answers stay away the backlog grows until the end of the round, and is waited for then.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from bench.drivers import Call
from bench.figures import percentile
from bench.load import NS_PER_SECOND, NS_PER_US
from bench.workloads import ROW

SEED = 50
PAUSE_SECONDS = 0.0005


@dataclass(frozen=True)
class Streamed:
    """One round; latencies are of the fast statements where they are not called slow."""

    queries: int
    queries_per_second: float
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    slow_p50_us: float
    slow_p99_us: float


async def run_stream(fast: Call, slow: Call, rate: int, seconds: float, slow_fraction: float) -> Streamed:
    """Starts `rate` queries a second for `seconds`; the same ones are slow for every driver."""
    total = int(rate * seconds)
    chosen = random.Random(SEED)
    is_slow = [chosen.random() < slow_fraction for _ in range(total)]
    keys = (ROW.shuffled_keys() * (total // len(ROW.keys) + 1))[:total]
    fast_ns: list[int] = []
    slow_ns: list[int] = []
    pending: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    def finished(task: asyncio.Task[None]) -> None:
        pending.discard(task)
        error = task.exception()
        if error is not None:
            failures.append(error)

    gc.collect()
    began = time.perf_counter_ns()
    interval_ns = NS_PER_SECOND / rate
    started = 0
    while started < total and not failures:
        due = min(total, int((time.perf_counter_ns() - began) / interval_ns) + 1)
        for number in range(started, due):
            call, latencies = (slow, slow_ns) if is_slow[number] else (fast, fast_ns)
            due_ns = began + int(number * interval_ns)
            task = asyncio.create_task(_timed(call(keys[number]), due_ns, latencies))
            pending.add(task)
            task.add_done_callback(finished)
        started = due
        await asyncio.sleep(PAUSE_SECONDS)
    if pending:
        await asyncio.wait(pending)
    elapsed = time.perf_counter_ns() - began
    if failures:
        raise failures[0]
    fast_ns.sort()
    slow_ns.sort()
    return Streamed(
        queries=total,
        queries_per_second=total * NS_PER_SECOND / elapsed,
        p50_us=percentile(fast_ns, 0.50) / NS_PER_US,
        p99_us=percentile(fast_ns, 0.99) / NS_PER_US,
        p999_us=percentile(fast_ns, 0.999) / NS_PER_US,
        max_us=fast_ns[-1] / NS_PER_US,
        slow_p50_us=percentile(slow_ns, 0.50) / NS_PER_US,
        slow_p99_us=percentile(slow_ns, 0.99) / NS_PER_US,
    )


async def _timed(query: Awaitable[Any], due_ns: int, latencies: list[int]) -> None:
    await query
    latencies.append(time.perf_counter_ns() - due_ns)
