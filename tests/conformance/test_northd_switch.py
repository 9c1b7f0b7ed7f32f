"""Our northd against the real one: one hand-made Northbound per feature of the switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from frozendict import frozendict
from northd_oracle import compare, our_lines

from deployer.sandbox import OvnSandbox
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
    Strings,
)
from ytwin.northd import northd

pytestmark = pytest.mark.ovn


@pytest.fixture(scope="module")
def ovn() -> Iterator[OvnSandbox]:
    with OvnSandbox() as sandbox:
        yield sandbox


def opts(**options: str) -> Strings:
    return frozendict({name.replace("_", "-") if "router_port" in name else name: v for name, v in options.items()})


def vif(switch: str, number: int, *addresses: str, security: tuple[str, ...] = ()) -> LogicalSwitchPort:
    return LogicalSwitchPort(f"p{number}", switch, "", addresses, security)


def link(router: str, switch: str, number: int, *networks: str, addresses: tuple[str, ...] = ("router",)) -> list[Row]:
    """A router port and its switch port."""
    port = f"lrp-{router}-{switch}"
    return [
        LogicalRouterPort(port, router, f"02:00:00:00:00:{number:02x}", networks),
        LogicalSwitchPort(f"lsp-{switch}-{router}", switch, "router", addresses, options=opts(router_port=port)),
    ]


def balanced(lb: LoadBalancer, *more: Row, by_group: bool = False) -> list[Row]:
    """Two switches on a router, both with the load balancer; directly or by group."""
    direct, groups = ((), ("g",)) if by_group else ((lb.name,), ())
    return [
        LogicalSwitch("s1", direct, groups),
        LogicalSwitch("s2", direct, groups),
        LogicalRouter("r"),
        *link("r", "s1", 1, "10.0.1.1/24", "fd01::1/64"),
        *link("r", "s2", 2, "10.0.2.1/24", "fd02::1/64"),
        vif("s1", 1, "0a:00:00:00:00:01 10.0.1.5 fd01::5"),
        vif("s2", 2, "0a:00:00:00:00:02 10.0.2.5 fd02::5"),
        lb,
        LoadBalancerGroup("g", (lb.name,)),
        *more,
    ]


def lb(*vips: tuple[str, str], protocol: str = "tcp", fields: tuple[str, ...] = (), **options: str) -> LoadBalancer:
    return LoadBalancer("lb", frozendict(vips), protocol, fields, opts(**options))


V4 = ("10.96.0.1:80", "10.0.1.5:8080,10.0.2.5:8080")
V6 = ("[fd96::1]:80", "[fd01::5]:8080,[fd02::5]:8080")
BARE4 = ("10.96.0.2", "10.0.1.5,10.0.2.5")
BARE6 = ("fd96::2", "fd01::5")
EMPTY4 = ("10.96.0.3:80", "")
EMPTY6 = ("[fd96::3]:80", "")
EMPTY_BARE = ("10.96.0.4", "")
FIVE_TUPLE = ("ip_dst", "ip_src", "tp_dst", "tp_src")


def edge(*rows: Row) -> list[Row]:
    """A switch with a localnet port, connected to a router with a DGP there."""
    return [
        LogicalSwitch("ext"),
        LogicalSwitchPort("ln", "ext", "localnet", ("unknown",), options=opts(network_name="phys"), tag=12),
        LogicalRouter("r"),
        *link("r", "ext", 1, "172.16.0.1/24", "fd16::1/64"),
        GatewayChassis("lrp-r-ext", "c1", 20),
        GatewayChassis("lrp-r-ext", "c2", 10),
        *rows,
    ]


def reside() -> list[Row]:
    inner = LogicalRouterPort(
        "in", "r", "02:00:00:00:00:09", ("10.9.0.1/24",), frozendict({"reside-on-redirect-chassis": "true"})
    )
    return edge(
        LogicalSwitch("vlan"),
        LogicalSwitchPort("ln2", "vlan", "localnet", ("unknown",), options=opts(network_name="phys"), tag=13),
        inner,
        LogicalSwitchPort("vlan-r", "vlan", "router", ("router",), options=opts(router_port="in")),
    )


CASES: dict[str, Callable[[], list[Row]]] = {
    "nothing": list,
    "empty switch": lambda: [LogicalSwitch("s")],
    "plain ports": lambda: [LogicalSwitch("s"), vif("s", 1, "0A:00:00:00:00:01 10.0.0.5"), vif("s", 2)],
    "v6, several addresses": lambda: [
        LogicalSwitch("s"),
        vif("s", 1, "0a:00:00:00:00:01 FD00:0::5 10.0.0.5/24", "0a:00:00:00:00:02 10.0.0.6 fd00::6 fd00::7"),
    ],
    "addresses in odd forms": lambda: [
        LogicalSwitch("s"),
        vif("s", 1, "a:b:c:d:e:f 10.0.0.1"),
        vif("s", 2, "0a0b0c0d0e0f 10.0.0.2"),
        vif("s", 3, "0a:00:00:00:00:03  10.0.0.3 "),
        vif("s", 4, "0a:00:00:00:00:04 10.0.0.4,10.0.0.5"),
        vif("s", 5, "0a:00:00:00:00:05 10.0.0.0/24 10.0.1.1/255.255.255.0 10.0.2.1/255.0.255.0 10.0.3.1"),
        vif("s", 6, "0a:00:00:00:00:06 fd00::1x fd00::2"),
        vif("s", 7, "0a:00:00:00:00:07", "0a:00:00:00:00:07 10.0.0.7"),
        vif("s", 8, "0a:00:00:00:00:07 10.0.0.7"),
    ],
    "options that change nothing": lambda: [
        LogicalSwitch("s", other_config=frozendict({"subnet": "10.0.0.0/24", "exclude_ips": "10.0.0.1"})),
        LogicalSwitchPort("p", "s", options=frozendict({"requested-chassis": "c1", "unheard": "of"})),
    ],
    "mac only": lambda: [LogicalSwitch("s"), vif("s", 1, "0a:00:00:00:00:01")],
    "unknown": lambda: [
        LogicalSwitch("s"),
        vif("s", 1, "unknown"),
        vif("s", 2, "0a:00:00:00:00:01 10.0.0.5", "unknown"),
    ],
    "unknown with port security": lambda: [
        LogicalSwitch("s"),
        vif("s", 1, "unknown", security=("0a:00:00:00:00:01 10.0.0.5",)),
        vif("s", 2, "0a:00:00:00:00:02 10.0.0.6", security=("0a:00:00:00:00:02 10.0.0.6 fd00::6",)),
    ],
    "odd names": lambda: [
        LogicalSwitch("s"),
        LogicalSwitchPort('quo"te', "s", "", ("0a:00:00:00:00:01 10.0.0.5",)),
        LogicalSwitchPort("back\\slash", "s", "", ("unknown",)),
        LogicalSwitchPort("ns/name_x.y z", "s", "", ("unknown",)),
        LogicalSwitchPort("Zürich/端口", "s", "", ("unknown",)),
        LogicalSwitchPort("tab\tnewline\nbell\a", "s", "", ("unknown",)),
    ],
    "router port": lambda: [LogicalSwitch("s"), LogicalRouter("r"), *link("r", "s", 1, "10.0.0.1/24", "fd00::1/64")],
    "router port and vif": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("r"),
        *link("r", "s", 1, "10.0.0.1/24"),
        vif("s", 1, "0a:00:00:00:00:01 10.0.0.5"),
    ],
    "router port with its own MAC": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("r"),
        *link("r", "s", 1, "10.0.0.1/24", addresses=("0a:00:00:00:00:07 10.0.0.9", "router", "unknown")),
    ],
    "router ports without peer": lambda: [
        LogicalSwitch("s"),
        LogicalSwitchPort("x", "s", "router", ("router",), options=opts(router_port="none")),
        LogicalSwitchPort("y", "s", "router", ("0a:00:00:00:00:01 10.0.0.5",)),
    ],
    "router port without switch": lambda: [
        LogicalRouter("r"),
        LogicalRouterPort("a", "r", "02:00:00:00:00:01", ("10.0.0.1/24",)),
    ],
    "localnet": edge,
    "localnet that learns": lambda: [
        LogicalSwitch("s"),
        LogicalSwitchPort(
            "ln", "s", "localnet", ("unknown",), options=opts(network_name="p", localnet_learn_fdb="true")
        ),
    ],
    "localnet with load balancer": lambda: [
        LogicalSwitch("s", ("lb",)),
        LogicalSwitchPort("ln", "s", "localnet", ("unknown",), options=opts(network_name="p")),
        lb(V4),
    ],
    "reside-on-redirect-chassis": reside,
    "gateway router": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("gw", options=opts(chassis="c1")),
        *link("gw", "s", 1, "10.0.0.1/24"),
        LogicalSwitchPort("ln", "s", "localnet", ("unknown",), options=opts(network_name="p")),
    ],
    "gateway chassis on a gateway router": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("gw", options=opts(chassis="c1")),
        *link("gw", "s", 1, "10.0.0.1/24"),
        GatewayChassis("lrp-gw-s", "c1", 5),
    ],
    "two routers on one switch": lambda: [
        LogicalSwitch("t"),
        LogicalRouter("a"),
        LogicalRouter("b"),
        *link("a", "t", 1, "10.0.0.1/30"),
        *link("b", "t", 2, "10.0.0.2/30"),
    ],
    "lb": lambda: balanced(lb(V4)),
    "lb by group": lambda: balanced(lb(V4, V6), by_group=True),
    "lb udp": lambda: balanced(lb(V4, V6, protocol="udp")),
    "lb sctp, hash": lambda: balanced(lb(V4, V6, protocol="sctp", fields=FIVE_TUPLE)),
    "lb hash of addresses": lambda: balanced(lb(V4, fields=("ip_dst", "ip_src"))),
    "lb without ports": lambda: balanced(lb(BARE4, BARE6, V4, fields=FIVE_TUPLE)),
    "lb without VIPs": lambda: balanced(lb()),
    "lb with a bad VIP only": lambda: balanced(lb(("10.96.0.1:80:1", "10.0.1.5:80"))),
    "lb with bad backends": lambda: balanced(lb(("10.96.0.1:80", "10.0.1.5"), ("10.96.0.1:81", "10.0.1.5:1,,x"), V4)),
    "lb of mixed families": lambda: balanced(lb(("10.96.0.1:80", "[fd01::5]:80"), ("10.96.0.2:80", "10.0.1.5:80,"))),
    "lb not canonical": lambda: balanced(lb(("[FD96:0:0::01]:080", "[fd01:0::5]:08080"), ("::ffff", "1::"))),
    "lb empty": lambda: balanced(lb(EMPTY4, EMPTY6, EMPTY_BARE)),
    "lb empty, reject": lambda: balanced(lb(EMPTY4, EMPTY6, EMPTY_BARE, V4, reject="true")),
    "lb empty, event": lambda: balanced(lb(EMPTY4, EMPTY6, EMPTY_BARE, V4, event="true")),
    "lb empty, event and reject": lambda: balanced(lb(EMPTY4, event="true", reject="true")),
    "lb event=false": lambda: balanced(lb(EMPTY4, event="false", reject="False")),
    "lb affinity": lambda: balanced(lb(V4, V6, BARE4, BARE6, EMPTY4, affinity_timeout="10800")),
    "lb of odd name, event": lambda: [LogicalSwitch("s", ('a"b\\',)), replace(lb(EMPTY4, event="true"), name='a"b\\')],
    "lb of mapped addresses": lambda: balanced(
        lb(("[::ffff:10.0.0.1]:80", "10.0.0.2:80"), ("[::10.0.0.1]:80", "[::1]:80"))
    ),
    "lb with blanks": lambda: balanced(lb((" 10.96.0.1:80", "10.0.0.2:80"), ("10.96.0.2:80", " 10.0.0.2:80"), V4)),
    "lb affinity too long": lambda: balanced(lb(V4, protocol="udp", affinity_timeout="70000")),
    "lb affinity zero": lambda: balanced(lb(V4, affinity_timeout="0")),
    "lb hairpin option": lambda: balanced(lb(V4, hairpin_snat_ip="10.0.0.9")),
    "same VIP on two lbs": lambda: [
        LogicalSwitch("s1", ("lb",)),
        LogicalSwitch("s2", ("lb2",)),
        LogicalSwitch("s3", ("lb", "lb2")),
        lb(V4),
        LoadBalancer("lb2", frozendict([V4, V6]), "tcp"),
    ],
    "lb on no switch": lambda: [LogicalSwitch("s"), lb(V4)],
    "lb directly and by two groups": lambda: [
        *balanced(lb(V4), by_group=True),
        LogicalSwitch("s3", ("lb",), ("g", "g2")),
        LoadBalancerGroup("g2", ("lb",)),
    ],
    "VIP in the router's network": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("r", ("lb",)),
        *link("r", "s", 1, "10.96.0.254/24", "fd96::fe/64"),
        vif("s", 1, "0a:00:00:00:00:01 10.96.0.5"),
        lb(V4, V6, EMPTY4),
    ],
    "VIP is the router's address": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("r", load_balancer_group=("g",), options=opts(chassis="c1")),
        *link("r", "s", 1, "10.96.0.1/24", "fd96::1/64"),
        lb(V4, V6, neighbor_responder="none"),
        LoadBalancerGroup("g", ("lb",)),
    ],
    "VIP answered everywhere": lambda: [
        LogicalSwitch("s"),
        LogicalRouter("r", ("lb",), options=opts(chassis="c1")),
        *link("r", "s", 1, "10.0.0.1/24"),
        lb(V4, V6, neighbor_responder="all"),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_same_southbound(ovn: OvnSandbox, name: str) -> None:
    assert compare(ovn, Northbound.of(CASES[name]())) == []


@pytest.mark.parametrize(
    "options",
    [
        {"use_ct_inv_match": "false"},
        {"controller_event": "true"},
        {"install_ls_lb_from_router": "true"},
        {"svc_monitor_mac": "0a:00:00:00:00:77"},
    ],
    ids=str,
)
def test_global_options(ovn: OvnSandbox, options: dict[str, str]) -> None:
    rows = [
        *balanced(lb(V4, EMPTY4)),
        LogicalSwitch("s3"),
        LogicalRouter("r2", ("lb",), options=opts(chassis="c1")),
        *link("r2", "s3", 3, "10.0.3.1/24"),
    ]
    assert compare(ovn, Northbound.of(rows, frozendict(options))) == []


def test_a_difference_is_seen(ovn: OvnSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: northd told another Northbound must not pass."""
    rows = balanced(lb(V4))
    other = Northbound.of(balanced(lb(V4, V6)))
    lines = our_lines(northd(other))
    monkeypatch.setattr("northd_oracle.our_lines", lambda *_: lines)
    found = compare(ovn, Northbound.of(rows))
    assert any(line.startswith("+ flow") and "fd96::1" in line for line in found)
    assert any(line.startswith("- balancer") for line in found)
