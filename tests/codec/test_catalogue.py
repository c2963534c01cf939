"""Types as the catalogue query describes them, without a server: composite values, and damaged catalogues."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import OutdatedSchemaCacheError, Range, _core

encode: Any = _core.encode
decode: Any = _core.decode
decode_text: Any = _core.decode_text

Row = tuple[str | None, ...]

INT4, TEXT, MONEY = OIDS["INT4"], OIDS["TEXT"], OIDS["MONEY"]
PAIR, PAIRS, NESTED, SPAN, SPANS, DOMAIN, MIXED = range(16_385, 16_392)


def composite(oid: int, name: str, **attributes: int) -> list[Row]:
    return [(str(oid), name, "c", None, ",", "record_send", key, str(value)) for key, value in attributes.items()]


def derived(oid: int, name: str, kind: str, of: int) -> Row:
    return (str(oid), name, kind, str(of), ",", "array_send", None, None)


CATALOGUE = [
    *composite(PAIR, "pair", a=INT4, b=TEXT),
    derived(PAIRS, "pair[]", "b", PAIR),
    *composite(NESTED, "nested", p=PAIR, ps=PAIRS, s=SPAN, d=DOMAIN),
    derived(SPAN, "span", "r", INT4),
    derived(SPANS, "spans", "m", SPAN),
    derived(DOMAIN, "dpair", "d", PAIR),
    *composite(MIXED, "mixed", m=MONEY, i=INT4),
]

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
pairs = st.tuples(st.none() | st.integers(-(2**31), 2**31 - 1), st.none() | texts)
spans = st.builds(Range, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), upper_inc=st.booleans())
nested = st.tuples(st.none() | pairs, st.none() | st.lists(st.none() | pairs), st.none() | spans, st.none() | pairs)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def literal(value: Any) -> str:
    """As record_out(), array_out() and range_out() print it, with everything in quotes."""
    if isinstance(value, tuple):
        return "(" + ",".join("" if item is None else quoted(literal(item)) for item in value) + ")"
    if isinstance(value, list):
        items = [literal(item).replace("\\", "\\\\").replace('"', '\\"') for item in value if item is not None]
        found = iter(items)
        return "{" + ",".join("NULL" if item is None else f'"{next(found)}"' for item in value) + "}"
    if isinstance(value, Range):
        lower, upper = ("" if bound is None else str(bound) for bound in (value.lower, value.upper))
        return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"
    return str(value)


@given(nested)
def test_nested_value_returns_in_both_formats(value: Any) -> None:
    assert decode(NESTED, encode(NESTED, value, CATALOGUE), CATALOGUE) == value
    assert decode_text(NESTED, literal(value).encode(), CATALOGUE) == value


@given(pairs)
def test_mapping_is_the_same_as_the_sequence(value: Any) -> None:
    given_ = {name: field for name, field in zip("ab", value, strict=True) if field is not None}
    assert encode(PAIR, given_, CATALOGUE) == encode(PAIR, value, CATALOGUE) == encode(PAIR, list(value), CATALOGUE)
    returned = decode(PAIR, encode(PAIR, value, CATALOGUE), CATALOGUE)
    assert encode(PAIR, returned, CATALOGUE) == encode(PAIR, value, CATALOGUE)


@given(st.lists(spans))
def test_multirange_of_the_database_returns(value: Any) -> None:
    assert decode(SPANS, encode(SPANS, value, CATALOGUE), CATALOGUE) == value


@given(st.tuples(st.none() | texts, st.none() | st.integers(-(2**31), 2**31 - 1)))
def test_type_with_an_attribute_that_goes_as_text_is_sent_as_text(value: Any) -> None:
    assert decode_text(MIXED, encode(MIXED, value, CATALOGUE), CATALOGUE) == value
    with pytest.raises(LookupError, match="no binary decoder"):
        decode(MIXED, b"", CATALOGUE)


# ---- fields that are not as they should be ----

WIRE: bytes = encode(NESTED, ((1, "a"), [(2, "b"), None], Range(1, 5), (None, None)), CATALOGUE)
REFUSALS = (ValueError, OverflowError, OutdatedSchemaCacheError)


def survives(function: Any, oid: int, data: bytes) -> None:
    try:
        function(oid, data, CATALOGUE)
    except REFUSALS as refusal:
        assert str(refusal)


def test_every_truncation_and_every_changed_byte_is_survived() -> None:
    for length in range(len(WIRE)):
        survives(decode, NESTED, WIRE[:length])
    for at in range(len(WIRE)):
        for byte in (0, 1, 0x7F, 0x80, 0xFF):
            survives(decode, NESTED, WIRE[:at] + bytes([byte]) + WIRE[at + 1 :])


@pytest.mark.parametrize("oid", [PAIR, PAIRS, NESTED, SPAN, SPANS, DOMAIN])
@settings(max_examples=50)
@given(data=st.binary(max_size=80))
@example(data=b"")
def test_random_bytes_never_crash_a_decoder(oid: int, data: bytes) -> None:
    survives(decode, oid, data)
    survives(decode_text, oid, data)


@pytest.mark.parametrize("oid", [PAIR, PAIRS, NESTED, SPAN, SPANS, DOMAIN, MIXED])
@settings(max_examples=100)
@given(data=st.lists(st.sampled_from(b'0123a"\\,;()[]{} \0\xff'), max_size=40).map(bytes))
def test_random_words_of_the_text_form_never_crash_a_decoder(oid: int, data: bytes) -> None:
    survives(decode_text, oid, data)


@pytest.mark.parametrize("text", ["", "(", "()", "(1", "(1)", "(1,2,3)", "1,2", "(1,2)x", '(1,"2)', "(1,2\\", "(x,2)"])
def test_malformed_text_is_refused(text: str) -> None:
    with pytest.raises((ValueError, OutdatedSchemaCacheError)):
        decode_text(PAIR, text.encode(), CATALOGUE)


def test_value_of_another_shape_says_that_the_type_was_altered() -> None:
    other = [
        composite(PAIR, "pair", a=INT4),
        composite(PAIR, "pair", a=INT4, b=TEXT, c=TEXT),
        composite(PAIR, "pair", a=INT4, b=OIDS["VARCHAR"]),
    ]
    for catalogue in other:
        with pytest.raises(OutdatedSchemaCacheError, match="pair: it was altered"):
            decode(PAIR, encode(PAIR, (1, "x"), CATALOGUE), catalogue)


# ---- catalogues that are not as they should be ----


def test_type_that_is_missing_comes_as_text() -> None:
    assert decode_text(PAIR, b"(1,x)", []) == "(1,x)"
    assert decode_text(PAIRS, b'{"(1,x)",NULL}', [derived(PAIRS, "pair[]", "b", PAIR)]) == ["(1,x)", None]
    assert decode_text(NESTED, b"(x)", composite(NESTED, "nested", p=PAIR)) == ("x",)


@pytest.mark.parametrize(
    "catalogue",
    [
        composite(PAIR, "pair", a=PAIR, b=PAIR),
        [*composite(PAIR, "pair", a=PAIRS, b=PAIRS), derived(PAIRS, "pair[]", "b", PAIR)],
        [derived(PAIR, "pair", "d", PAIR)],
        [derived(PAIR, "pair", "r", PAIRS), derived(PAIRS, "pairs", "m", PAIR)],
        [derived(PAIR, "pair", "m", INT4)],
        [derived(PAIR, "pair", "m", PAIR)],
    ],
)
def test_catalogue_with_a_cycle_ends(catalogue: list[Row]) -> None:
    for text in (b"(1,2)", b"{[1,2)}", b"{1}", b"1"):
        survives_with(catalogue, decode_text, text)
        survives_with(catalogue, decode, text)


def survives_with(catalogue: list[Row], function: Any, data: bytes) -> None:
    try:
        function(PAIR, data, catalogue)
    except (*REFUSALS, LookupError) as refusal:
        assert str(refusal)


def test_rows_need_not_be_in_any_order_of_types() -> None:
    by_type = [CATALOGUE[7:], CATALOGUE[3:7], CATALOGUE[:3]]
    catalogue = [row for rows in by_type for row in rows]
    value = ((1, "a"), [], None, None)
    assert decode(NESTED, encode(NESTED, value, catalogue), catalogue) == value


def test_wire_form() -> None:
    assert encode(PAIR, (1, None), CATALOGUE) == struct.pack(">iIiiIi", 2, INT4, 4, 1, TEXT, -1)
    assert encode(MIXED, ('$1 "x"', 5), CATALOGUE) == b'("$1 \\"x\\"","5")'
