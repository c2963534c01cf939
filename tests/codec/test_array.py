"""Arrays: shapes, NULLs, every element type, both formats, and what is no array."""

from __future__ import annotations

import collections
import datetime as dt
import struct
import types
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

INTS, TEXTS = OIDS["INT4_ARRAY"], OIDS["TEXT_ARRAY"]

int4 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def shaped(draw: st.DrawFn, elements: st.SearchStrategy[Any]) -> Any:
    """Nested lists of one to six dimensions, none of them empty."""

    def build(dims: list[int]) -> Any:
        return [build(dims[1:]) if len(dims) > 1 else draw(elements) for _ in range(dims[0])]

    return build(draw(st.lists(st.integers(1, 3), min_size=1, max_size=6)))


def literal(value: Any) -> str:
    """As array_out() prints it, with every element in quotes."""
    if isinstance(value, list):
        return "{" + ",".join(literal(item) for item in value) + "}"
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(shaped(st.none() | int4))
def test_integers_return_in_both_formats(value: Any) -> None:
    assert _core.decode(INTS, _core.encode(INTS, value)) == value
    assert _core.decode_text(INTS, literal(value).encode()) == value


@given(shaped(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_texts_return_in_both_formats(value: Any) -> None:
    assert _core.decode(TEXTS, _core.encode(TEXTS, value)) == value
    assert _core.decode_text(TEXTS, literal(value).encode()) == value


@given(shaped(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_elements_that_go_as_text_are_sent_as_a_literal(value: Any) -> None:
    for name in ("MONEY_ARRAY", "REGCLASS_ARRAY", "MACADDR_ARRAY", "TSVECTOR_ARRAY"):
        assert _core.decode_text(OIDS[name], _core.encode(OIDS[name], value)) == value


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("BOOL", True),
        ("INT2", 1),
        ("INT8", 2**40),
        ("OID", 2**32 - 1),
        ("FLOAT4", 1.5),
        ("FLOAT8", 0.1),
        ("NUMERIC", Decimal("1.50")),
        ("BYTEA", b"\0\xff"),
        ("CHAR", b"x"),
        ("UUID", uuid.UUID(int=5)),
        ("DATE", dt.date(2020, 1, 1)),
        ("TIME", dt.time(1, 2, 3)),
        ("TIMESTAMP", dt.datetime(2020, 1, 1, 1)),
        ("TIMESTAMPTZ", dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)),
        ("INTERVAL", dt.timedelta(1, 2, 3)),
        ("JSONB", '{"a": 1}'),
    ],
)
def test_every_family_has_arrays(name: str, element: Any) -> None:
    oid = OIDS[f"{name}_ARRAY"]
    assert _core.decode(oid, _core.encode(oid, [element, None])) == [element, None]


def test_wire_form() -> None:
    wire = _core.encode(INTS, [[1, None], [3, 4]])
    assert wire[:28] == struct.pack(">iiIiiii", 2, 1, OIDS["INT4"], 2, 1, 2, 1)
    assert wire[28:] == struct.pack(">iiiiiii", 4, 1, -1, 4, 3, 4, 4)
    assert _core.encode(INTS, [1])[4:8] == b"\0\0\0\0"  # no NULLs


@pytest.mark.parametrize("value", [[], [[]], [[], []], [[[]], [[]]]])
def test_every_empty_shape_is_the_empty_array(value: Any) -> None:
    wire = _core.encode(INTS, value)
    assert wire == struct.pack(">iiI", 0, 0, OIDS["INT4"])
    assert _core.decode(INTS, wire) == []
    assert _core.encode(OIDS["MONEY_ARRAY"], value) == b"{}"
    assert _core.decode_text(INTS, b"{}") == []


@pytest.mark.parametrize(
    "value",
    [(1, 2), range(1, 3), {1: "a", 2: "b"}.keys(), dict(a=1, b=2).values(), collections.deque([1, 2]), {1, 2}],
)
def test_sized_iterables_are_arrays(value: Any) -> None:
    assert _core.decode(INTS, _core.encode(INTS, value)) == [1, 2]


class Sequence:
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter([1, 2])


def test_class_with_len_and_iter_is_an_array_at_any_level() -> None:
    assert _core.decode(INTS, _core.encode(INTS, Sequence())) == [1, 2]
    assert _core.decode(INTS, _core.encode(INTS, [Sequence(), [3, 4]])) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "value",
    [5, "ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), {1: 2}, collections.OrderedDict(), iter([1]), object()]
    + [types.MappingProxyType({}), collections.ChainMap(), (x for x in [1])],
)
def test_other_objects_are_no_arrays(value: Any) -> None:
    for oid in (INTS, OIDS["MONEY_ARRAY"], OIDS["INT2VECTOR"]):
        with pytest.raises(TypeError, match="^a sized iterable container is required, got "):
            _core.encode(oid, value)


@pytest.mark.parametrize(
    "value", [[[1], [1, 2]], [[1, 2], [1]], [1, [2]], [[1], 2], [None, [1]], [[1], None], [[], [1]], [[[]], [[1]]]]
)
def test_ragged_array_is_refused(value: Any) -> None:
    for oid in (INTS, OIDS["MONEY_ARRAY"]):
        with pytest.raises(ValueError, match="non-homogeneous array"):
            _core.encode(oid, value if oid == INTS else _as_text(value))


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return None if value is None else str(value)


def test_seven_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 6 dimensions"):
        _core.encode(INTS, [[[[[[[1]]]]]]])


def test_list_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="more than 6 dimensions"):
        _core.encode(INTS, loop)


def test_tuple_inside_an_array_is_an_element() -> None:
    with pytest.raises(ValueError, match="^invalid array element at index 0: an integer is required, got tuple$"):
        _core.encode(INTS, [(1, 2)])


def test_error_names_the_element() -> None:
    with pytest.raises(ValueError, match="^invalid array element at index 2: an integer is required, got str$"):
        _core.encode(INTS, [1, 2, "x"])
    with pytest.raises(OverflowError, match="^invalid array element at index 1: value out of int32 range$"):
        _core.encode(INTS, [1, 2**31])
    with pytest.raises(ValueError, match="^invalid array element: expected str, got int$"):
        _core.encode(OIDS["MONEY_ARRAY"], [["a"], [1]])
    with pytest.raises(ValueError, match="^invalid array element at index 0: .*surrogates not allowed$"):
        _core.encode(TEXTS, ["\ud800"])


def test_list_that_changes_while_it_is_encoded_is_refused() -> None:
    value: list[Any] = []

    class Shrinks:
        def __index__(self) -> int:
            value.clear()
            return 1

    value += [Shrinks(), 2, 3]
    with pytest.raises(ValueError, match="non-homogeneous array"):
        _core.encode(INTS, value)


def test_exception_of_an_element_reaches_the_caller() -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _core.encode(INTS, [Broken()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{1,NULL,3}", [1, None, 3]),
        ("[0:1]={1,2}", [1, 2]),
        ("[-2:-1][5:6]={{1,2},{3,4}}", [[1, 2], [3, 4]]),
        ('{"1"}', [1]),
        ("{\\1}", [1]),
    ],
)
def test_literal_of_numbers_is_read(text: str, expected: Any) -> None:
    assert _core.decode_text(INTS, text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{a,"b c","","NULL","\\"\\\\"}', ["a", "b c", "", "NULL", '"\\']),
        ("{a b,NULL}", ["a b", None]),
        ("{\\N\\U\\L\\L}", ["NULL"]),
        ("{{a},{b}}", [["a"], ["b"]]),
    ],
)
def test_literal_of_texts_is_read(text: str, expected: Any) -> None:
    assert _core.decode_text(TEXTS, text.encode()) == expected


def test_literal_has_the_delimiter_of_its_element() -> None:
    boxes = [((1, 1), (0, 0)), ((3, 3), (2, 2))]
    assert _core.decode_text(OIDS["BOX_ARRAY"], b"{(1,1),(0,0);(3,3),(2,2)}") == boxes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "}",
        "1",
        "{1",
        "{1,",
        "{1,}",
        "{,1}",
        "{1}}",
        "{1}x",
        "{{1},2}",
        "{1,{2}}",
        "{{1},{2,3}}",
        '{"1}',
        "{1\\",
    ]
    + ["[0:1", "[0:1]", "[0:1]=", "{{{{{{{1}}}}}}}", '{1"2"}', '{"1"2}', "{1 ,2}", "{1;2}", "{x}"],
)
def test_malformed_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        _core.decode_text(INTS, text.encode())


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0" * 11,
        struct.pack(">iiI", -1, 0, 23),
        struct.pack(">iiI", 7, 0, 23),
        struct.pack(">iiI", 1, 0, 23),
        struct.pack(">iiIii", 1, 0, 23, -1, 1),
        struct.pack(">iiIii", 1, 0, 23, 2**31 - 1, 1),
        struct.pack(">iiIiiii", 2, 0, 23, 2**31 - 1, 1, 2**31 - 1, 1),
        struct.pack(">iiIiiii", 2, 0, 23, 2**31 - 1, 1, 0, 1) + b"x",
        struct.pack(">iiIiii", 1, 0, 23, 1, 1, 5),
        struct.pack(">iiIiii", 1, 0, 23, 1, 1, -2),
        struct.pack(">iiIiiii", 1, 0, 23, 1, 1, 4, 1) + b"x",
        struct.pack(">iiIi", 0, 0, 23, 0),
        struct.pack(">iiI12i", 6, 0, 23, *([2**31 - 1, 1] * 6)),
    ],
)
def test_malformed_field_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"malformed integer\[\]"):
        _core.decode(INTS, wire)


def test_array_with_an_empty_dimension_is_empty_however_large_the_other() -> None:
    assert _core.decode(INTS, struct.pack(">iiIiiii", 2, 0, 23, 2**31 - 1, 1, 0, 1)) == []


@given(st.lists(st.integers(-(2**15), 2**15 - 1)))
def test_vector_is_sent_and_read_as_numbers_with_spaces(value: list[int]) -> None:
    oid = OIDS["INT2VECTOR"]
    assert _core.encode(oid, value) == " ".join(map(str, value)).encode()
    assert _core.decode_text(oid, _core.encode(oid, value)) == value


@given(st.lists(st.lists(st.integers(0, 2**32 - 1))))
def test_array_of_vectors_returns(value: list[list[int]]) -> None:
    oid = OIDS["OIDVECTOR_ARRAY"]
    assert _core.decode_text(oid, _core.encode(oid, value)) == value


@pytest.mark.parametrize("text", ["x", "1  2", " 1", "32768"])
def test_malformed_vector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed smallint"):
        _core.decode_text(OIDS["INT2VECTOR"], text.encode())
