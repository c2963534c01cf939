"""What `import holisticpool` costs a program that uses little of it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tempfile
import textwrap

import pytest

from holisticpool.check import UNSET

# Modules of the standard library that are needed by some types, options and errors only, and take long to import.
NEEDED_LATER = {
    "argparse",
    "dataclasses",
    "decimal",
    "hashlib",
    "ipaddress",
    "json",
    "random",
    "shutil",
    "tempfile",
    "urllib.parse",
    "uuid",
}

# Of the package itself.
LOADED_LATER = {
    f"holisticpool.{name}"
    for name in (
        "adapter",
        "alias",
        "codecs",
        "connect_utils",
        "copy_data",
        "cursor",
        "database",
        "leases",
        "metrics",
        "portions",
        "prepared_stmt",
        "reports",
        "stream",
        "tls",
        "transaction",
        "type_names",
        "types",
    )
}


def loaded_by(program: str) -> set[str]:
    """The modules that *program* loads in a process that has imported asyncio."""
    watched = f"import asyncio, sys; before = set(sys.modules); {program}; print(*sorted(set(sys.modules) - before))"
    # Not in the checkout, whose holisticpool has no extension.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_that_only_some_programs_need() -> None:
    assert loaded_by("import holisticpool") & NEEDED_LATER == set()


def test_import_loads_only_the_modules_of_its_own_that_a_pool_needs() -> None:
    assert loaded_by("import holisticpool") & LOADED_LATER == set()


def test_what_is_loaded_later_is_there_all_the_same() -> None:
    program = (
        "import holisticpool as h; assert h.database.db_pool is h.db_pool; assert h.codecs.TypeCodec is h.TypeCodec; "
        "from holisticpool import *; assert db_pool is h.db_pool; assert SupabaseAsyncPGAdapter is "
        "h.adapter.SupabaseAsyncPGAdapter; assert h.connect_utils.SSLMode.prefer"
    )
    assert "holisticpool.adapter" in loaded_by(program)


def test_every_module_that_is_loaded_later_is_an_attribute_of_the_package() -> None:
    attributes = LOADED_LATER - {"holisticpool.reports"}
    names = sorted(name.partition(".")[2] for name in attributes)
    assert loaded_by(f"import holisticpool as h; [getattr(h, name) for name in {names}]") > attributes


def test_names_of_modules_are_found_where_asyncpg_has_them() -> None:
    loaded_by(
        "from holisticpool.connection import ConnectionConfiguration, ConnectionParameters, LoggedQuery, Transaction; "
        "from holisticpool.pool import PoolAcquireContext, PoolConnectionHolder, PoolConnectionProxy; "
        "import holisticpool as h; assert h.pool.PoolConnectionProxy is h.leases.PoolConnectionProxy; "
        "assert Transaction is h.transaction.Transaction; assert h.ServerVersion is h.types.ServerVersion; "
        "assert not hasattr(h.connection, 'nothing') and not hasattr(h.pool, 'nothing') and not hasattr(h, 'nothing')"
    )


def test_values_of_our_own_classes_are_known_before_any_was_received() -> None:
    # Which of two nestings is meant is decided by the class of what is inside.
    program = (
        "import holisticpool as h; from holisticpool import _core; {of}; "
        "assert _core.decode({oid}, _core.encode({oid}, {value})) == {value}"
    )
    for of, oid, value in (
        ("R = h.Range", 6150, "[[R(1, 2)], []]"),
        ("P = h.Path", 1019, "[P((1, 2), (3, 4))]"),
        ("B = h.BitString", 1563, "[B('101')]"),
        ("C = h.Circle, h.Point", 719, "[C[0](C[1](1, 2), 3.0)]"),
    ):
        loaded_by(program.format(of=of, oid=oid, value=value))


# What makes a session find its first codec with classes of ours; for `schema` it has types of its own.
FIRST_USES = {
    "a column": "await session.fetchval('SELECT point(1, 2)') == holisticpool.Point(1, 2)",
    "a column of a record": "await session.fetchval('SELECT row(point(1, 2))') == (holisticpool.Point(1, 2),)",
    "a parameter": "await session.fetchval('SELECT isempty($1::int4range)', [1, 2]) is False",
    "a domain": "await session.fetchval('SELECT point(1, 2)::spot') == holisticpool.Point(1, 2)",
    "a codec like another type's": (
        "await session.set_builtin_type_codec('spot', schema=schema, codec_name='point') is None "
        "and await session.fetchval('SELECT point(1, 2)::spot') == holisticpool.Point(1, 2)"
    ),
    "a codec of tuples": (
        "await session.set_type_codec('pair', schema=schema, encoder=tuple, decoder=tuple, format='tuple') is None "
        "and await session.fetchval('SELECT (1, point(1, 2))::pair') == (1, holisticpool.Point(1, 2))"
    ),
    "a COPY": (
        "await session.copy_records_to_table('bits', records=[(b'a',)]) == 'COPY 1' "
        "and await session.fetchval('TABLE bits') == holisticpool.BitString(bin(ord('a'))[2:].zfill(8))"
    ),
}


@pytest.mark.parametrize("use", FIRST_USES)
def test_session_loads_our_classes_with_the_first_statement_of_such_a_type(use: str, dsn: str) -> None:
    program = textwrap.dedent(f"""
        import asyncio, sys
        import holisticpool

        async def main():
            session = await holisticpool.connect({dsn!r})
            await session.execute(
                "CREATE DOMAIN pg_temp.spot AS point; CREATE TYPE pg_temp.pair AS (a int, b pg_temp.spot); "
                "CREATE TEMPORARY TABLE bits (b varbit); SET search_path = pg_temp, pg_catalog"
            )
            schema = await session.fetchval("SELECT pg_my_temp_schema()::regnamespace::text")
            assert await session.fetchval("SELECT $1::int[]", [[1], [2]]) == [[1], [2]]
            assert await session.fetchval("SELECT row($1::text, $2::jsonb)", "a", "1") == ("a", "1")
            assert "holisticpool.types" not in sys.modules
            assert {FIRST_USES[use]}
            await session.close()

        asyncio.run(main())
    """)
    loaded_by(f"exec({program!r})")


def test_pool_loads_what_values_are_made_of_while_it_opens(dsn: str) -> None:
    program = textwrap.dedent(f"""
        import asyncio, sys
        import holisticpool

        async def main():
            async with holisticpool.create_pool({dsn!r}, min_size=1):
                assert {{"decimal", "uuid"}} <= set(sys.modules)

        asyncio.run(main())
    """)
    # The executor is for host names.
    assert "concurrent.futures.thread" not in loaded_by(f"exec({program!r})")


def test_the_mark_of_what_is_not_given_stays_the_one_when_copied() -> None:
    assert copy.copy(UNSET) is UNSET
    assert copy.deepcopy(UNSET) is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert repr(UNSET) == "UNSET"


def test_making_a_pool_loads_nothing_of_it_either() -> None:
    program = "import holisticpool; holisticpool.create_pool('postgresql://user:secret@host:5432/database')"
    assert loaded_by(program) & NEEDED_LATER == set()
