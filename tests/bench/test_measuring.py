"""The load and the driver's process, without a database."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench.load import run_count, run_for, run_in_turn
from bench.measures import memory_now
from bench.process import DriverError, DriverProcess
from bench.quota import CpuQuota, QuotaUnavailableError
from bench.stream import run_stream


async def test_load_counts_every_query_of_every_task() -> None:
    seen: list[int] = []

    async def call(key: int) -> None:
        seen.append(key)
        await asyncio.sleep(0)

    sample = await run_for(call, range(10), tasks=3, seconds=0.01)
    assert sample.queries == len(seen)
    assert sample.queries_per_second == pytest.approx(sample.queries / sample.seconds)
    assert 0 < sample.p50_us <= sample.p99_us <= sample.max_us


async def test_counted_load_runs_exactly_that_many_and_starts_tasks_at_different_keys() -> None:
    seen: list[int] = []

    async def call(key: int) -> None:
        seen.append(key)

    await run_count(call, range(4), tasks=2, each=6)
    assert seen == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]


async def test_error_of_a_driver_ends_the_load() -> None:
    async def call(_key: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await run_for(call, range(4), tasks=2, seconds=0.01)


def test_error_in_the_driver_process_is_one_line_here_and_the_process_lives_on() -> None:
    with DriverProcess() as process:
        with pytest.raises(DriverError, match="RuntimeError: no driver is open"):
            process.ask("verify", workload="row")
        assert process.ask("memory")["resident"] > 0


def test_driver_process_that_cannot_start_says_why() -> None:
    with DriverProcess("asyncio", command_prefix=("sh", "-c", "echo no interpreter >&2; exit 1")) as process:
        with pytest.raises(DriverError, match="no interpreter"):
            process.ask("memory")


def test_quota_holds_the_process_and_is_gone_afterwards() -> None:
    try:
        quota = CpuQuota(0.5)
    except QuotaUnavailableError as error:
        pytest.skip(str(error))
    with quota:
        with DriverProcess(quota=quota) as process:
            assert process.ask("memory")["resident"] > 0
            assert quota.processes() != []
        assert quota.processes() == []
    assert not quota.directory.exists()


async def test_stream_starts_every_query_and_the_same_ones_are_slow() -> None:
    async def run() -> tuple[list[int], list[int]]:
        fast: list[int] = []
        slow: list[int] = []

        async def call_fast(key: int) -> None:
            fast.append(key)

        async def call_slow(key: int) -> None:
            slow.append(key)

        streamed = await run_stream(call_fast, call_slow, rate=5_000, seconds=0.1, slow_fraction=0.2)
        assert streamed.queries == 500
        return fast, slow

    (fast, slow), again = await run(), await run()
    assert len(fast) + len(slow) == 500 and slow
    assert (fast, slow) == again


async def test_stream_counts_from_the_time_at_which_a_query_was_due() -> None:
    async def stall(_key: int) -> None:
        time.sleep(0.001)

    streamed = await run_stream(stall, stall, rate=5_000, seconds=0.05, slow_fraction=0.5)
    # 250 queries of 1 ms each keep a loop busy for 250 ms that had 50 ms of them to start.
    assert streamed.p99_us > 50_000


async def test_stream_ends_with_the_error_of_a_query() -> None:
    async def broken(_key: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await run_stream(broken, broken, rate=1_000, seconds=0.1, slow_fraction=0.5)


async def test_load_in_turn_runs_exactly_that_many_over_one_walk() -> None:
    seen: list[int] = []

    async def call(key: int) -> None:
        seen.append(key)
        await asyncio.sleep(0)

    await run_in_turn(call, range(3), tasks=2, each=4)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]


def test_memory_tells_libraries_from_the_rest() -> None:
    now = memory_now()
    assert 0 < now.libraries < now.resident
    assert 0 < now.private <= now.resident
