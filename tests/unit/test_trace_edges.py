"""Port security, hairpin detection and the pieces around them."""

from __future__ import annotations

import pytest
from frozendict import frozendict

from ytwin.logical.addresses import ip_int, ipv6_text, mac_int, split_endpoint
from ytwin.logical.southbound import DatapathId, PortBinding, SbLoadBalancer
from ytwin.logical.state import (
    PacketState,
    arp_request,
    neighbor_advertisement,
    neighbor_solicitation,
    transport,
)
from ytwin.trace.conntrack import Conntrack, Zone
from ytwin.trace.hairpin import Hairpins, check_hairpin, check_hairpin_reply
from ytwin.trace.security import link_local, violates_in, violates_out

LS = DatapathId("switch", "s")
MAC, OTHER = "0a:58:0a:00:00:01", "0a:58:0a:00:00:02"


def port(*security: str) -> PortBinding:
    return PortBinding("p", LS, port_security=security)


def tcp(mac: str, src: str, dst: str, to: str = OTHER) -> PacketState:
    return transport("tcp", "p", (mac, to), (src, dst), (1, 2))


def test_link_local_is_the_modified_eui_64() -> None:
    assert ipv6_text(link_local(mac_int("00:00:00:00:05:21"))) == "fe80::200:ff:fe00:521"


@pytest.mark.parametrize(
    ("state", "bad"),
    [
        (tcp(MAC, "10.0.0.1", "10.0.0.2"), False),
        (tcp(MAC, "10.0.0.3", "10.0.0.2"), True),
        (tcp(OTHER, "10.0.0.1", "10.0.0.2"), True),
        (tcp(MAC, "fd00::1", "fd00::2"), False),
        (tcp(MAC, "fd00::3", "fd00::2"), True),
        (arp_request("p", MAC, "10.0.0.1", "10.0.0.2"), False),
        (arp_request("p", MAC, "10.0.0.3", "10.0.0.2"), True),
        (neighbor_solicitation("p", MAC, "fd00::1", "fd00::2"), False),
        (neighbor_advertisement("p", (MAC, OTHER), ("fd00::1", "fd00::2")), False),
        (neighbor_advertisement("p", (MAC, OTHER), ("fd00::3", "fd00::2")), True),
        (transport("udp", "p", (MAC, "ff:ff:ff:ff:ff:ff"), ("0.0.0.0", "255.255.255.255"), (68, 67)), False),
    ],
)
def test_port_security_inwards(state: PacketState, bad: bool) -> None:
    assert violates_in(state, port(f"{MAC} 10.0.0.1 fd00::1")) is bad
    assert violates_in(state, port()) is False


@pytest.mark.parametrize(
    ("state", "bad"),
    [
        (tcp(OTHER, "10.0.0.2", "10.0.0.1", MAC), False),
        (tcp(OTHER, "10.0.0.2", "10.0.0.3", MAC), True),
        (tcp(OTHER, "10.0.0.2", "224.0.0.1", MAC), False),
        (tcp(OTHER, "10.0.0.2", "10.0.0.1", OTHER), True),
        (tcp(OTHER, "fd00::2", "fd00::1", MAC), False),
        (tcp(OTHER, "fd00::2", "fd00::3", MAC), True),
        (tcp(OTHER, "fd00::2", "ff02::1", MAC), False),
    ],
)
def test_port_security_outwards(state: PacketState, bad: bool) -> None:
    assert violates_out(state, port(f"{MAC} 10.0.0.1 fd00::1")) is bad


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[fd00::1]:80", ("fd00::1", 80)),
        ("10.0.0.1", ("10.0.0.1", 0)),
        ("fd00::1", ("fd00::1", 0)),
    ],
)
def test_endpoints(text: str, parts: tuple[str, int]) -> None:
    assert split_endpoint(text) == parts


@pytest.mark.parametrize("by_register", ["true", "false"])
@pytest.mark.parametrize(("client", "vip"), [("10.0.0.1", "10.96.0.1"), ("fd00::1", "fd00:96::1")])
def test_hairpin_and_its_reply(by_register: str, client: str, vip: str) -> None:
    def end(address: str, number: int) -> str:
        return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"

    balancer = SbLoadBalancer(
        "lb",
        frozendict({end(vip, 80): end(client, 8080)}),
        "tcp",
        frozendict({"hairpin_orig_tuple": by_register}),
        (LS,),
    )
    hairpins, tracker = Hairpins([balancer]), Conntrack()
    state = transport("tcp", "p", (MAC, OTHER), (client, vip), (40000, 80))
    number = ip_int(vip)
    state.reg1, state.reg2 = (number, 80)
    if ":" in vip:
        state.reg4, state.reg5 = number >> 96, (number >> 64) & 0xFFFFFFFF
        state.reg6, state.reg7 = (number >> 32) & 0xFFFFFFFF, number & 0xFFFFFFFF
    tracker.commit(state, Zone("n1", "port:p"), nat="dst", address=ip_int(client), port=8080)
    assert not check_hairpin(state, hairpins, tracker, "n1", LS)  # not marked as load-balanced
    tracker.mark(state, mark=2)
    assert check_hairpin(state, hairpins, tracker, "n1", LS)
    reply = transport("tcp", "p", (MAC, OTHER), (client, vip), (8080, 40000))
    assert check_hairpin_reply(reply, tracker, "n1", LS)
    assert not check_hairpin_reply(reply, tracker, "n2", LS)
    stranger = transport("tcp", "p", (MAC, OTHER), (client, vip), (8081, 40000))
    assert not check_hairpin_reply(stranger, tracker, "n1", LS)
