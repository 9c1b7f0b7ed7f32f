"""The sandbox runs stock OVN: what is loaded is there, what northd and ovn-trace say can be read, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from frozendict import frozendict

from deployer.jsonrpc import RpcError
from deployer.ovsdb_json import inserted_keys, plan_operations
from deployer.sandbox import SB, OvnSandbox, missing_binaries
from deployer.southbound import fetch_southbound
from ytwin.core.errors import YtwinError
from ytwin.core.plan import diff
from ytwin.logical.dump import read_southbound
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

pytestmark = pytest.mark.ovn

OWNED = frozendict(owner="ytwin")
ROWS: tuple[Row, ...] = (
    LogicalSwitch("s1", load_balancer_group=("group",), external_ids=OWNED),
    LogicalSwitch("s2", load_balancer=("default/web/tcp",), other_config=frozendict(mcast_snoop="false")),
    LogicalRouter("vpc1", options=frozendict(mcast_relay="false")),
    LogicalRouterPort("lrp1", "vpc1", "02:00:00:00:00:01", ("10.0.1.1/24", "fd00:1::1/64")),
    LogicalRouterPort("lrp2", "vpc1", "02:00:00:00:00:02", ("10.0.2.1/24",)),
    GatewayChassis("lrp2", "node1", 20),
    GatewayChassis("lrp2", "node2", 10),
    LogicalSwitchPort("lsp1", "s1", "router", ("router",), options=frozendict({"router-port": "lrp1"})),
    LogicalSwitchPort("lsp2", "s2", "router", ("router",), options=frozendict({"router-port": "lrp2"})),
    LogicalSwitchPort("a", "s1", "", ("0a:58:0a:00:01:05 10.0.1.5",), ("0a:58:0a:00:01:05 10.0.1.5",)),
    LogicalSwitchPort("b", "s2", "", ("0a:58:0a:00:02:05 10.0.2.5",), external_ids=OWNED),
    LogicalSwitchPort("net", "s2", "localnet", ("unknown",), options=frozendict(network_name="phys"), tag=7),
    LoadBalancer("default/web/tcp", frozendict({"10.96.0.1:80": "10.0.2.5:8080"}), "tcp", ("ip_dst", "ip_src")),
    LoadBalancer("default/dns/udp", frozendict({"10.96.0.1:53": "", "[fd96::1]:53": "[fd00:1::5]:53"}), "udp"),
    LoadBalancerGroup("group", ("default/web/tcp", "default/dns/udp")),
    StaticRoute("vpc1", "0.0.0.0/0", "10.0.2.9", "lrp2"),
    StaticRoute("vpc1", "10.9.0.0/16", "discard", policy="src-ip"),
    RouterPolicy("vpc1", 100, "ip4.src == 10.0.1.5", "reroute", ("10.0.2.7",)),
)
NORTHBOUND = Northbound.of(ROWS, frozendict(use_ct_inv_match="false"))
PACKET = (
    'inport == "a" && eth.src == 0a:58:0a:00:01:05 && eth.dst == 02:00:00:00:00:01 && ip4.src == 10.0.1.5'
    " && ip4.dst == 10.96.0.1 && ip.ttl == 64 && tcp.src == 1000 && tcp.dst == 80"
)


@pytest.fixture(scope="module")
def ovn():
    with OvnSandbox() as sandbox:
        yield sandbox


def _alive(directory: Path) -> list[str]:
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text:
            commands.append(text)
    return commands


def test_stock_nbctl_sees_every_loaded_row(ovn):
    ovn.load(NORTHBOUND)
    assert ovn.nbctl("get", "Logical_Switch_Port", "net", "tag").strip() == "7"
    assert "10.0.2.5:8080" in ovn.nbctl("lb-list")
    assert ovn.nbctl("lrp-get-gateway-chassis", "lrp2").split() == ["lrp2-node1", "20", "lrp2-node2", "10"]
    assert "discard" in ovn.nbctl("lr-route-list", "vpc1")
    assert "reroute" in ovn.nbctl("lr-policy-list", "vpc1")
    assert ovn.nbctl("get", "NB_Global", ".", "options:use_ct_inv_match").strip() == '"false"'


def test_load_replaces_what_was_there(ovn):
    ovn.load(NORTHBOUND)
    ovn.load(Northbound.of([LogicalSwitch("only")]))
    ovn.wait_northd()
    assert [str(d) for d in ovn.southbound().datapaths] == ["only"]
    assert "use_ct_inv_match" not in ovn.nbctl("get", "NB_Global", ".", "options")


def test_two_loads_of_the_same_rows_end_alike(ovn):
    ovn.load(NORTHBOUND)
    ovn.wait_northd()
    first = ovn.southbound()
    ovn.load(NORTHBOUND)
    ovn.wait_northd()
    again = ovn.southbound()

    def known(flows):
        return sorted((f.datapaths, f.stage, f.priority, f.match, f.actions) for f in flows)

    assert known(first.flows) == known(again.flows)
    assert len(first.flows) > 200


def test_plan_carried_out_equals_the_desired_rows_loaded(ovn):
    """The sandbox's southbound says whether the database holds the same after a plan as after a full load."""
    rest = [row for row in ROWS if row.key.name not in ("default/dns/udp", "b", "group")]
    rest[3] = LogicalRouterPort("lrp1", "vpc1", "02:00:00:00:00:09", ("10.0.1.1/24",))
    changed = Northbound.of(
        [
            *rest,
            LogicalSwitch("s3"),
            LogicalSwitchPort("c", "s3", "", ("0a:58:0a:00:03:05 10.0.3.5",)),
            LogicalSwitchPort("b", "s1", "", ("0a:58:0a:00:02:05 10.0.1.9",)),
            LoadBalancer("default/sctp/sctp", frozendict({"10.96.0.2:80": "10.0.2.5:8080"}), "sctp"),
            LoadBalancerGroup("group", ("default/sctp/sctp", "default/web/tcp")),
            GatewayChassis("lrp2", "node3", 5),
        ],
        NORTHBOUND.options,
    )
    ovn.load(NORTHBOUND)
    plan = diff(NORTHBOUND.rows, changed.rows)
    results = ovn.transact(plan_operations(plan, ovn.uuids))
    created = [result["uuid"][1] for result in results if "uuid" in result]
    assert len(created) == len(inserted_keys(plan))
    ovn.wait_northd()
    planned = ovn.southbound()
    ovn.load(changed)
    ovn.wait_northd()
    loaded = ovn.southbound()
    strip = [sorted((f.datapaths, f.stage, f.priority, f.match, f.actions) for f in s.flows) for s in (planned, loaded)]
    assert strip[0] == strip[1]
    assert planned.load_balancers == loaded.load_balancers
    assert planned.multicast_groups == loaded.multicast_groups


def test_dump_database_file_and_running_server_read_alike(ovn):
    ovn.load(NORTHBOUND)
    ovn.wait_northd()
    chassis = {"name": "node1", "hostname": "h", "encaps": ["named-uuid", "encap"]}
    encap = {"type": "geneve", "ip": "192.0.2.1", "chassis_name": "node1"}
    ovn.transact(
        [
            {"op": "insert", "table": "Chassis", "uuid-name": "chassis", "row": chassis},
            {"op": "insert", "table": "Encap", "uuid-name": "encap", "row": encap},
            {
                "op": "update",
                "table": "Port_Binding",
                "where": [["logical_port", "==", "a"]],
                "row": {"chassis": ["named-uuid", "chassis"]},
            },
        ],
        SB,
    )
    ovn.wait_northd()
    dump = ovn.southbound()
    assert dump == read_southbound((ovn.directory / "sb.db").read_text())
    assert dump == read_southbound(fetch_southbound(ovn.sb_remote))
    assert dump.ports["a"].chassis == "node1"
    assert dump.ports["cr-lrp2"].gateway_chassis == (("node1", 20), ("node2", 10))
    assert dump.ports["a"].port_security == ("0a:58:0a:00:01:05 10.0.1.5",)


def test_clustered_database_file_is_refused_with_the_way_out(ovn, tmp_path):
    schema = tmp_path / "sb.ovsschema"
    schema.write_text(ovn.run("ovsdb-client", "get-schema", ovn.sb_remote, SB))
    ovn.run("ovsdb-tool", "create-cluster", str(tmp_path / "c.db"), str(schema), "tcp:127.0.0.1:6644")
    with pytest.raises(YtwinError, match="cluster-to-standalone"):
        read_southbound((tmp_path / "c.db").read_text())


def test_trace_daemon_and_single_process_agree(ovn):
    ovn.load(NORTHBOUND)
    ovn.wait_northd()
    daemon = ovn.trace("s1", PACKET)
    assert 'ingress(dp="vpc1", inport="lrp1")' in daemon
    with ovn.tracer(["new"] * 3) as tracer:
        first = tracer.trace("s1", PACKET)
        assert ovn.trace("s1", PACKET, ct=["new"] * 9) == first
        # its three states are used up, and the default is "established"
        assert tracer.trace_many([("s1", PACKET)] * 5)[-1] == daemon
    assert "10.0.2.5" in first


def test_trace_daemon_sees_the_southbound_of_its_start_and_load_renews_the_default_one(ovn):
    ovn.load(NORTHBOUND)
    ovn.wait_northd()
    assert "lrp1" in ovn.trace("s1", PACKET)
    ovn.load(Northbound.of([LogicalSwitch("s1"), LogicalSwitchPort("a", "s1")]))
    ovn.wait_northd()
    assert "lrp1" not in ovn.trace("s1", PACKET)


def test_errors_carry_the_words_of_ovn(ovn):
    with pytest.raises(RpcError, match="No_Such"):
        ovn.transact([{"op": "select", "table": "No_Such", "where": []}])
    with pytest.raises(YtwinError, match="no-such-command"):
        ovn.nbctl("no-such-command")
    assert "unknown datapath" in ovn.trace("nowhere", PACKET)


def test_nothing_is_left_behind_even_by_an_exception():
    sandbox = OvnSandbox()
    seen = []

    def work() -> None:
        with sandbox:
            sandbox.load(NORTHBOUND)
            sandbox.wait_northd()
            sandbox.trace("s1", PACKET)
            seen.extend(_alive(sandbox.directory))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(seen) >= 3
    assert not sandbox.directory.exists()
    assert _alive(sandbox.directory) == []
    sandbox.close()


def test_sandboxes_side_by_side_do_not_meet():
    def work(number: int) -> list[str]:
        with OvnSandbox(separate=number == 1) as sandbox:
            sandbox.load(Northbound.of([LogicalSwitch(f"s{number}")]))
            sandbox.wait_northd()
            return [str(d) for d in sandbox.southbound().datapaths]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == [["s0"], ["s1"], ["s2"]]


def test_a_killed_parent_leaves_nothing():
    script = (
        "import sys, time\n"
        "from deployer.sandbox import OvnSandbox\n"
        "with OvnSandbox() as ovn:\n"
        "    ovn.tracer()\n"
        "    print(ovn.directory, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        directory = Path(parent.stdout.readline().strip())
        assert directory.is_dir()
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (directory.exists() or _alive(directory)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not directory.exists()
    assert _alive(directory) == []


def test_missing_binaries_are_named_with_their_package(monkeypatch, tmp_path):
    monkeypatch.setenv("OVN_PKGDATADIR", str(tmp_path))
    assert set(missing_binaries().values()) == {"ovn-central"}
    with pytest.raises(YtwinError, match="apt-get install ovn-central"):
        OvnSandbox()
