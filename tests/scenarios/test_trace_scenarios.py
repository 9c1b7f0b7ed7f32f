"""The four scenarios, traced from their YAML: both directions, both families, and the ways in which they fail."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ytwin.northbound.rows import Northbound
from ytwin.northd import northd
from ytwin.pipeline import Twin, build, read
from ytwin.trace import Conversation, Host, Tracer, Verdict
from ytwin.trace.picture import picture
from ytwin.trace.render import conversation_to_json, render_conversation
from ytwin.trace.world import build_world

YAML = (Path(__file__).parent / "trace" / "four.yaml").read_text()
A, B, C, D = (f"Pod/default/{name}" for name in "abcd")
VM, BM, OUTSIDE = "VirtualMachine/default/vm", "BareMetal/default/bm", "outside/gw"


@cache
def twin(down: tuple[str, ...] = (), old: str = "", new: str = "") -> Twin:
    assert old in YAML
    return build(read({"four.yaml": YAML.replace(old, new) if old else YAML}), down=down)


@cache
def tracer(down: tuple[str, ...] = (), old: str = "", new: str = "") -> Tracer:
    return Tracer(twin(down, old, new).world)


def host(trace: Tracer, name: str) -> Host:
    return next(h for h in trace.world.hosts if h.name == name)


def call(client: str, address: str, port: int = 80, protocol: str = "tcp", trace: Tracer | None = None) -> Conversation:
    trace = trace or tracer()
    return trace.converse(host(trace, client), address, port, protocol)


def own(client: str, ipv6: bool) -> str:
    return next(a.split("/")[0] for a in host(tracer(), client).addresses if (":" in a) == ipv6)


@pytest.mark.parametrize("vip", ["10.96.0.100", "fd00:10:96::100"])
@pytest.mark.parametrize(("port", "protocol"), [(80, "tcp"), (53, "udp")])
def test_scenario_1_reaches_every_backend_and_is_translated_back(vip: str, port: int, protocol: str) -> None:
    answer = call(C, vip, port, protocol)
    assert answer.verdict is Verdict.DELIVERED
    assert {path.backend for path in answer.paths} == {A, B}
    for path in answer.paths:
        assert path.client_seen_as.startswith(f"[{own(C, True)}]" if ":" in vip else own(C, False))
        assert path.reply is not None
        assert path.reply.received is not None
        assert (path.reply.received.ip_src, path.reply.received.src_port) == (vip, port)
        assert path.second is not None
        assert path.second.receiver == path.backend


@pytest.mark.parametrize("vip", ["10.96.0.100", "fd00:10:96::100"])
def test_a_backend_that_calls_its_own_service_sees_the_vip(vip: str) -> None:
    answer = call(A, vip)
    assert answer.verdict is Verdict.DELIVERED
    itself = next(path for path in answer.paths if path.backend == A)
    assert vip in itself.client_seen_as


@pytest.mark.parametrize("vip", ["10.96.0.101", "fd00:10:96::101"])
def test_scenario_2_a_node_reaches_the_default_vpc(vip: str) -> None:
    answer = call("Node/n1", vip)
    assert answer.verdict is Verdict.DELIVERED
    (path,) = answer.paths
    assert path.backend == D
    assert own("Node/n1", ":" in vip) in path.client_seen_as


@pytest.mark.parametrize("eip", ["200.0.0.3", "2001:db8:100::3"])
def test_scenario_3_keeps_the_clients_address(eip: str) -> None:
    answer = call(OUTSIDE, eip)
    assert answer.verdict is Verdict.DELIVERED
    assert {path.backend for path in answer.paths} == {A, B}
    assert all(own(OUTSIDE, ":" in eip) in path.client_seen_as for path in answer.paths)
    assert all(hop.chassis in ("n1", "n2") for path in answer.paths for hop in path.forward.hops)


@pytest.mark.parametrize("eip", ["200.0.0.4", "2001:db8:100::4"])
def test_scenario_4_spans_vpcs_and_hides_the_client(eip: str) -> None:
    answer = call(OUTSIDE, eip)
    assert answer.verdict is Verdict.DELIVERED
    assert {path.backend for path in answer.paths} == {BM, VM}
    assert all(own(OUTSIDE, ":" in eip) not in path.client_seen_as for path in answer.paths)


def test_gateway_port_moves_to_the_next_live_chassis() -> None:
    answer = call(OUTSIDE, "200.0.0.3", trace=tracer(("n1",)))
    by_backend = {path.backend: path for path in answer.paths}
    assert by_backend[B].verdict is Verdict.DELIVERED
    assert by_backend[B].forward.hops[0].chassis == "n2"
    assert answer.verdict is Verdict.DROPPED  # Pod a went with n1, and its Endpoint is still there
    assert "not bound" in answer.reason


def test_gateway_router_is_lost_with_its_chassis() -> None:
    answer = call(OUTSIDE, "200.0.0.4", trace=tracer(("n1",)))
    assert answer.verdict is Verdict.DROPPED
    assert "no live gateway chassis" in answer.reason


def test_no_gateway_chassis_left() -> None:
    answer = call(OUTSIDE, "200.0.0.3", trace=tracer(("n1", "n2")))
    assert answer.verdict is Verdict.UNANSWERED_ARP


def test_affinity_learns_and_keeps() -> None:
    trace = tracer()
    answer = call(C, "10.96.0.105")
    assert answer.verdict is Verdict.DELIVERED
    assert {path.backend for path in answer.paths} == {A, B}
    assert all("retransmission" in path.forward.hops[0].note for path in answer.paths)
    client = host(trace, C)
    frame = trace.frame(client, (own(C, False), "10.96.0.105"), _mac(trace, client), "tcp", (41000, 80), flags=2)
    first = next(o for o in trace.send(client, frame) if o.learned_affinity)
    other = trace.frame(client, (own(C, False), "10.96.0.105"), _mac(trace, client), "tcp", (41001, 80), flags=2)
    again = trace.send(client, other, first.memory)
    assert len(again) == 1
    (target,) = first.memory.conntrack.affinities.values()
    assert target.idle_timeout_s == 600
    assert again[0].arrived is not None
    assert again[0].arrived.ip4_dst == target.backend


def _mac(trace: Tracer, client: Host) -> str:
    mac, lost = trace.resolve(client, own(C, False), client.routes[0].via, trace.memory())
    assert lost is None
    return mac


@pytest.mark.parametrize("vip", ["10.96.0.106", "fd00:10:96::106"])
@pytest.mark.parametrize(("port", "protocol", "answer"), [(80, "tcp", "TCP reset"), (53, "udp", "ICMP error")])
def test_no_backend_and_reject(vip: str, port: int, protocol: str, answer: str) -> None:
    got = call(C, vip, port, protocol)
    assert got.verdict is Verdict.REJECTED
    assert answer in got.reason
    assert "Load_Balancer/default/refuse" in got.reason


def test_another_vpc_cannot_call() -> None:
    got = call(VM, "10.96.0.100")
    assert got.verdict is Verdict.DROPPED
    assert "router vpc2" in got.reason
    direct = call(VM, own(A, False))
    assert direct.verdict is Verdict.DROPPED
    assert not any(path.forward.receiver for path in direct.paths)


def test_wrong_port_reaches_nobody() -> None:
    got = call(C, "10.96.0.100", 81)
    assert got.verdict is Verdict.DROPPED
    assert all(path.address == "" for path in got.paths)


@pytest.mark.parametrize(("eip", "router"), [("200.0.0.3", "vpc1"), ("200.0.0.4", "svcgw_gw")])
def test_eip_on_a_port_without_service_ends_at_the_router_that_balances(eip: str, router: str) -> None:
    got = call(OUTSIDE, eip, 81)
    assert got.verdict is Verdict.DROPPED
    assert f"Logical_Router_Static_Route/{router}||dst-ip|{eip}/32|discard|" in got.reason


def test_a_routing_loop_ends_with_its_ttl() -> None:
    """What would become of that packet without the discard route."""
    whole = twin()
    rows = {k: r for k, r in whole.northbound.rows.items() if getattr(r, "nexthop", "") != "discard"}
    looping = build_world(whole.snapshot, whole.northbound, whole.nodes, northd(Northbound(rows)))
    got = call(OUTSIDE, "200.0.0.3", 81, trace=Tracer(looping))
    assert got.verdict is Verdict.DROPPED
    assert "TTL" in got.reason
    text = render_conversation(got)
    assert "more stays like these" in text
    assert text.count("\n") < 200
    ElementTree.fromstring(picture(got))


@pytest.mark.parametrize("ipv6", [False, True])
def test_echo_between_subnets_and_to_a_router(ipv6: bool) -> None:
    got = call(C, own(A, ipv6), 0, "icmp")
    assert got.verdict is Verdict.DELIVERED
    gateway = next(r.via for r in host(tracer(), A).routes if (":" in r.via) == ipv6)
    router = call(C, gateway, 0, "icmp")
    assert router.verdict is Verdict.DELIVERED
    assert router.paths[0].backend == "router"


def test_on_link_eip_stays_without_arp_answer() -> None:
    """An outside that takes the pool for its own network asks for the EIP itself, and no router has that address."""
    world = twin().world
    mistaken = replace(host(tracer(), OUTSIDE), addresses=("200.0.0.254/24",), routes=())
    others = tuple(h for h in world.hosts if h.name != OUTSIDE)
    got = call(OUTSIDE, "200.0.0.3", trace=Tracer(replace(world, hosts=(*others, mistaken))))
    assert got.verdict is Verdict.UNANSWERED_ARP
    assert "200.0.0.3" in got.reason


def test_no_route_and_own_address() -> None:
    assert call("Node/n1", "8.8.8.8").verdict is Verdict.NO_ROUTE
    itself = call(C, own(C, False))
    assert itself.verdict is Verdict.DELIVERED
    assert itself.paths == ()


def test_a_subnet_without_gateway_host_is_an_unanswered_arp() -> None:
    nobody = own(C, False).rsplit(".", 1)[0] + ".254"
    got = call(C, nobody)
    assert got.verdict is Verdict.UNANSWERED_ARP
    assert nobody in got.reason


def test_text_json_and_picture_tell_the_same() -> None:
    got = call(OUTSIDE, "200.0.0.4")
    text = render_conversation(got)
    assert text.splitlines()[0] == f"{OUTSIDE} -> tcp 200.0.0.4:80: delivered"
    assert "router svcgw_gw" in text
    assert "from Load_Balancer/default/s4/tcp/eip" in text
    shape = conversation_to_json(got)
    assert json.loads(json.dumps(shape)) == shape
    assert [path["backend"] for path in shape["paths"]] == [path.backend for path in got.paths]
    assert set(shape["paths"][0]["forward"]["hops"][0]) == {
        "chassis", "datapath", "pipeline", "table", "stage", "flow", "packet", "note",
    }  # fmt: skip
    svg = picture(got)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    words = "".join(root.itertext())
    assert all(name in words for name in (OUTSIDE, BM, VM, "svcgw_gw", "eipgw_gw"))


def test_the_memory_given_is_not_changed() -> None:
    trace = tracer()
    client = host(trace, C)
    memory = trace.memory()
    frame = trace.frame(client, (own(C, False), "10.96.0.100"), _mac(trace, client), "tcp", (40000, 80), flags=2)
    before = memory.conntrack.copy()
    outcomes = trace.send(client, frame, memory)
    assert len(outcomes) == 2
    assert memory.conntrack == before
    assert all(outcome.memory.conntrack != before for outcome in outcomes)


def test_a_frame_on_a_localnet_port_comes_in_on_every_chassis_that_maps_it() -> None:
    trace = tracer()
    outside = host(trace, OUTSIDE)
    memory = trace.memory()
    source, via = trace.route(outside, "200.0.0.3") or ("", "")
    mac, _ = trace.resolve(outside, source, via, memory)
    frame = trace.frame(outside, (source, "200.0.0.3"), mac, "tcp", (40000, 80), flags=2)
    assert [o.walk.receiver for o in trace.walk("localnet_gw", frame)] == [A, B]
    (refused,) = trace.walk("localnet_gw", frame, chassis="n2")
    assert refused.walk.verdict is Verdict.DROPPED
