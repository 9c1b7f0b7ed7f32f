"""Load_Balancer rows as northd resolves them."""

from __future__ import annotations

import pytest
from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from ytwin.core.errors import Unsupported
from ytwin.northbound.rows import LoadBalancer
from ytwin.northd.addresses import router_addresses
from ytwin.northd.balancers import Balancer, empty_event, flag, number, resolve_balancer, vip_set, wants_event


def balancer(vips: dict[str, str], protocol: str = "tcp", fields: tuple[str, ...] = (), **options: str) -> Balancer:
    return resolve_balancer(LoadBalancer("lb", frozendict(vips), protocol, fields, frozendict(options)))


def test_vips_are_canonical() -> None:
    lb = balancer({"[FD00:0::1]:080": "[fd01::1]:1", "10.0.0.1": "10.0.0.2"})
    assert [(vip.text, vip.family, vip.port, vip.has_backends) for vip in lb.vips] == [
        ("10.0.0.1", 4, "", True),
        ("[fd00::1]:80", 6, "80", True),
    ]


@pytest.mark.parametrize(
    "backends",
    ["10.0.0.1", "10.0.0.1:1,bad", "[fd00::1]:1", "10.0.0.1:0", "10.0.0.1:1,10.0.0.1:99999", "10.0.0.1:1, 10.0.0.2:1"],
)
def test_one_bad_backend_drops_the_vip(backends: str) -> None:
    assert balancer({"10.96.0.1:80": backends}).vips == ()


@pytest.mark.parametrize(("backends", "count"), [("", 0), (",", 0), ("10.0.0.1:1", 1), ("10.0.0.1:1,,10.0.0.2:2,", 2)])
def test_empty_backends_are_passed_over(backends: str, count: int) -> None:
    (vip,) = balancer({"10.96.0.1:80": backends}).vips
    assert len(vip.backends()) == count
    assert vip.has_backends == (count > 0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 70000)), max_size=4))
def test_the_fast_check_agrees_with_the_parser(ends: list[tuple[int, int]]) -> None:
    text = ",".join(f"10.0.0.{host}:{port}" for host, port in ends)
    good = all(host < 256 and 0 < port < 65536 for host, port in ends)
    assert bool(balancer({"10.96.0.1:80": text}).vips) == good


def test_options() -> None:
    lb = balancer({}, "sctp", ("tp_src", "ip_src", "tp_dst"), reject="TRUE", event="yes", affinity_timeout="70000")
    assert (lb.reject, lb.event, lb.affinity_timeout) == (True, False, 65535)
    assert lb.selection_fields == "ip_src,sctp_dst,sctp_src"
    assert balancer({}, neighbor_responder="sometimes").neighbor_responder == "reachable"
    assert balancer({}, affinity_timeout="-1").affinity_timeout == 0
    with pytest.raises(Unsupported, match="Load_Balancer/lb"):
        balancer({}, template="true")


def test_flag_and_number() -> None:
    assert flag({"a": "True"}, "a")
    assert not flag({"a": "1"}, "a")
    assert flag({"a": "1"}, "a", default=True)
    assert not flag({"a": "FALSE"}, "a", default=True)
    assert not flag({}, "a")
    assert (number("12"), number("x", 3), number(None)) == (12, 3, 0)


def test_vips_of_a_router() -> None:
    ports = [
        router_addresses("02:00:00:00:00:01", nets) for nets in (("10.96.0.254/24",), ("10.0.0.1/24", "fd96::fe/64"))
    ]
    lbs = (
        balancer({"10.96.0.1:80": "", "10.96.0.1:81": "", "20.0.0.1:80": "", "[fd96::1]:80": ""}),
        balancer({"20.0.0.2:80": ""}, neighbor_responder="all", add_route="true"),
        balancer({"10.96.0.9:80": ""}, neighbor_responder="none"),
    )
    vips = vip_set(lbs, tuple(port for port in ports if port is not None))
    assert vips.v4 == ("10.96.0.1", "10.96.0.9", "20.0.0.1", "20.0.0.2")
    assert vips.v4_reachable == ("10.96.0.1", "20.0.0.2")
    assert vips.v4_routable == ("20.0.0.2",)
    assert (vips.v6, vips.v6_reachable, vips.v6_routable) == (("fd96::1",), ("fd96::1",), ())
    assert vips.on_link == (((4, "10.96.0.1"), (4, "10.96.0.9")), ((6, "fd96::1"),))


def test_event_only_for_empty_vips_without_reject() -> None:
    empty, full = {"[fd96::1]:80": ""}, {"10.96.0.1:80": "10.0.0.1:1"}
    lb = balancer(empty, event="true")
    assert wants_event(lb, lb.vips[0], False)
    assert empty_event(lb, lb.vips[0]) == (
        "ip6.dst == fd96::1 && tcp && tcp.dst == 80",
        'trigger_event(event = "empty_lb_backends", vip = "[fd96::1]:80", protocol = "tcp", load_balancer = "lb");',
    )
    for other, everywhere, wanted in (
        (balancer(empty), True, True),
        (balancer(empty), False, False),
        (balancer(empty, event="true", reject="true"), True, False),
        (balancer(full, event="true"), True, False),
    ):
        assert wants_event(other, other.vips[0], everywhere) == wanted
