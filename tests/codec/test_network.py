"""inet and cidr <-> module ipaddress; macaddr as text."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from type_oids import OIDS

from holisticpool import _core

INET, CIDR = OIDS["INET"], OIDS["CIDR"]

addresses = st.ip_addresses()


@st.composite
def interfaces(draw: st.DrawFn) -> Any:
    address = draw(addresses)
    return ipaddress.ip_interface((address.packed, draw(st.integers(0, address.max_prefixlen - 1))))


@given(addresses)
def test_address_returns_as_an_address(value: Any) -> None:
    result = _core.decode(INET, _core.encode(INET, value))
    assert (type(result), result) == (type(value), value)
    assert _core.decode_text(INET, str(value).encode()) == value


@given(interfaces())
def test_address_with_a_netmask_returns_as_an_interface(value: Any) -> None:
    result = _core.decode(INET, _core.encode(INET, value))
    assert (type(result), result) == (type(value), value)
    assert _core.decode_text(INET, str(value).encode()) == value


@given(interfaces())
def test_network_returns_as_a_network(interface: Any) -> None:
    value = interface.network
    result = _core.decode(CIDR, _core.encode(CIDR, value))
    assert (type(result), result) == (type(value), value)
    assert _core.decode_text(CIDR, str(value).encode()) == value


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ("1.2.3.4", ipaddress.ip_address("1.2.3.4")),
        ("1.2.3.4/32", ipaddress.ip_address("1.2.3.4")),
        ("1.2.3.4/24", ipaddress.ip_interface("1.2.3.4/24")),
        (ipaddress.ip_network("1.2.3.0/24"), ipaddress.ip_interface("1.2.3.0/24")),
        (5, ipaddress.ip_address("0.0.0.5")),
        (b"\1\2\3\4", ipaddress.ip_address("1.2.3.4")),
        ("::1/64", ipaddress.ip_interface("::1/64")),
    ],
)
def test_inet_takes_what_the_factories_of_ipaddress_take(given_value: Any, expected: Any) -> None:
    assert _core.decode(INET, _core.encode(INET, given_value)) == expected


@pytest.mark.parametrize("value", ["x", "1.2.3.4/33", "1.2.3", object(), 1.5, {}])
def test_inet_refuses_what_is_no_address(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        _core.encode(INET, value)


def test_cidr_refuses_bits_right_of_the_mask() -> None:
    with pytest.raises(ValueError, match="host bits set"):
        _core.encode(CIDR, "1.2.3.4/24")


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\2\40\0",
        b"\2\40\0\4\1\2\3",  # truncated
        b"\2\40\0\4\1\2\3\4\5",  # too long
        b"\2\41\0\4\1\2\3\4",  # 33 bits
        b"\4\40\0\4\1\2\3\4",  # no such family
        b"\2\40\1\4\1\2\3\4",  # flagged as cidr
        b"\3\40\0\4\1\2\3\4",  # IPv6 of four bytes
    ],
)
def test_malformed_inet_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed inet"):
        _core.decode(INET, wire)


@given(st.sampled_from([6, 8]), st.data())
def test_macaddr_is_printed_as_the_server_does(length: int, data: st.DataObject) -> None:
    wire = data.draw(st.binary(min_size=length, max_size=length))
    oid = OIDS["MACADDR" if length == 6 else "MACADDR8"]
    assert _core.decode(oid, wire) == wire.hex(":")


def test_macaddr_of_another_length_is_malformed() -> None:
    with pytest.raises(ValueError, match="malformed macaddr"):
        _core.decode(OIDS["MACADDR"], b"\0" * 7)
