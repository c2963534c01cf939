"""pgvector's types: vector and halfvec as lists, sparsevec as SparseVector, in binary and without registering."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holisticpool
from holisticpool import Pool, SparseVector, _core

# Rows as the catalogue query gives them.
NAMES = ("vector", "halfvec", "sparsevec")
OIDS = {name: 90000 + i for i, name in enumerate(NAMES)}
ROWS = [(str(OIDS[name]), name, "b", None, ",", f"{name}_send", None, None, "public", name) for name in NAMES]


def encode(name: str, value: Any) -> bytes:
    encoded = _core.encode(OIDS[name], value, ROWS)
    assert encoded is not None
    return encoded


# ---- without a server ----


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS))
def test_vector_is_its_floats_in_network_order(values: list[float]) -> None:
    expected = struct.pack(f">HH{len(values)}f", len(values), 0, *values)
    for source in (values, tuple(values), array.array("f", values), array.array("d", values)):
        assert encode("vector", source) == expected
    assert encode("vector", str(values)) == expected


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False)))
def test_halfvec_is_its_halves_in_network_order(values: list[float]) -> None:
    expected = struct.pack(f">HH{len(values)}e", len(values), 0, *values)
    assert encode("halfvec", values) == expected
    halves = memoryview(struct.pack(f"={len(values)}e", *values)).cast("B")
    assert encode("halfvec", array.array("d", values)) == expected
    assert len(halves) == 2 * len(values)


@given(st.floats(min_value=-65519, max_value=65519))
def test_half_precision_is_the_nearest_ties_to_even(value: float) -> None:
    assert encode("halfvec", [value])[4:] == struct.pack(">e", value)


@pytest.mark.parametrize("code", list("bBhHiIlLqQfd"))
def test_buffers_of_each_number_type(code: str) -> None:
    values = [1, 2, 3]
    expected = encode("vector", [1.0, 2.0, 3.0])
    assert encode("vector", array.array(code, values)) == expected
    assert encode("vector", memoryview(array.array(code, values))) == expected
    assert encode("vector", memoryview(array.array(code, [3, 2, 1]))[::-1]) == expected


@pytest.mark.parametrize("code", ["float16", "float32", "float64", "int8", "int64", "uint16"])
def test_numpy_arrays_are_taken_by_their_buffer(code: str) -> None:
    numpy = pytest.importorskip("numpy")
    for name in ("vector", "halfvec"):
        assert encode(name, numpy.array([1, 2, 3], dtype=code)) == encode(name, [1, 2, 3])
        assert encode(name, numpy.arange(6, dtype=code)[::2]) == encode(name, [0, 2, 4])
    with pytest.raises(ValueError, match="one dimension"):
        encode("vector", numpy.zeros((2, 2), dtype=code))
    assert encode("sparsevec", numpy.array([0, 1, 0], dtype=code)) == encode("sparsevec", [0, 1, 0])


@given(st.lists(FLOATS))
def test_sparsevec_leaves_zeros_out(values: list[float]) -> None:
    items = {i: value for i, value in enumerate(values) if value}
    n = len(items)
    expected = struct.pack(f">iii{n}i{n}f", len(values), n, 0, *items, *items.values())
    vector = SparseVector.from_dict(dict(enumerate(values)), len(values))
    text = "{" + ",".join(f"{i + 1}:{value!r}" for i, value in items.items()) + f"}}/{len(values)}"
    for source in (values, vector, text, array.array("d", values)):
        assert encode("sparsevec", source) == expected
    assert vector.to_list() == [value or 0.0 for value in values]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [(name, value, TypeError) for name in NAMES for value in (5, b"\0\0\0\0", None.__class__, {"a": 1}, 1.5)]
    + [(name, value, ValueError) for name in NAMES for value in (["x"], [[1]], [None], "x", "", [1, "2"])]
    + [("vector", text, ValueError) for text in ("[1,2", "[1,]", "[1 2]", "[1]x", "1,2", "[,1]", "[1,2]]")]
    + [("sparsevec", text, ValueError) for text in ("{1:2}", "{1:2}/", "{0:1}/3", "{1.5:1}/3", "{1}/3", "{1:2}/3x")]
    + [("vector", [1e39], OverflowError), ("halfvec", [65520], OverflowError), ("vector", [0] * 32768, ValueError)]
    + [("sparsevec", SparseVector(3, (0, 1), (1.0,)), ValueError), ("vector", array.array("u", "ab"), ValueError)]
    + [
        ("sparsevec", SparseVector(-1, (), ()), OverflowError),
        ("sparsevec", SparseVector(3, ("x",), (1.0,)), TypeError),
    ],  # type: ignore[arg-type]
)
def test_what_is_no_vector_is_refused(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(name, value)


@given(st.sampled_from(NAMES), st.binary())
def test_malformed_values_are_refused_or_read(name: str, data: bytes) -> None:
    for decode in (_core.decode, _core.decode_text):
        try:
            value = decode(OIDS[name], data, ROWS)
        except ValueError:
            continue
        assert isinstance(value, SparseVector if name == "sparsevec" else list)


@given(st.lists(FLOATS))
def test_binary_and_text_form_are_read_alike(values: list[float]) -> None:
    for name in ("vector", "sparsevec"):
        sent = encode(name, values)
        read = _core.decode(OIDS[name], sent, ROWS)
        assert (read.to_list() if name == "sparsevec" else read) == values
    assert _core.decode_text(OIDS["vector"], str(values).encode(), ROWS) == values


def test_text_form_with_spaces() -> None:
    assert encode("vector", " [ 1 , -2.5e0 ] ") == encode("vector", [1, -2.5])
    assert encode("sparsevec", " { 1 : 2 , 3 : 4 } / 5 ") == encode("sparsevec", SparseVector(5, (0, 2), (2.0, 4.0)))


# ---- against the server ----


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    """A pool that reads vectors as lists, on a server with pgvector."""
    async with holisticpool.create_pool(dsn, min_size=1, max_size=1, vector="list") as made:
        await need_pgvector(made)
        yield made


async def need_pgvector(pool: Any) -> None:
    if not await pool.fetchval("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"):
        pytest.skip("this server has no pgvector")
    await pool.execute("CREATE EXTENSION IF NOT EXISTS vector")


@pytest.mark.parametrize("suffix", ["", ", 'pg_class'::regclass"])
async def test_vectors_go_both_ways(pool: Pool, suffix: str) -> None:
    values = [1.5, -2.0, 0.0, math.pi, 1e-30]
    narrow = list(struct.unpack("5f", struct.pack("5f", *values)))
    halves = list(struct.unpack("5e", struct.pack("5e", *values)))
    assert await pool.fetchval(f"SELECT $1::vector{suffix}", values) == narrow
    assert await pool.fetchval(f"SELECT $1::halfvec{suffix}", values) == halves
    sparse = SparseVector(7, (1, 6), (1.5, -2.5))
    read = await pool.fetchval(f"SELECT $1::sparsevec{suffix}", sparse)
    assert read == sparse
    assert type(read) is SparseVector
    assert await pool.fetchval(f"SELECT $1::vector(3){suffix}", "[1,2,3]") == [1, 2, 3]
    assert await pool.fetchval(f"SELECT ARRAY[$1::vector, NULL]{suffix}", [1, 2]) == [[1, 2], None]
    assert await pool.fetchval(f"SELECT $1::vector[]{suffix}", [[1, 2], [3], None]) == [[1, 2], [3], None]


async def test_vectors_need_no_round_trip_for_a_new_connection(dsn: str) -> None:
    async with holisticpool.create_pool(dsn, min_size=2, max_size=2, vector="list") as pool:
        await need_pgvector(pool)
        before = pool._stats()["queries"]
        async with pool.acquire() as one, pool.acquire() as two:
            for connection in (one, two):
                assert await connection.fetchval("SELECT $1::vector", [1, 2]) == [1, 2]
        assert pool._stats()["queries"] == before + 2


async def test_distances_are_computed_by_the_server(pool: Pool) -> None:
    await pool.execute("CREATE TABLE embedded (id int, e vector(3), h halfvec(3))")
    try:
        rows = [(n, [n, 0, 0], [n, 0, 0]) for n in range(5)]
        await pool.executemany("INSERT INTO embedded VALUES ($1, $2, $3)", rows)
        nearest = await pool.fetch(
            "SELECT id, e, h FROM embedded ORDER BY e <-> $1 LIMIT 1", array.array("f", [2.9, 0, 0])
        )
        assert nearest == [(3, [3, 0, 0], [3, 0, 0])]
    finally:
        await pool.execute("DROP TABLE embedded")


async def test_vectors_are_text_unless_asked_for_but_lists_are_taken(dsn: str) -> None:
    async with await holisticpool.connect(dsn) as connection:
        await need_pgvector(connection)
        assert await connection.fetchval("SELECT $1::vector", [1, 2.5]) == "[1,2.5]"
        assert await connection.fetchval("SELECT $1::vector", "[1,2.5]") == "[1,2.5]"
        assert await connection.fetchval("SELECT $1::sparsevec", [0, 2.5]) == "{2:2.5}/2"


@pytest.mark.parametrize("value", [[], [float("nan")], [float("inf")]])
async def test_vector_that_the_server_refuses_keeps_the_connection(pool: Pool, value: list[float]) -> None:
    with pytest.raises(holisticpool.DataError):
        await pool.fetchval("SELECT $1::vector", value)
    assert await pool.fetchval("SELECT $1::vector", [1]) == [1]


async def test_codec_of_a_session_wins(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.set_type_codec("vector", encoder=str, decoder=str.upper)
        assert await connection.fetchval("SELECT $1::vector", [1, 2]) == "[1,2]"
        await connection.set_type_codec("vector", encoder=bytes, decoder=len, format="binary")
        assert await connection.fetchval("SELECT '[1,2]'::vector") == 12
        await connection.reset_type_codec("vector")
        assert await connection.fetchval("SELECT '[1,2]'::vector") == [1, 2]


def test_wrong_option_is_refused(dsn: str) -> None:
    with pytest.raises(holisticpool.ClientConfigurationError, match="vector is expected to be"):
        holisticpool.create_pool(dsn, vector="numpy")
