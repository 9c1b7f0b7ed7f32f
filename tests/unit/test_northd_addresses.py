"""Addresses as northd reads and prints them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ytwin.northd.addresses import (
    Endpoint,
    ip6_text,
    link_local,
    net4,
    net6,
    parse_addresses,
    parse_endpoint,
    parse_ip,
    parse_mac,
    parse_net,
    router_addresses,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0A:58:00:00:00:01", "0a:58:00:00:00:01"),
        ("a:0:0:0:0:1", "0a:00:00:00:00:01"),
        ("0a:58:00:00:00", None),
        ("0a:58:00:00:00:01:02", None),
        ("0a:58:00:00:00:0g", None),
        ("", None),
    ],
)
def test_mac(text: str, canonical: str | None) -> None:
    assert parse_mac(text) == canonical


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "::"),
        (1, "::1"),
        (0xFFFF, "::ffff"),
        (0x01020304, "::1.2.3.4"),
        (0xFFFF01020304, "::ffff:1.2.3.4"),
        (0xFD00 << 112 | 5, "fd00::5"),
        (0xFE80 << 112 | 1 << 64 | 1, "fe80:0:0:1::1"),
    ],
)
def test_ip6_text_is_inet_ntops(value: int, text: str) -> None:
    assert ip6_text(value) == text


@given(st.integers(0, 2**128 - 1))
def test_ip6_text_reads_back(value: int) -> None:
    assert parse_ip(ip6_text(value)) == (6, value)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_net4_agrees_with_ipaddress(value: int, plen: int) -> None:
    expected = ip_interface(f"{IPv4Address(value)}/{plen}").network
    net = net4(value, plen)
    assert (net.network, net.broadcast) == (str(expected.network_address), str(expected.broadcast_address))
    assert net.contains(value)
    assert parse_net(f"{net.ip}/{plen}") == (4, net)
    assert parse_net(f"{net.ip}/{expected.netmask}") == (4, net)


@given(st.integers(1 << 120, 2**128 - 1), st.integers(0, 128), st.integers(0, 2**128 - 1))
def test_net6_agrees_with_ipaddress(value: int, plen: int, other: int) -> None:
    expected = ip_interface(f"{IPv6Address(value)}/{plen}").network
    net = net6(value, plen)
    assert IPv6Address(net.network) == expected.network_address
    assert net.contains(other) == (IPv6Address(other) in expected)
    assert IPv6Address(net.solicited_node) in ip_interface("ff02::1:ff00:0/104").network


def test_link_local_of_a_mac() -> None:
    assert ip6_text(link_local("0a:58:0a:00:00:05")) == "fe80::858:aff:fe00:5"


def test_addresses_stop_at_the_first_word_that_is_none() -> None:
    parsed = parse_addresses("0a:58:00:00:00:01 10.0.0.5 fd00::5/64 junk 10.0.0.6")
    assert parsed is not None
    assert [net.ip for net in parsed.v4] == ["10.0.0.5"]
    assert [(net.ip, net.plen) for net in parsed.v6] == [("fd00::5", 64)]
    assert parse_addresses("10.0.0.5") is None
    assert parse_addresses("") is None


def test_router_addresses_are_sorted_and_end_with_link_local() -> None:
    parsed = router_addresses("02:00:00:00:00:01", ("fd00::1/64", "10.9.0.1/24", "10.10.0.1/24", "0.0.0.0/0", "bad"))
    assert parsed is not None
    assert [net.ip for net in parsed.v4] == ["10.10.0.1", "10.9.0.1"]  # as text, like OVSDB
    assert [net.ip for net in parsed.v6] == ["fd00::1", "fe80::ff:fe00:1"]
    assert router_addresses("no mac", ("10.0.0.1/24",)) is None


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("10.0.0.1", Endpoint("10.0.0.1", 0, 4, 0x0A000001)),
        ("10.0.0.1:80", Endpoint("10.0.0.1", 80, 4, 0x0A000001)),
        ("10.0.0.1:0", Endpoint("10.0.0.1", 0, 4, 0x0A000001)),
        ("[::1]:080", Endpoint("::1", 80, 6, 1)),
        ("[::1]", Endpoint("::1", 0, 6, 1)),
        ("::1:80", Endpoint("::1:80", 0, 6, 0x10080)),
        ("FD00:0:0::1", Endpoint("fd00::1", 0, 6, 0xFD00 << 112 | 1)),
        ("10.0.0.1:65536", None),
        ("10.0.0.1:x", None),
        ("10.0.0.256:80", None),
        ("10.0.0.1:80:1", None),
        ("[::1", None),
        ("[::1]80", None),
        ("fe80::1%eth0", None),
        ("", None),
    ],
)
def test_endpoint(text: str, end: Endpoint | None) -> None:
    if text == "::1:80":
        assert end is not None
        assert parse_endpoint(text) == Endpoint("::0.1.0.128", 0, 6, 0x10080)  # inet_ntop's form of such an address
    else:
        assert parse_endpoint(text) == end
