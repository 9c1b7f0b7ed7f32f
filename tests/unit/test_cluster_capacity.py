"""`ytwin capacity`: what it says, and what it says of bad input; sizes and speed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ytwin import cluster as room
from ytwin import pipeline
from ytwin.cli import main
from ytwin.cluster.report import words
from ytwin.cluster.types import Rate
from ytwin.core.errors import InvalidInput
from ytwin.hardware import shipped

ROOT = Path(__file__).parents[2]
FOUR = str(ROOT / "topologies" / "four-scenarios")
SMALL = ("capacity", "--nodes", "5", "--services", "20", "--backends", "3", "--outside", "0.25")
LOAD = ("--load", "packets=100 k/s,size=256 B,new=100 /s,lifetime=10 s,zipf=1")
HEADER = "src_node,service,packets_per_s,bytes_per_packet,new_connections_per_s,lifetime_s\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_topology_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Answer first; then resources, losses, and what it rests on."""
    code, out, _ = run(capsys, "capacity", FOUR, "--load", "packets=100 k/s,new=100 /s,lifetime=5 s", "--lose", "each")
    assert code == 0
    assert "This load can grow " in out.splitlines()[1]
    for part in (
        "as the NetworkCards say: node1 yusur-dpu-2x100g",
        "the limit",
        "receiving ports",
        "card's conntrack table",
        "beyond, software",
        "node1 (gateway)",
        "card of node",
        "rests on:",
        "(assumed)",
    ):
        assert part in out


def test_a_supposed_card_is_compiled_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Plain nodes with --card carry what nodes with that NetworkCard do, also after a loss."""
    for file in Path(FOUR).glob("*.yaml"):
        (tmp_path / file.name).write_text(
            file.read_text().replace("type: DPU,", "type: none,").replace("type: SmartNIC,", "type: none,")
        )
    options = ("--load", "packets=100 k/s", "--card", "connectx-6-dx", "--lose", "node2", "--json")
    there, supposed = (run(capsys, "capacity", folder, *options)[1] for folder in (FOUR, str(tmp_path)))
    assert json.loads(there) == json.loads(supposed)


def test_json_is_one_document_and_only_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, *SMALL, *LOAD, "--card", "connectx-6-dx", "--card", "ovs-kernel", "--lose", "each", "--json"
    )
    clusters: list[dict[str, Any]] = json.loads(out)["clusters"]
    assert [one["title"].split()[0] for one in clusters] == ["connectx-6-dx", "ovs-kernel"]
    assert code == (0 if all(one["fits"] for one in clusters) else 1)
    for one in clusters:
        limit = next(r for r in one["resources"] if r["resource"] == one["limit"]["resource"])
        assert limit["limits"]
        assert limit["can_grow"] == pytest.approx(one["scale"])
        assert one["packets_per_s"] == pytest.approx(20 * 2 * 100_000)
        assert one["connections"] == pytest.approx(20 * 1000)
    assert [loss["lost"].rpartition(" ")[0] for loss in clusters[0]["losses"]][1].startswith("card of")
    assert [loss["lost"] for loss in clusters[1]["losses"] if loss["lost"].startswith("card")] == []


def test_a_load_that_does_not_fit_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *SMALL, "--load", "packets=100 M/s")
    assert code == 1
    assert "This load does not fit. 0.0" in out


def test_what_too_small_tables_do_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *SMALL, "--load", "packets=10 k/s,connections=200000")
    assert "connections stay in software" in out


def test_packets_that_do_not_fit_are_noted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """1500 B of the underlay, less 100 B for the tunnel, and Ethernet's 18 B; requests are cut to frames."""
    for load, noted in (
        ("packets=1 k/s,size=1419 B", True),
        ("packets=1 k/s,size=1418 B", False),
        ("requests=1 /s,size=1 MB", False),
    ):
        _, out, _ = run(capsys, *SMALL, "--load", load)
        assert ("a frame between nodes has 1418 B at most" in out) is noted
    file = tmp_path / "flows.csv"
    file.write_text(HEADER + "node1,scenario1,10,1000,0,0\nnode1,scenario1,10,9000,0,0\n")
    _, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--json")
    (note,) = json.loads(out)["clusters"][0]["notes"]
    assert note.startswith(f"packets of 9000 B ({file}:3) are counted whole")


def test_nothing_left_after_a_loss_is_no_endless_growth(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "flows.csv"
    file.write_text(HEADER + "node1,scenario1,100000,300,10,5\n")
    _, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--lose", "node1")
    assert re.search(r"node1 \(node\) +nothing is carried +- ", out)
    assert "inf times" not in out
    code, out, err = run(capsys, "capacity", FOUR, *LOAD, "--down", "node1", "--down", "node2", "--down", "node3")
    assert (code, out) == (2, "")
    assert "no node is left without node1, node2, node3" in err


@pytest.mark.parametrize(
    ("where", "service"), [((FOUR,), "scenario1"), (("--nodes", "3", "--services", "2", "--seed", "1"), "svc-1")]
)
def test_flows_of_a_lost_nodes_clients_are_gone_and_that_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, where: tuple[str, ...], service: str
) -> None:
    """Alike for clusters that are read and generated: nothing is unserved, for nobody is left to ask."""
    file = tmp_path / "flows.csv"
    file.write_text(f"{HEADER}node1,{service},10000,300,10,5\nnode3,{service},10000,300,10,5\n")
    options = ("--flows", str(file), "--lose", "node1")
    gone = "10,000 packets/s and 10 new connections/s from node1 are gone with the clients there"
    _, out, _ = run(capsys, "capacity", *where, *options)
    assert f"without node1 (node): {gone}" in out
    _, out, _ = run(capsys, "capacity", *where, *options, "--json")
    (found,) = json.loads(out)["clusters"]
    (loss,) = found["losses"]
    assert not any("gone" in note for note in found["notes"])
    assert loss["notes"] == [gone]
    assert loss["unserved"] == []
    assert loss["busiest"] > 0


def test_flows_from_and_to_what_is_down(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--down means the same as --lose; a workload that was there is served no more."""
    file = tmp_path / "flows.csv"
    file.write_text(HEADER.replace("service", "dst") + "node1,scenario1,10000,300,10,5\nnode3,scenario1,500,300,0,0\n")
    code, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--down", "node1", "--json")
    (found,) = json.loads(out)["clusters"]
    assert (code, found["packets_per_s"]) == (0, pytest.approx(1000))
    assert found["notes"] == ["10,000 packets/s and 10 new connections/s from node1 are gone with the clients there"]
    file.write_text(HEADER.replace("service", "dst") + "Node/node3,pod/web1,100000,300,0,0\n")
    code, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--lose", "node1", "--json")
    (loss,) = json.loads(out)["clusters"][0]["losses"]
    assert loss["unserved"] == [{"service": "pod/web1", "reason": "its node is lost"}]


def test_the_same_loss_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    worst = next(
        loss["lost"].partition(" ")[0]
        for loss in json.loads(run(capsys, *SMALL, *LOAD, "--lose", "each", "--json")[1])["clusters"][0]["losses"]
    )
    again = ("--lose", "each", "--lose", worst, "--lose", f"node:{worst}", "--lose", "node")
    found = json.loads(run(capsys, *SMALL, *LOAD, *again, "--json")[1])["clusters"][0]
    lost = [loss["lost"] for loss in found["losses"]]
    assert len(lost) == len(set(lost)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((FOUR, *LOAD, "--lose", "gateway:nope"), "no such EipGateway; there are eipgw"),
        ((FOUR, *LOAD, "--lose", "gateway:eipg"), "did you mean eipgw?"),
        ((FOUR, *LOAD, "--seed", "4", "--services", "3"), "--services, --seed: of a generated cluster only"),
        ((FOUR, *LOAD, "--services", "1000"), "--services: of a generated cluster only"),
        (("--nodes", "0", *LOAD), "'--nodes': Input should be greater than or equal to 1"),
        (("--nodes", "0"), "'--nodes': Input should be greater than or equal to 1"),
        (("--nodes", "3", "--gateways", "2", *LOAD), "--gateways: no Service here has an EIP"),
        (("--nodes", "3", "--outside", "0.5", "--gateways", "9", *LOAD), "9 gateways on 3 nodes"),
    ],
)
def test_options_without_a_meaning_are_said(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = run(capsys, "capacity", *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_huge_loads_have_few_digits(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, *SMALL, "--load", "packets=1e29 /s")
    assert re.search(r"This load does not fit\. \d\.\d+e-\d+ of it does", out)
    assert max(map(len, out.split())) < 40


@pytest.mark.parametrize(
    ("options", "said"), [((), "say what the cluster carries"), ((*LOAD, "--flows", "x.csv"), "give one of the two")]
)
def test_load_or_flows(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str) -> None:
    code, _, err = run(capsys, *SMALL, *options)
    assert (code, said in err) == (2, True)


def test_measured_flows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Only where they come from and go to is there work; a workload may be called itself."""
    file = tmp_path / "flows.csv"
    file.write_text(
        HEADER.replace("service", "dst") + "node1,scenario1,100000,300,10,5\noutside,scenario3:5432,5e4,1500,,\n"
    )
    code, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--json")
    assert code == 0
    found = json.loads(out)["clusters"][0]
    assert found["packets_per_s"] == pytest.approx(2 * 150_000)
    assert found["connections"] == pytest.approx(50)
    file.write_text(HEADER.replace("service", "dst") + "Node/node3,pod/web1,100000,300,0,0\n")
    _, out, _ = run(capsys, "capacity", FOUR, "--flows", str(file), "--json")
    found = json.loads(out)["clusters"][0]
    assert found["packets_per_s"] == pytest.approx(2 * 100_000)


def test_flows_of_a_generated_cluster_are_its_load_if_they_are_even() -> None:
    """From every node to a Service the same: that is what a load says."""
    size = room.Size(nodes=4, services=2, backends=2)
    cluster = pipeline.generated_cluster(size, shipped()["yusur-dpu-2x100g"])
    lines = "".join(f"node{n},svc-{s},2500,104,0,0\n" for n in range(1, 5) for s in (1, 2))
    flows = room.decode_flows("flows.csv", HEADER + lines)
    one = room.capacity(*room.generated_flows(cluster, flows))
    other = room.capacity(cluster, room.offered(cluster, room.parse_traffic("packets=10 k/s,size=104 B")))
    assert one.now.shares == pytest.approx(other.now.shares)
    assert one.scale == pytest.approx(other.scale)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("src_node,service,packets_per_s\nnode1,a,1\n", 1, "no column bytes_per_packet"),
        (HEADER.replace("service", "servce") + "node1,a,1,64,0,0\n", 1, "did you mean service?"),
        (HEADER + "node1,a,1,64,0,0\nnode1,a,-1,64,0,0\n", 3, "'-1' is no number of at least 0"),
        (HEADER + "node1,a,many,64,0,0\n", 2, "'many' is no number"),
        (HEADER + "node1,a,1,64,0\n", 2, "5 cells under 6 columns"),
        (HEADER + "node1,,1,64,0,0\n", 2, "nothing stands here"),
        (HEADER + "node1,a,1,0,0,0\n", 2, "packets without bytes"),
        (HEADER + "node1,a,1e300,64,0,0\n", 2, "beyond all that can be reckoned with"),
        (HEADER + "node1,a,10,64,20,1\n", 2, "20 new connections/s but 10 packets/s"),
        (HEADER, 0, "no flow in this file"),
        ("", 1, "no column src_node"),
    ],
)
def test_bad_flows_are_said_with_their_line(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        room.decode_flows("flows.csv", text)
    assert said in str(error.value)
    assert all(p.where.file == "flows.csv" for p in error.value.problems)
    assert line in {p.where.line for p in error.value.problems}


@pytest.mark.parametrize("line", ["node9,scenario1", "node1,nobody", "outside,scenario1", "node1,scenario3:9"])
def test_flows_of_unknown_names_are_said(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str) -> None:
    file = tmp_path / "flows.csv"
    file.write_text(f"{HEADER}{line},1000,64,0,0\n")
    code, _, err = run(capsys, "capacity", FOUR, "--flows", str(file))
    assert code == 2
    assert f"{file}:2" in err.replace("\n", "")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("packets=-1 /s", "at least 0"),
        ("packets=5", "has no unit"),
        ("packts=5 /s", "did you mean packets?"),
        ("packets=5 /s,packets=6 /s", "stands twice"),
        ("packets=5 /s,requests=6 /s", "at once"),
        ("size=64 B", "asks for nothing"),
        ("packets=5 /s,lifetime=3 s", "lifetime without new"),
        ("packets=5 /s,new=3 /s,connections=5", "at once"),
        ("packets=5 /s,size=20 B", "no packet has 20 B"),
        ("packets=5 /s,zipf=x", "is no number"),
        ("packets", "is no field"),
        ("packets=100 k/s,new=200 k/s", "each connection has one at least"),
        ("requests=1 k/s,new=2 k/s,lifetime=1 s", "each connection has one at least"),
        ("bandwidth=8 kbit/s,size=100 B,new=20 /s", "20 new connections/s but 10 packets/s"),
    ],
)
def test_bad_loads_are_said(load: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace("?", r"\?")):
        room.parse_traffic(load)


@pytest.mark.parametrize(
    "arguments",
    [
        (FOUR,),
        (FOUR, *LOAD, "--nodes", "3"),
        LOAD,
        (*SMALL[1:], *LOAD, "--flows", "x.csv"),
        (*SMALL[1:], "--flows", "nowhere.csv"),
        (*SMALL[1:], *LOAD, "--lose", "node99"),
        (*SMALL[1:], *LOAD, "--lose", "card:node1", "--card", "ovs-kernel"),
        (*SMALL[1:], *LOAD, "--card", "nothing"),
        (*SMALL[1:], *LOAD, "--down", "node1"),
        ("--nodes", "3", "--services", "0", *LOAD),
        ("--nodes", "3", "--outside", "0.7", "--shared", "0.7", *LOAD),
    ],
)
def test_bad_input_is_said_and_no_more(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = run(capsys, "capacity", *arguments)
    assert code == 2
    assert not out
    assert err
    assert "Traceback" not in err


def test_ovn_and_kube_proxy_do_not_mix() -> None:
    files = {p.name: p.read_text() for p in (ROOT / "topologies" / "article").glob("*.yaml")}
    twin = pipeline.build(pipeline.read(files))
    cards = {"node1": shipped()["ovs-kernel"], "node2": shipped()["kube-proxy-ipvs"]}
    with pytest.raises(InvalidInput, match="kube-proxy on others"):
        room.survey(twin.snapshot, twin.world, {}, cards)


def test_requests_are_packets_and_instructions() -> None:
    """1 kB fits one frame; 10 kB are eight."""
    cluster = pipeline.generated_cluster(room.Size(nodes=2, services=1), shipped()["yusur-dpu-2x100g"])
    rates = {
        size: room.offered(cluster, room.parse_traffic(f"requests=1 k/s,size={size}")).rates[0]
        for size in ("1 kB", "10 kB")
    }
    assert rates["1 kB"][Rate.FORWARD] == rates["1 kB"][Rate.REPLY] == 1000
    assert rates["10 kB"][Rate.FORWARD] == 8000
    assert rates["10 kB"][Rate.REQUESTS] == 1000


def test_what_a_limit_rests_on_is_what_it_is_made_of() -> None:
    """A conntrack table has its places whatever the card's tables hold; kept connections set none up; packets ask no work of a
    server."""
    cluster = pipeline.generated_cluster(room.Size(nodes=3, services=6), shipped()["yusur-dpu-2x100g"])

    def rests_on(load: str) -> str:
        found = room.capacity(cluster, room.offered(cluster, room.parse_traffic(load)))
        return f"{found.resource}: {', '.join(found.rests_on)}"

    table = rests_on("packets=100 k/s,new=1 k/s,lifetime=60 s")
    assert table.startswith("conntrack table: ")
    assert "eswitch" not in table
    opened = rests_on("packets=10 k/s,new=10 k/s,lifetime=10 ms")
    assert opened.startswith("slow path: ")
    assert "slow_path.conntrack_setup_rate" in opened
    assert "eswitch" not in opened  # every packet is a first one
    kept = rests_on("packets=1 M/s,connections=10")
    assert kept.startswith("eswitch: ")
    assert "eswitch.flow_table" in kept
    assert "insertion_rate" not in kept


def test_measures_have_names_and_nothing_asked_has_no_limit() -> None:
    cluster = pipeline.generated_cluster(room.Size(nodes=3, services=6, outside=0.5), shipped()["connectx-6-dx"])
    values, texts = room.measures(room.capacity(cluster, room.offered(cluster, room.parse_traffic("packets=1 M/s"))))
    assert values["headroom_eswitch"] >= values["scale"] > 0
    assert values["busiest"] == pytest.approx(1 / values["scale"], rel=1e-6)
    assert " of node" in texts["limit"]
    nothing = room.capacity(cluster, room.offered(cluster, room.Traffic()))
    assert nothing.limit == ""
    assert words(nothing) == "This load asks nothing of the cluster."


def test_a_large_cluster_takes_seconds_and_little_memory() -> None:
    """1,000 nodes, 10,000 Services, 100,000 backends, the whole command: less than 10 s of a processor and 4 GiB."""
    sized = ("--nodes", "1000", "--services", "10000", "--backends", "10", "--outside", "0.2", "--gateways", "20")
    command = [sys.executable, "-m", "ytwin", "capacity", *sized, *LOAD, "--lose", "each", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, spent = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode in (0, 1)
    assert spent.ru_utime + spent.ru_stime < 10
    assert spent.ru_maxrss / 2**20 < 4
