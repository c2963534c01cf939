"""The statements that are measured and the tables they read.

Every statement takes one integer, `$1`, drawn from `keys`, and answers with exactly `rows` rows, which each driver must
prove before it is measured. The tables live in a schema of their own, so that a server given by --dsn stays clean.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SCHEMA = "holisticpool_bench"
USERS = 10_000
GROUPS = 100
GROUP_ROWS = 100
KEY_SEED = 20
"""Every driver draws the same keys in the same order."""


@dataclass(frozen=True)
class Workload:
    """One statement: `name` for the command line and JSON, `title` for people.

    `method` is what asyncpg's interface calls the way to run it: fetch, or execute where only the status is wanted.
    """

    name: str
    title: str
    sql: str
    keys: range
    rows: int
    method: str = "fetch"

    def shuffled_keys(self) -> list[int]:
        """All keys in a fixed random order."""
        keys = list(self.keys)
        random.Random(KEY_SEED).shuffle(keys)
        return keys


SCALAR = Workload("scalar", "SELECT $1::int", "SELECT $1::int", range(1, 1_001), 1)
ROW = Workload(
    "row",
    "10-column row by primary key",
    "SELECT id, email, full_name, age, active, balance, score, created_at, birth_date, profile"
    f" FROM {SCHEMA}.users WHERE id = $1",
    range(1, USERS + 1),
    1,
)
ROWS = Workload(
    "rows",
    "100 rows of 6 columns",
    f"SELECT id, group_id, name, price, active, created_at FROM {SCHEMA}.items WHERE group_id = $1",
    range(1, GROUPS + 1),
    GROUP_ROWS,
)
COMMAND = Workload("command", "SELECT $1::int, status only", "SELECT $1::int", range(1, 1_001), 1, "execute")
WORKLOADS = {workload.name: workload for workload in (SCALAR, ROW, ROWS, COMMAND)}
FETCHES = (SCALAR.name, ROW.name, ROWS.name)
"""What every driver can be measured with."""


def sleeping(milliseconds: float) -> Workload:
    """A statement that takes the server so long and costs it nothing."""
    return Workload(
        "sleep",
        f"a statement of {milliseconds:g} ms",
        f"SELECT $1::int FROM pg_sleep({milliseconds / 1_000})",
        range(1, 2),
        1,
    )


BULK = "bulk"
BULK_SQL = f"""
DROP TABLE IF EXISTS {SCHEMA}.{BULK};
CREATE UNLOGGED TABLE {SCHEMA}.{BULK} (id integer NOT NULL, name text NOT NULL, price double precision NOT NULL);
"""
"""What bulk work fills: unlogged, so that the disk is not what is measured."""

SETUP_SQL = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.users (
    id integer PRIMARY KEY,
    email text NOT NULL,
    full_name text NOT NULL,
    age smallint NOT NULL,
    active boolean NOT NULL,
    balance numeric(12, 2) NOT NULL,
    score double precision NOT NULL,
    created_at timestamptz NOT NULL,
    birth_date date NOT NULL,
    profile uuid NOT NULL
);
INSERT INTO {SCHEMA}.users
SELECT id, 'user' || id || '@example.org', 'First' || id || ' Last' || id, 18 + id % 70, id % 3 <> 0,
       (id * 37 % 1000000) / 100.0, id * 0.001, timestamptz '2024-01-01 00:00:00+00' + id * interval '1 minute',
       date '1950-01-01' + id, md5(id::text)::uuid
FROM generate_series(1, {USERS}) AS id;
CREATE TABLE {SCHEMA}.items (
    id integer PRIMARY KEY,
    group_id integer NOT NULL,
    name text NOT NULL,
    price double precision NOT NULL,
    active boolean NOT NULL,
    created_at timestamptz NOT NULL
);
INSERT INTO {SCHEMA}.items
SELECT id, 1 + (id - 1) / {GROUP_ROWS}, 'item number ' || id, id * 0.25, id % 2 = 0,
       timestamptz '2024-01-01 00:00:00+00' + id * interval '1 minute'
FROM generate_series(1, {GROUPS * GROUP_ROWS}) AS id;
CREATE INDEX ON {SCHEMA}.items (group_id);
VACUUM (FREEZE, ANALYZE) {SCHEMA}.users, {SCHEMA}.items;
"""
