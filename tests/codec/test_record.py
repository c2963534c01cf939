"""Record: a tuple of values that also answers to column names."""

from __future__ import annotations

import collections
import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

from holisticpool import _core

Record = _core.Record


class MyRecord(Record):
    pass


class SlottedRecord(Record):
    __slots__ = ()


def make(cls: Any = Record, /, **columns: Any) -> Any:
    return cls._restore(tuple(columns), tuple(columns.values()))


@pytest.fixture
def record() -> Any:
    return make(a=1, b="x", c=None)


def test_values_are_found_by_position(record: Any) -> None:
    assert (record[0], record[1], record[-1]) == (1, "x", None)
    for index in (3, -4, 10**30):
        with pytest.raises(IndexError):
            record[index]


def test_values_are_found_by_name(record: Any) -> None:
    assert (record["a"], record["c"]) == (1, None)
    for key in ("d", 1.5, None, ("a",)):
        with pytest.raises(KeyError):
            record[key]


def test_slice_is_a_tuple(record: Any) -> None:
    assert record[1:] == ("x", None)
    assert record[::-1] == (None, "x", 1)
    assert record[5:] == ()
    assert type(record[:]) is tuple


def test_get_has_a_default(record: Any) -> None:
    assert (record.get("a"), record.get("d"), record.get("d", 7), record.get("c", 7)) == (1, None, 7, None)
    for arguments in ((), ("a", 1, 2)):
        with pytest.raises(TypeError):
            record.get(*arguments)


def test_keys_values_and_items(record: Any) -> None:
    assert list(record.keys()) == ["a", "b", "c"]
    assert list(record.values()) == list(record) == [1, "x", None]
    assert list(record.items()) == [("a", 1), ("b", "x"), ("c", None)]
    assert dict(record) == dict(record.items()) == {"a": 1, "b": "x", "c": None}


def test_iterators_know_what_is_left_and_stay_exhausted(record: Any) -> None:
    for iterator in (iter(record), record.items()):
        assert iterator.__length_hint__() == 3
        next(iterator)
        assert iterator.__length_hint__() == 2
        assert len(list(iterator)) == 2
        assert iterator.__length_hint__() == 0
        assert list(iterator) == []


def test_membership_is_of_names(record: Any) -> None:
    assert "a" in record
    assert "x" not in record
    assert 1 not in record
    assert [] not in record


def test_len_and_truth(record: Any) -> None:
    assert len(record) == 3
    assert record
    assert not make()


def test_duplicate_names_give_the_last_but_iterate_over_all() -> None:
    record = Record._restore(("a", "b", "a"), (1, 2, 3))
    assert record["a"] == 3
    assert list(record.items()) == [("a", 1), ("b", 2), ("a", 3)]
    assert repr(record) == "<Record a=1 b=2 a=3>"


def test_hash_is_that_of_the_tuple(record: Any) -> None:
    assert hash(record) == hash((1, "x", None))
    assert {record: 1}[(1, "x", None)] == 1
    with pytest.raises(TypeError):
        hash(make(a=[]))


Pair = collections.namedtuple("Pair", "a b")


def test_equality_with_tuples_and_records() -> None:
    record = make(a=1, b=2)
    assert record == (1, 2) == record
    assert record == Pair(1, 2)
    assert record == make(x=1, y=2)
    assert record == make(MyRecord, a=1, b=2)
    assert record != (1, 3)
    assert record != (1, 2, 3)
    assert record != [1, 2]
    assert record != make(a=1)


def test_ordering_with_tuples_and_records() -> None:
    record = make(a=1, b=2)
    assert record < (1, 3)
    assert (1, 1) < record
    assert record <= make(a=1, b=2)
    assert record > make(z=1)
    assert sorted([make(a=2), (1,), make(a=0)]) == [(0,), (1,), (2,)]
    with pytest.raises(TypeError):
        record < [1, 2]  # noqa: B015


def test_repr(record: Any) -> None:
    assert repr(record) == str(record) == "<Record a=1 b='x' c=None>"
    assert repr(make()) == "<Record>"
    assert repr(make(MyRecord, a=1)) == "<MyRecord a=1>"


def test_repr_of_a_record_within_itself_ends() -> None:
    values: list[Any] = []
    record = make(a=values)
    values.append(record)
    assert repr(record) == "<Record a=[<Record ...>]>"


def test_exception_of_a_values_repr_reaches_the_caller() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        repr(make(a=Broken()))


@pytest.mark.parametrize("cls", [Record, MyRecord, SlottedRecord])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_returns_an_equal_record_of_the_same_class(cls: Any, protocol: int) -> None:
    record = make(cls, a=1, b=[2])
    result = pickle.loads(pickle.dumps(record, protocol))
    assert type(result) is cls
    assert result == record
    assert list(result.keys()) == ["a", "b"]


def test_attributes_of_a_subclass_are_pickled() -> None:
    record = make(MyRecord, a=1)
    record.note = "kept"
    assert pickle.loads(pickle.dumps(record)).note == "kept"
    assert copy.copy(record).note == "kept"


def test_copy_shares_values_and_deepcopy_does_not() -> None:
    record = make(a=[1])
    assert copy.copy(record)["a"] is record["a"]
    assert copy.deepcopy(record) == record
    assert copy.deepcopy(record)["a"] is not record["a"]


def test_class_cannot_be_called() -> None:
    with pytest.raises(TypeError, match=r"^cannot create 'holisticpool\.Record' instances$"):
        Record()
    with pytest.raises(TypeError, match="^cannot create"):
        MyRecord()


def test_record_has_no_attributes_for_its_columns_and_is_immutable(record: Any) -> None:
    with pytest.raises(AttributeError):
        record.a  # noqa: B018
    with pytest.raises(AttributeError):
        record.a = 1
    with pytest.raises(TypeError):
        record["a"] = 1
    with pytest.raises(TypeError):
        Record.get = None


def test_subclass_may_add_attribute_access() -> None:
    class Dotted(Record):
        def __getattr__(self, name: str) -> Any:
            return self[name]

    assert make(Dotted, a=5).a == 5


@pytest.mark.parametrize("bad", [((), (1,)), (("a",), ()), (["a"], [1]), ((1,), (1,)), (("a",),)])
def test_restoring_from_nonsense_is_refused(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Record._restore(*bad)


def test_row_of_plain_values_is_not_tracked_by_the_collector() -> None:
    assert not gc.is_tracked(make(a=1, b="x", c=None, d=1.5, e=b""))
    assert gc.is_tracked(make(a=[1]))
    assert gc.is_tracked(make(a={"b": 1}))
    assert gc.is_tracked(make(MyRecord, a=1))


@pytest.mark.parametrize("cls", [Record, MyRecord])
def test_cycle_through_a_value_is_collected(cls: Any) -> None:
    class Node:
        record: Any

    node = Node()
    node.record = make(cls, node=node)
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_cycle_through_an_attribute_is_collected() -> None:
    class Node:
        record: Any

    node = Node()
    record = make(MyRecord, a=1)
    record.node = node
    node.record = record
    gone = weakref.ref(node)
    del node, record
    gc.collect()
    assert gone() is None


def test_deeply_nested_records_are_freed() -> None:
    record = make(a=None)
    for _ in range(200_000):
        record = make(a=record)
    del record


def test_freed_records_are_reused_without_mixing_them_up() -> None:
    for width in range(40):
        names = tuple(f"c{i}" for i in range(width))
        for start in range(300):
            record = Record._restore(names, tuple(range(start, start + width)))
            assert record == tuple(range(start, start + width))
            assert list(record.keys()) == list(names)
