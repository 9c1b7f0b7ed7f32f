"""Small Northbounds around routers: building blocks, and seeded random ones that mix all features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from frozendict import frozendict

from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    Row,
    StaticRoute,
)

Options = Mapping[str, str]
NONE: Options = frozendict()


def router(name: str, options: Options = NONE, lbs: Sequence[str] = (), groups: Sequence[str] = ()) -> LogicalRouter:
    """A Logical_Router."""
    return LogicalRouter(name, tuple(lbs), tuple(groups), frozendict(options))


def link(
    router_name: str,
    switch: str,
    number: int,
    networks: Sequence[str],
    options: Options = NONE,
    chassis: Sequence[str] = (),
) -> list[Row]:
    """A router port on a switch; with chassis it is a distributed gateway port."""
    port, peer = f"lrp_{router_name}_{switch}", f"lsp_{switch}_{router_name}"
    return [
        LogicalRouterPort(port, router_name, f"0a:00:00:00:00:{number:02X}", tuple(networks), frozendict(options)),
        LogicalSwitchPort(peer, switch, "router", ("router",), (), frozendict({"router-port": port})),
        *[GatewayChassis(port, name, 10 - i) for i, name in enumerate(chassis)],
    ]


def localnet(switch: str, tag: int | None = None) -> LogicalSwitchPort:
    """A localnet port."""
    return LogicalSwitchPort(
        f"localnet_{switch}", switch, "localnet", ("unknown",), (), frozendict({"network_name": "phys"}), tag
    )


def balancer(
    name: str, vips: Options, protocol: str = "tcp", options: Options = NONE, fields: Sequence[str] = ()
) -> LoadBalancer:
    """A Load_Balancer."""
    return LoadBalancer(name, frozendict(vips), protocol, tuple(fields), frozendict(options))


class RandomNetwork:
    """A Northbound drawn from a seed: routers of all kinds on shared switches, with routes, policies and load balancers."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.rows: list[Row] = []
        self.number = 0

    def build(self) -> Northbound:
        """The Northbound; the same for the same seed."""
        r = self.random
        switches = [f"s{i}" for i in range(r.randint(1, 5))]
        for i, name in enumerate(switches):
            self.rows.append(LogicalSwitch(name))
            if r.random() < 0.3:
                self.rows.append(localnet(name, r.choice((None, 12))))
            self._workloads(i, name)
        lbs = self._balancers()
        for i in range(r.randint(1, 4)):
            self._router(f"r{i}", i, switches, lbs)
        r.shuffle(self.rows)
        return Northbound.of(self.rows)

    def _maybe(self, chance: float, name: str, *values: str) -> dict[str, str]:
        return {name: self.random.choice(values)} if self.random.random() < chance else {}

    def _port_options(self) -> dict[str, str]:
        options = self._maybe(0.2, "route_table", "a", "b") | self._maybe(0.15, "gateway_mtu", "1400", "0", "x")
        options |= self._maybe(0.15, "reside-on-redirect-chassis", "true", "false")
        options |= self._maybe(0.1, "redirect-type", "bridged", "overlay")
        return options | (self._maybe(0.5, "gateway_mtu_bypass", "tcp") if options.get("gateway_mtu") == "1400" else {})

    def _workloads(self, i: int, switch: str) -> None:
        r = self.random
        for n in range(r.randint(0, 4)):
            v4 = [f"10.{i}.{r.randint(0, 3)}.{n + 100}"] if r.random() < 0.8 else []
            v6 = [f"fd00:{i}::{n + 100:x}"] if r.random() < 0.5 else []
            lines = [" ".join([f"0a:00:00:01:{i:02x}:{n:02x}", *v4, *v6])]
            if r.random() < 0.2:
                lines.append(r.choice(("unknown", f"0a:00:00:02:{i:02x}:{n:02x} 10.{i}.0.{n + 200}")))
            self.rows.append(LogicalSwitchPort(f"vm{i}_{n}", switch, "", tuple(lines)))

    def _networks(self, i: int, host: int) -> list[str]:
        r = self.random
        pool = [f"10.{i}.0.{host}/24", f"10.{i}.1.{host}/24", f"10.{i}.2.{host}/23", f"fd00:{i}::{host:x}/64"]
        pool += [f"fd00:{i}:0:1::{host:x}/80", f"fe80::{host:x}/64"]
        return r.sample(pool, r.randint(1, 3))

    def _router(self, name: str, index: int, switches: list[str], lbs: tuple[list[str], list[str]]) -> None:
        r = self.random
        options: dict[str, str] = {}
        is_gateway = r.random() < 0.35
        if is_gateway:
            options["chassis"] = "c1"
        if r.random() < 0.3:
            options["lb_force_snat_ip"] = r.choice(
                ("router_ip", "10.0.0.9", "10.0.0.9 fd00:0::9", "fd00:0::9", "10.0.0.2")
            )
        if r.random() < 0.15:
            options["dnat_force_snat_ip"] = r.choice(("10.0.1.1", "fd00:0::1"))
        options |= self._maybe(0.4, "always_learn_from_arp_request", "true", "false", "no")
        options |= self._maybe(0.4, "dynamic_neigh_routers", "true", "false", "TRUE")
        direct, groups = lbs
        chosen = [lb for lb in direct if r.random() < 0.4]
        self.rows.append(router(name, options, chosen, [group for group in groups if r.random() < 0.4]))
        used = r.sample(switches, r.randint(0, len(switches)))
        gateways = set(r.sample(used, min(len(used), r.choice((0, 0, 1, 1, 2, 3)))))
        for switch in used:
            self.number += 1
            port_options = self._port_options()
            networks = self._networks(int(switch[1:]), index + 1)
            chassis = ("c1", "c2") if switch in gateways else ()
            self.rows += link(name, switch, self.number, networks, port_options, chassis)
        if r.random() < 0.1:
            self.number += 1
            port = LogicalRouterPort(f"lone_{name}", name, f"0a:00:00:00:01:{self.number:02x}", ("192.168.7.1/30",))
            self.rows.append(port)
        self._routes(name, used)
        self._policies(name)

    def _hop(self, version: int) -> str:
        r = self.random
        i = r.randint(0, 4)
        if version == 6:
            return r.choice((f"fd00:{i}::{r.randint(1, 5):x}", "fe80::77", f"fd00:{i}:0:1::5"))
        return f"10.{i}.{r.randint(0, 3)}.{r.randint(1, 5)}"

    def _routes(self, name: str, used: list[str]) -> None:
        r = self.random
        for _ in range(r.randint(0, 10)):
            version = r.choice((4, 4, 6))
            prefixes = {
                4: (
                    "0.0.0.0/0",
                    "172.16.0.0/12",
                    "172.16.3.4/12",
                    "10.1.0.0/16",
                    "200.0.0.100",
                    "200.0.0.100/32",
                    "bad",
                ),
                6: ("::/0", "fd77::/48", "fd77::1/48", "fd88::1", "fe80::/64"),
            }
            nexthop = r.choice((self._hop(version),) * 8 + ("discard", self._hop(10 - version), "10.0.0.3/24", "x"))
            port = f"lrp_{name}_{r.choice(used)}" if used and r.random() < 0.3 else r.choice(("",) * 9 + ("nowhere",))
            options = self._maybe(0.2, "ecmp_symmetric_reply", "true") | self._maybe(0.1, "origin", "connected")
            table = r.choice(("", "", "", "a", "c"))
            policy = r.choice(("dst-ip", "dst-ip", "src-ip"))
            row = StaticRoute(name, r.choice(prefixes[version]), nexthop, port, policy, table, frozendict(options))
            if row.key not in {other.key for other in self.rows}:
                self.rows.append(row)

    def _policies(self, name: str) -> None:
        r = self.random
        for n in range(r.randint(0, 3)):
            action = r.choice(("allow", "drop", "reroute", "reroute"))
            hops = [self._hop(r.choice((4, 4, 4, 6))) for _ in range(r.randint(0, 3))] if action == "reroute" else []
            if r.random() < 0.7:
                hops = [hop for hop in hops if "." in hop]
            options = self._maybe(0.2, "pkt_mark", "7", "x")
            match = f"ip4.src == 10.{n}.0.0/16"
            self.rows.append(
                RouterPolicy(name, 100 + n, match, action, tuple(dict.fromkeys(hops)), frozendict(options))
            )

    def _balancers(self) -> tuple[list[str], list[str]]:
        r = self.random
        names = []
        for n in range(r.randint(0, 6)):
            options = self._maybe(0.25, "skip_snat", "true") | self._maybe(0.4, "reject", "true", "false")
            options |= self._maybe(0.15, "event", "true", "false")
            options |= self._maybe(0.3, "affinity_timeout", "60", "70000", "0")
            options |= self._maybe(0.4, "neighbor_responder", "all", "none", "reachable", "wrong")
            vips = dict(self._vip(n, i) for i in range(r.randint(0, 4)))
            if n == 0 and len(vips) == 1:  # the order of several routable VIPs is northd's hash table's
                options["add_route"] = "true"
            fields = r.choice(((), (), ("ip_dst", "ip_src", "tp_dst", "tp_src"), ("eth_src", "ip_src")))
            self.rows.append(balancer(f"lb{n}", vips, r.choice(("tcp", "udp", "sctp")), options, fields))
            names.append(f"lb{n}")
        groups = []
        for n in range(r.randint(0, 2)):
            self.rows.append(LoadBalancerGroup(f"group{n}", tuple(lb for lb in names if r.random() < 0.5)))
            groups.append(f"group{n}")
        return names, groups

    def _vip(self, n: int, i: int) -> tuple[str, str]:
        r = self.random
        v6, with_port = r.random() < 0.4, r.random() < 0.8
        count = r.randint(0, 3)
        if v6:
            ip = r.choice((f"fd00:{n}::{r.randint(1, 9)}", "2001:db8::100", f"2001:db8:0::{n:x}:{i:x}"))
            ends = [f"[fd00:{b}::{100 + b:x}]:80" if with_port else f"fd00:{b}::{100 + b:x}" for b in range(count)]
            return (f"[{ip}]:{5000 + i}" if with_port else ip), ",".join(ends)
        ip = r.choice((f"10.{n}.0.{r.randint(1, 9)}", "200.0.0.100", f"200.0.{n}.{i}"))
        ends = [f"10.{b}.0.{100 + b}:80" if with_port else f"10.{b}.0.{100 + b}" for b in range(count)]
        return (f"{ip}:{5000 + i}" if with_port else ip), ",".join(ends)
