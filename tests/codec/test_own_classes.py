"""The classes of holisticpool.types: loaded with the first codec that is found for one of them, and not before."""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections import deque
from typing import Any

import pytest
from type_oids import OIDS

from holisticpool import BitString, Box, Circle, Line, LineSegment, Path, Point, Polygon, Range, SparseVector, _core

Row = tuple[str | None, ...]

# What the text form of a value is, and the value.
VALUES: dict[str, tuple[str, object]] = {
    "BIT": ("101", BitString("101")),
    "VARBIT": ("101", BitString("101")),
    "POINT": ("(1,2)", Point(1, 2)),
    "LINE": ("{1,2,3}", Line(1, 2, 3)),
    "LSEG": ("[(1,2),(3,4)]", LineSegment((1, 2), (3, 4))),
    "BOX": ("(3,4),(1,2)", Box((3, 4), (1, 2))),
    "PATH": ("[(1,2),(3,4)]", Path((1, 2), (3, 4))),
    "POLYGON": ("((1,2),(3,4))", Polygon((1, 2), (3, 4))),
    "CIRCLE": ("<(1,2),3>", Circle((1, 2), 3)),
    "INT4RANGE": ("[1,2)", Range(1, 2)),
    "INT4MULTIRANGE": ("{[1,2)}", [Range(1, 2)]),
}

DOMAIN, DOMAINS, PAIR, PAIRS, SPAN, SPANS, SPARSE = range(16_385, 16_392)


def row(oid: int, kind: str, of: int | None, send: str, *attribute: str) -> Row:
    return (str(oid), f"type{oid}", kind, str(of) if of else None, ",", send, *attribute)


CATALOGUE = [
    row(DOMAIN, "d", OIDS["POINT"], "point_send"),
    row(DOMAINS, "b", DOMAIN, "array_send"),
    row(PAIR, "c", None, "record_send", "a", str(OIDS["INT4"])),
    row(PAIR, "c", None, "record_send", "b", str(DOMAIN)),
    row(PAIRS, "b", PAIR, "array_send"),
    row(SPAN, "r", OIDS["INT4"], "range_send"),
    row(SPANS, "m", SPAN, "multirange_send"),
    row(SPARSE, "b", None, "sparsevec_send"),
]

# By a name, and what is given to the functions besides the value.
CASES: dict[str, tuple[int, str, object, list[list[Row]]]] = {
    **{name: (OIDS[name], text, value, []) for name, (text, value) in VALUES.items()},
    **{
        f"{name}_ARRAY": (OIDS[f"{name}_ARRAY"], f'{{"{text}"}}', [value], []) for name, (text, value) in VALUES.items()
    },
    "domain": (DOMAIN, "(1,2)", Point(1, 2), [CATALOGUE]),
    "domain[]": (DOMAINS, '{"(1,2)"}', [Point(1, 2)], [CATALOGUE]),
    "composite": (PAIR, '(1,"(1,2)")', (1, Point(1, 2)), [CATALOGUE]),
    "composite[]": (PAIRS, '{"(1,\\"(1,2)\\")"}', [(1, Point(1, 2))], [CATALOGUE]),
    "range": (SPAN, "[1,2)", Range(1, 2), [CATALOGUE]),
    "multirange": (SPANS, "{[1,2)}", [Range(1, 2)], [CATALOGUE]),
    "sparsevec": (SPARSE, "{1:1.5}/3", SparseVector(3, (0,), (1.5,)), [CATALOGUE]),
}


@pytest.fixture
def fresh() -> Any:
    """A copy of the extension module that has found no codec yet."""
    spec = importlib.util.spec_from_file_location(_core.__name__, _core.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(value: Any) -> Any:
    """Rows as the tuples that they equal: those of another copy of the module are of another class."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return tuple(value) if type(value).__name__ == "Record" else value


@pytest.mark.parametrize("name", CASES)
def test_first_value_is_read_from_text(name: str, fresh: Any) -> None:
    oid, text, value, rows = CASES[name]
    assert plain(fresh.decode_text(oid, text.encode(), *rows)) == value


@pytest.mark.parametrize("name", CASES)
def test_first_value_is_read_from_binary(name: str, fresh: Any) -> None:
    oid, _, value, rows = CASES[name]
    assert plain(fresh.decode(oid, _core.encode(oid, value, *rows), *rows)) == value


@pytest.mark.parametrize("name", CASES)
def test_first_value_is_sent(name: str, fresh: Any) -> None:
    oid, _, value, rows = CASES[name]
    assert fresh.encode(oid, value, *rows) == _core.encode(oid, value, *rows)


def test_first_value_is_read_from_a_record(fresh: Any) -> None:
    record = struct.pack(">iIi2d", 1, OIDS["POINT"], 16, 1, 2)
    assert fresh.decode(OIDS["RECORD"], record) == (Point(1, 2),)


def test_paths_are_elements_and_other_containers_dimensions_from_the_first_value_on(fresh: Any) -> None:
    # A path is no integer; the numbers in the others are.
    with pytest.raises(ValueError, match="an integer is required, got Path"):
        fresh.encode(OIDS["INT4_ARRAY"], [Path((1, 2))])
    assert fresh.encode(OIDS["INT4_ARRAY"], [deque([1])]) == _core.encode(OIDS["INT4_ARRAY"], [[1]])


def test_other_types_do_without(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holisticpool.types", None)
    for name, value in (("INT4", 1), ("INT4_ARRAY", [[1, 2], [3, 4]]), ("TEXT_ARRAY", ("a", None)), ("INET", "::1")):
        data = fresh.encode(OIDS[name], value)
        assert data == fresh.encode(OIDS[name], fresh.decode(OIDS[name], data))
    assert fresh.decode(OIDS["RECORD"], struct.pack(">iIii", 1, OIDS["INT4"], 4, 1)) == (1,)


def test_import_that_fails_is_raised_and_tried_again(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    oid, text, value, _ = CASES["POINT"]
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "holisticpool.types", None)
        for _ in range(2):
            with pytest.raises(ImportError, match=r"holisticpool\.types"):
                fresh.decode_text(oid, text.encode())
            with pytest.raises(ImportError, match=r"holisticpool\.types"):
                fresh.encode(oid, value)
    assert fresh.decode_text(oid, text.encode()) == value
