"""Random Northbounds, from a seed: wider than what our compiler makes, so that northd's rules are met in every combination."""

from __future__ import annotations

from dataclasses import dataclass, field
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

Options = dict[str, str]


def random_northbound(seed: int) -> Northbound:
    """Up to five switches and four routers with everything that may be on them."""
    return _Draw(Random(seed)).northbound()


@dataclass
class _Draw:
    rng: Random
    rows: list[Row] = field(default_factory=list)
    n_macs: int = 0
    switches: list[str] = field(default_factory=list)
    nets: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Switch -> its IPv4 and IPv6 prefix."""
    router_nets: dict[str, list[str]] = field(default_factory=dict)
    """Router -> switches it is connected to."""

    def maybe(self, chance: float) -> bool:
        return self.rng.random() < chance

    def some(self, items: list[str], most: int = 3) -> list[str]:
        return self.rng.sample(items, self.rng.randint(0, min(most, len(items))))

    def mac(self) -> str:
        self.n_macs += 1
        return f"0a:{self.rng.choice(('58', '0F', '00'))}:00:00:{self.n_macs >> 8:02x}:{self.n_macs & 255:02x}"

    def options(self, chances: dict[str, tuple[float, tuple[str, ...]]]) -> frozendict[str, str]:
        chosen = {name: self.rng.choice(values) for name, (chance, values) in chances.items() if self.maybe(chance)}
        return frozendict(chosen)

    def northbound(self) -> Northbound:
        rng = self.rng
        n_balancers = rng.randint(0, 6)
        names = [f"lb{i}" for i in range(n_balancers)]
        groups = [f"group{i}" for i in range(rng.randint(0, 2))]
        for i in range(rng.randint(1, 5)):
            name = f"sw{i}"
            self.switches.append(name)
            self.nets[name] = (f"10.{i}.0", f"fd0{i}::")
            self.rows.append(LogicalSwitch(name, tuple(self.some(names)), tuple(self.some(groups))))
        for i in range(rng.randint(0, 4)):
            self.router(f"lr{i}", names, groups)
        for switch in self.switches:
            self.ports(switch)
        for name in names:
            self.balancer(name)
        self.rows.extend(LoadBalancerGroup(group, tuple(self.some(names, 6))) for group in groups)
        order = [*self.rows]
        rng.shuffle(order)
        options = self.options(
            {
                "use_ct_inv_match": (0.2, ("true", "false", "False")),
                "controller_event": (0.1, ("true", "false")),
                "install_ls_lb_from_router": (0.2, ("true", "false")),
            }
        )
        if any(isinstance(row, LogicalRouter) and row.load_balancer_group for row in order):
            # ovn-northd 23.03.1 writes past the end of a group's list of switches here, and aborts.
            options = options.delete("install_ls_lb_from_router") if "install_ls_lb_from_router" in options else options
        return Northbound.of(order, options)

    # -- switches ----------------------------------------------------------------------------------------------------

    def address(self, switch: str, host: int) -> str:
        v4, v6 = self.nets[switch]
        kinds = (
            [f"{v4}.{host}"],
            [f"{v6}{host:x}"],
            [f"{v4}.{host}", f"{v6}{host:x}"],
            [f"{v6}{host:x}", f"{v4}.{host}"],
            [],
        )
        return " ".join([self.mac(), *self.rng.choice(kinds)])

    def ports(self, switch: str) -> None:
        for i in range(self.rng.randint(0, 3)):
            addresses = [self.address(switch, 16 + 16 * i + j) for j in range(self.rng.choice((0, 1, 1, 1, 2)))]
            security = [text for text in addresses if self.maybe(0.3)]
            if self.maybe(0.2):
                addresses.append("unknown")
            if self.maybe(0.05):
                addresses.append("not an address")
            self.rows.append(LogicalSwitchPort(f"vif-{switch}-{i}", switch, "", tuple(addresses), tuple(security)))
        if self.maybe(0.3):
            addresses = ["unknown"] if self.maybe(0.8) else [self.address(switch, 200)]
            options = self.options({"localnet_learn_fdb": (0.4, ("true", "false")), "network_name": (1, ("phys",))})
            tag = self.rng.choice((None, 7))
            self.rows.append(
                LogicalSwitchPort(f"ln-{switch}", switch, "localnet", tuple(addresses), options=options, tag=tag)
            )
        if self.maybe(0.15):
            options = self.options({"router-port": (0.5, ("nowhere",))})
            addresses = self.rng.choice((["router"], [], ["unknown"], [self.address(switch, 201)]))
            self.rows.append(LogicalSwitchPort(f"stub-{switch}", switch, "router", tuple(addresses), options=options))

    # -- routers -----------------------------------------------------------------------------------------------------

    def router(self, name: str, balancers: list[str], groups: list[str]) -> None:
        rng = self.rng
        gateway = self.maybe(0.35)
        options = self.options(
            {
                "chassis": (1.0 if gateway else 0.0, ("ch1",)),
                "lb_force_snat_ip": (0.4, ("router_ip", "9.9.9.9", "9.9.9.9 fd99::9", "fd99::9")),
                "always_learn_from_arp_request": (0.3, ("true", "false")),
                "dynamic_neigh_routers": (0.3, ("true", "false")),
            }
        )
        self.router_nets[name] = [switch for switch in self.switches if self.maybe(0.6)]
        self.rows.append(LogicalRouter(name, tuple(self.some(balancers)), tuple(self.some(groups)), options))
        n_dgps = rng.choice((0, 0, 1, 1, 1, 2))
        for i, switch in enumerate(self.router_nets[name]):
            self.router_port(name, switch, dgp=i < n_dgps)
        if self.maybe(0.15):
            self.rows.append(LogicalRouterPort(f"{name}-alone", name, self.mac(), (f"192.168.{name[2:]}.1/24",)))
        for _ in range(rng.randint(0, 5)):
            self.route(name)
        for i in range(rng.randint(0, 2)):
            self.policy(name, i)

    def router_port(self, router: str, switch: str, dgp: bool) -> None:
        rng = self.rng
        v4, v6 = self.nets[switch]
        host = 1 + int(router[2:])
        kinds = (
            (f"{v4}.{host}/24",),
            (f"{v6}{host}/64",),
            (f"{v4}.{host}/24", f"{v6}{host}/64"),
            (f"{v4}.{host}/24", f"172.30.{host}.1/16"),
            (f"{v6}{host}/64", f"fdaa:{host}::1/48", f"{v4}.{host}/24"),
        )
        options = self.options(
            {
                "reside-on-redirect-chassis": (0.2, ("true", "false")),
                "gateway_mtu": (0.2, ("1400", "1500")),
                "redirect-type": (0.2 if dgp else 0, ("overlay", "bridged")),
                "gateway_mtu_bypass": (0.1, ("tcp",)),
            }
        )
        name = f"{router}-{switch}"
        self.rows.append(LogicalRouterPort(name, router, self.mac(), rng.choice(kinds), options))
        if dgp:
            chassis = rng.sample(("ch1", "ch2", "ch3"), rng.randint(1, 3))
            self.rows.extend(GatewayChassis(name, c, 10 * (i + 1)) for i, c in enumerate(chassis))
        if self.maybe(0.93):
            addresses = rng.choice(
                (("router",), ("router",), ("router",), (self.address(switch, 220),), ("router", "unknown"))
            )
            peer = frozendict({"router-port": name})
            self.rows.append(LogicalSwitchPort(f"{switch}-{router}", switch, "router", addresses, options=peer))

    def route(self, router: str) -> None:
        rng = self.rng
        v6 = self.maybe(0.4)
        switch = rng.choice(self.router_nets[router] or self.switches)
        prefix = rng.choice(
            ("fd77::/64", "::/0", "fd78::5") if v6 else ("77.0.0.0/8", "0.0.0.0/0", "78.1.2.3", "79.0.0.0/24")
        )
        net = self.nets[switch]
        nexthop = rng.choice(
            (f"{net[1]}fe" if v6 else f"{net[0]}.254", "discard", f"{net[1]}fd" if v6 else f"{net[0]}.253")
        )
        port = f"{router}-{switch}" if self.maybe(0.3) and switch in self.router_nets[router] else ""
        options = self.options({"ecmp_symmetric_reply": (0.3, ("true", "false"))})
        policy = rng.choice(("dst-ip", "dst-ip", "dst-ip", "src-ip"))
        row = StaticRoute(router, prefix, nexthop, port, policy, options=options)
        if row.key not in {other.key for other in self.rows}:
            self.rows.append(row)

    def policy(self, router: str, number: int) -> None:
        rng = self.rng
        action = rng.choice(("allow", "drop", "reroute"))
        switches = self.router_nets[router]
        hops = [f"{self.nets[switch][0]}.{250 + i}" for i, switch in enumerate(switches)] or ["10.0.0.250"]
        nexthops = tuple(rng.sample(hops, rng.randint(1, len(hops)))) if action == "reroute" else ()
        options = self.options({"pkt_mark": (0.3, ("17",))})
        self.rows.append(
            RouterPolicy(router, 100 + number, f"ip4.src == 10.{number}.0.0/16", action, nexthops, options)
        )

    # -- load balancers ----------------------------------------------------------------------------------------------

    def balancer(self, name: str) -> None:
        rng = self.rng
        vips = dict(self.vip() for _ in range(rng.choice((0, 1, 1, 2, 3))))
        fields = rng.choice(((), (), ("ip_dst", "ip_src"), ("ip_dst", "ip_src", "tp_dst", "tp_src")))
        options = self.options(
            {
                "reject": (0.3, ("true", "false")),
                "event": (0.3, ("true", "false")),
                "skip_snat": (0.25, ("true", "false")),
                "add_route": (0.15, ("true", "false")),
                "neighbor_responder": (0.4, ("all", "none", "reachable", "wrong")),
                "affinity_timeout": (0.3, ("0", "60", "10800", "70000")),
                "hairpin_snat_ip": (0.1, ("88.88.88.88",)),
            }
        )
        protocol = rng.choice(("tcp", "udp", "sctp"))
        self.rows.append(LoadBalancer(name, frozendict(vips), protocol, fields, options))

    def vip(self) -> tuple[str, str]:
        rng = self.rng
        v6, port = self.maybe(0.4), self.maybe(0.75)
        net = self.nets[rng.choice(self.switches)]
        inside, router_own = (f"{net[1]}aa", f"{net[1]}1") if v6 else (f"{net[0]}.170", f"{net[0]}.1")
        ip = rng.choice((inside, router_own, *(("fd96::1", "fd96:0:0:1::0:2") if v6 else ("10.96.0.1", "10.96.0.2"))))
        count = rng.choice((0, 1, 2, 2, 3))
        ends = [f"{net[1]}{16 + i:x}" if v6 else f"{net[0]}.{16 + i}" for i in range(count)]
        if port:
            ends = [f"[{end}]:{8080 + i}" if v6 else f"{end}:{8080 + i}" for i, end in enumerate(ends)]
        if self.maybe(0.05):
            ends.append("bad")
        key = ip if not port else f"[{ip}]:{rng.choice((80, 443))}" if v6 else f"{ip}:{rng.choice((80, 443))}"
        return key, ",".join(ends)
