"""The closed-loop load: N tasks, each of which starts its next query when the answer of the last one is there.

Runs inside a driver's own process. It reads the clock once a query and keeps latencies as plain integers; statistics
are computed after the clocks are stopped.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.drivers import Call
from bench.figures import percentile

NS_PER_SECOND = 1_000_000_000
NS_PER_US = 1_000


@dataclass(frozen=True)
class Sample:
    """One round of one driver. `cpu_us` is user and system time of the whole process, all its threads, per query."""

    queries: int
    seconds: float
    queries_per_second: float
    cpu_us: float
    p50_us: float
    p99_us: float
    max_us: float


async def run_for(call: Call, keys: Sequence[int], tasks: int, seconds: float) -> Sample:
    """Loads for `seconds`; each query that began before the end is counted, and so is the time until it is answered."""
    latencies: list[int] = []
    gc.collect()
    cpu_before = time.process_time_ns()
    began = time.perf_counter_ns()
    deadline = began + int(seconds * NS_PER_SECOND)
    await asyncio.gather(*(_client(call, _keys_of(keys, task, tasks), deadline, latencies) for task in range(tasks)))
    elapsed = time.perf_counter_ns() - began
    cpu = time.process_time_ns() - cpu_before
    latencies.sort()
    queries = len(latencies)
    return Sample(
        queries=queries,
        seconds=elapsed / NS_PER_SECOND,
        queries_per_second=queries * NS_PER_SECOND / elapsed,
        cpu_us=cpu / queries / NS_PER_US,
        p50_us=percentile(latencies, 0.50) / NS_PER_US,
        p99_us=percentile(latencies, 0.99) / NS_PER_US,
        max_us=latencies[-1] / NS_PER_US,
    )


async def run_count(call: Call, keys: Sequence[int], tasks: int, each: int) -> None:
    """Loads with `each` queries per task: for instruments that count instead of timing."""
    await asyncio.gather(*(_counted_client(call, _keys_of(keys, task, tasks), each) for task in range(tasks)))


async def run_in_turn(call: Call, keys: range, tasks: int, each: int) -> None:
    """The same with one walk over the keys for all tasks, which takes no memory: for instruments that count bytes."""
    shared = itertools.chain.from_iterable(itertools.repeat(keys))
    await asyncio.gather(*(_counted_client(call, shared, each) for _ in range(tasks)))


def _keys_of(keys: Sequence[int], task: int, tasks: int) -> Iterator[int]:
    """An endless walk over all keys that starts at another place for each task."""
    start = len(keys) * task // tasks
    return itertools.cycle([*keys[start:], *keys[:start]])


async def _client(call: Call, keys: Iterator[int], deadline: int, latencies: list[int]) -> None:
    clock, note = time.perf_counter_ns, latencies.append
    before = clock()
    for key in keys:
        await call(key)
        after = clock()
        note(after - before)
        if after >= deadline:
            return
        before = after


async def _counted_client(call: Call, keys: Iterator[int], count: int) -> None:
    for key in itertools.islice(keys, count):
        await call(key)
