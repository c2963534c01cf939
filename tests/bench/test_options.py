"""What the bench reads from its command line, from DSNs and from other programs' output."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bench.fleet import chosen, keyword
from bench.instructions import RECORDED as recorded_figures
from bench.instructions import WATCHED, fraction, growth, record, total_of
from bench.pgbench import script_of
from bench.process import DriverError
from bench.server import pg_variables
from bench.workloads import ROW


def test_chosen_splits_and_refuses_strangers() -> None:
    assert chosen(("a", "b"), "b, a") == ["b", "a"]
    with pytest.raises(argparse.ArgumentTypeError, match="'c' is not one of a, b"):
        chosen(("a", "b"), "a,c")


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("0", 0.0), ("12.5%", 0.125)])
def test_tolerance_is_a_percentage_or_a_fraction(text: str, value: float) -> None:
    assert fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "five", "-1%"])
def test_tolerance_refuses_anything_else(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        fraction(text)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        (
            "postgresql://me:p%2Fw@localhost:5433/my%20db?sslmode=require",
            {
                "PGUSER": "me",
                "PGPASSWORD": "p/w",
                "PGHOST": "localhost",
                "PGPORT": "5433",
                "PGDATABASE": "my db",
                "PGSSLMODE": "require",
            },
        ),
        (
            "postgresql://me@%2Ftmp%2FUpper:5432/db",
            {"PGUSER": "me", "PGHOST": "/tmp/Upper", "PGPORT": "5432", "PGDATABASE": "db"},
        ),
        ("postgresql:///?host=/tmp&dbname=db", {"PGHOST": "/tmp", "PGDATABASE": "db"}),
    ],
)
def test_dsn_becomes_environment_variables(dsn: str, expected: dict[str, str]) -> None:
    assert pg_variables(dsn) == expected


@pytest.mark.parametrize("dsn", ["host=localhost", "postgresql://a:1,b:2/db", "mysql://a/b"])
def test_dsn_that_cannot_be_translated_is_refused(dsn: str) -> None:
    with pytest.raises(ValueError, match="URI with one host"):
        pg_variables(dsn)


def test_pipelinedscript_of_holds_the_statement_sixteen_times() -> None:
    script = script_of(ROW, pipelined=True)
    assert script.startswith("\\startpipeline\n") and script.endswith("\\endpipeline\n")
    assert script.count("WHERE id = :key;") == 16


def counted(instructions: float) -> dict[str, Any]:
    return {"driver": "holisticpool", "loop": "asyncio", "workload": "row", "instructions": instructions}


RECORDED = {"holisticpool, asyncio, row": 100.0}


def test_growth_within_the_tolerance_passes() -> None:
    assert growth([counted(104.0)], RECORDED, 0.05) == []


def test_growth_beyond_the_tolerance_is_named() -> None:
    (complaint,) = growth([counted(110.0)], RECORDED, 0.05)
    assert "10.0% more than 100" in complaint


def test_growth_needs_a_recorded_figure() -> None:
    (complaint,) = growth([counted(1.0)], {}, 0.05)
    assert "no figure is recorded" in complaint


def test_recording_keeps_the_figures_of_other_environments(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    record(path, "CPython 3.11, libpq 15", [counted(100.4)])
    record(path, "CPython 3.12, libpq 17", [counted(90.0)])
    record(path, "CPython 3.11, libpq 15", [counted(80.0)])
    assert json.loads(path.read_text()) == {
        "CPython 3.11, libpq 15": {"holisticpool, asyncio, row": 80},
        "CPython 3.12, libpq 17": {"holisticpool, asyncio, row": 90},
    }


def test_every_watched_call_is_recorded() -> None:
    for where, figures in json.loads(recorded_figures.read_text()).items():
        assert set(figures) == {f"{driver}, asyncio, {workload}" for driver, workload in WATCHED}, where


def test_pool_keywords_are_json_or_text() -> None:
    assert [keyword(text) for text in ("pipeline=16", "pipeline=auto", "reset='x'", "max_waiters=null")] == [
        ("pipeline", 16),
        ("pipeline", "auto"),
        ("reset", "'x'"),
        ("max_waiters", None),
    ]
    with pytest.raises(argparse.ArgumentTypeError, match="no NAME=VALUE"):
        keyword("pipeline")


def test_callgrind_count_is_found_or_missed_aloud() -> None:
    assert total_of("version: 1\nevents: Ir\nsummary: 123456\n") == 123456
    with pytest.raises(DriverError):
        total_of("")
