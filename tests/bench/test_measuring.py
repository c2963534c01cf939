"""The load and the driver's process, without a database."""

from __future__ import annotations

import asyncio

import pytest

from bench.load import run_count, run_for
from bench.process import DriverError, DriverProcess
from bench.quota import CpuQuota, QuotaUnavailableError


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
