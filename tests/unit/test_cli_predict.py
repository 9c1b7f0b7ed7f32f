"""`ytwin predict`: answers, forms, and errors without traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ytwin.cli import main
from ytwin.cli.memory import available_bytes, memory_bytes
from ytwin.core.errors import InvalidInput

ROOT = Path(__file__).parents[2]
ARTICLE = str(ROOT / "topologies" / "article")
FOUR = str(ROOT / "topologies" / "four-scenarios")
PATH = ("predict", ARTICLE, "--from", "client", "--to", "ysvc1")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0, out
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_one_load_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *PATH, "--load", "rr:clients=1", "--engine", "fast", "--seed", "7")
    assert code == 0
    for part in (
        "as the NetworkCards say: node1 yusur-dpu-2x100g",
        "first packet only in software",
        "Load_Balancer/default/ysvc1/tcp",
        "ct-new: first packet only in software",
        "rr:clients=1 (fast, seed 7)",
        "latency, 99 %",
        "eSwitch of node1",
        "host stack of node1",
        "rests on",
        "yusur-dpu-2x100g.host.latency (assumed)",
    ):
        assert part in out


def test_an_empty_load_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, *PATH, "--load", "")
    assert code == 2
    assert "the load does not say its kind" in err


def test_several_loads_and_cards_are_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    loads = ("--load", "bulk:streams=16", "--load", "packets:rate=1 Mpps,flows=10")
    code, out, _ = run(capsys, *PATH, *loads, "--card", "ovs-kernel", "--card", "connectx-6-dx")
    assert code == 0
    text, told = out[out.index("CARDS ") : out.index("\n\n# What")].split("\n\n")[:2]
    assert told == "packets:rate=1 Mpps,flows=10: latency is one way, of a packet"
    table = text.splitlines()
    assert [line.split("  ")[0] for line in table[1:]] == [
        *["ovs-kernel in every node"] * 2,
        *["connectx-6-dx in every node"] * 2,
    ]
    assert "BANDWIDTH GBIT/S" in table[0]
    assert "LIMIT (ANALYTIC)" in table[0]


@pytest.mark.parametrize("more", [(), ("--load", "rr:clients=1")])
def test_packets_that_do_not_fit_are_noted(capsys: pytest.CaptureFixture[str], more: tuple[str, ...]) -> None:
    """1500 B of the underlay, less 100 B for the tunnel, and Ethernet's 18 B."""
    _, out, _ = run(capsys, *PATH, "--load", "packets:rate=1 Mpps,size=1419 B", *more)
    assert len(re.findall("note: .*packets of 1419 B are counted whole, but a frame on this path has 1418 B", out)) == 1
    _, out, _ = run(capsys, *PATH, "--load", "packets:rate=1 Mpps,size=1418 B", *more)
    assert "counted whole" not in out


@pytest.mark.parametrize(
    ("load", "trips"),
    [("rr:clients=5", 1), ("crr:clients=5", 2), ("rr:clients=5,requestsPerConnection=4,think=1 us", 1.25)],
)
def test_what_latency_is_and_how_long_a_request_takes_is_said(
    capsys: pytest.CaptureFixture[str], load: str, trips: float
) -> None:
    """Little: clients = rate * (time of a request + think time)."""
    (one,) = run_json(capsys, *PATH, "--load", load)["predictions"]
    took_us = 2 * one["round_trips"] * one["values"]["latency_us"]["value"]
    think_us = 1 if "think" in load else 0
    assert one["round_trips"] == pytest.approx(trips)
    assert one["values"]["requests_per_s"]["value"] == pytest.approx(5e6 / (took_us + think_us), rel=1e-4)
    _, out, _ = run(capsys, *PATH, "--load", load)
    assert re.search(rf"latency is one way: .* (one round trip|{trips:g} round trips), {took_us:.4g} us", out)
    _, out, _ = run(capsys, *PATH, "--load", "packets:rate=1 Mpps")
    assert "latency is one way, of a packet" in out
    _, out, _ = run(capsys, *PATH, "--load", "packets:rate=1 Mpps", "--load", load, "--load", "bulk:streams=1")
    meant = [line for line in out.splitlines() if "latency is one way" in line]
    assert [line.partition(": latency")[0] for line in meant] == ["packets:rate=1 Mpps", load]


def test_equal_seeds_give_equal_documents(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--load", "open:rate=200 k/s,gaps=exponential", "--engine", "fast", "--duration", "5 ms")
    first, again = (run_json(capsys, *PATH, *options, "--seed", "3") for _ in range(2))
    other = run_json(capsys, *PATH, *options, "--seed", "4")
    assert first == again
    values = [document["predictions"][0]["values"] for document in (first, other)]
    assert values[0]["latency_us"] != values[1]["latency_us"]
    assert values[0]["latency_us"]["low"] < values[0]["latency_us"]["value"] < values[0]["latency_us"]["high"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, *PATH, "--load", "rr:clients=1")
    (one,) = document["predictions"]
    assert set(document) == {"client", "predictions"}
    assert {
        "load",
        "destinations",
        "offload",
        "engine",
        "seed",
        "values",
        "limit",
        "utilisation",
        "forward",
        "reply",
    } <= set(one)
    assert (document["client"], one["engine"], one["seed"], one["load"]) == (
        "Pod/default/client",
        "analytic",
        None,
        "rr:clients=1",
    )
    assert one["destinations"] == [{"name": "ysvc1", "address": "10.233.46.185:5001", "share": 1.0}]
    assert sum(part["us"] for part in one["forward"]["latency"]) == pytest.approx(one["forward"]["latency_us"])
    assert {v["outcome"] for v in one["offload"]["verdicts"]} == {"first packet only in software"}
    assert one["values"]["requests_per_s"]["value"] == pytest.approx(
        0.5e6 / one["values"]["latency_us"]["value"], rel=1e-3
    )


MIX = """apiVersion: iaas.yusur.io/v1
kind: Load
metadata: {name: mix}
spec:
  kind: packets
  rate: 100 kpps
  flows: 100
  services:
  - {service: scenario1, share: 3}
  - {service: scenario3, port: 5432}
"""


def test_a_mix_over_services(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two Services of the client's VPC, three packets to the one for each to the other."""
    file = tmp_path / "mix.yaml"
    file.write_text(MIX)
    for engine in ("analytic", "fast"):
        options = ("--from", "vpc1-client", "--load", str(file), "--engine", engine, "--card", "ovs-kernel")
        (one,) = run_json(capsys, "predict", FOUR, *options)["predictions"]
        assert one["load"] == "mix"
        assert [(d["name"], d["share"]) for d in one["destinations"]] == [("scenario1", 3.0), ("scenario3:5432", 1.0)]
        assert one["values"]["packet_rate_mpps"]["value"] == pytest.approx(0.1, rel=0.01)
    code, out, _ = run(capsys, "predict", FOUR, "--from", "node1", "--load", str(file))
    assert code == 1  # a node does not reach vpc1
    assert "node1 -> scenario1" in out
    assert "nothing to predict" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--load", "packets:rate=-5 Mpps"), ("--load rate", "without a sign")),
        (("--load", "packets:rate=45"), ("--load rate", "no unit", "Mpps")),
        (("--load", "packets:rate=1 Mpps,colour=red"), ("no field 'colour'",)),
        (("--load", "flood:rate=1 Mpps"), ("no kind of load 'flood'",)),
        (("--load", "missing.yaml"), ("missing.yaml", "No such file")),
        (("--load", "rr:clients=1", "--engine", "slow"), ("no engine 'slow'", "analytic, fast, reference")),
        (("--load", "rr:clients=1", "--duration", "10"), ("--duration", "no unit")),
        (("--load", "rr:clients=1", "--duration", "0 s"), ("--duration", "above 0")),
        (("--load", "rr:clients=1", "--memory", "4"), ("--memory", "no unit", "GiB")),
        (("--load", "rr:clients=1", "--memory", "0 B"), ("--memory", "above 0")),
        (("--load", "rr:clients=1", "--seed", "-1"), ("--seed",)),
        (("--load", "rr:clients=1", "--protocol", "icmp"), ("--protocol 'icmp'",)),
        (("--load", "rr:clients=1", "--card", "conectx-6-dx"), ("did you mean connectx-6-dx?",)),
        (
            ("--load", "rr:clients=10000", "--engine", "fast", "--duration", "10 s", "--memory", "4 GiB"),
            ("4 GiB are given", "--duration below", "--engine analytic"),
        ),
        (
            ("--load", "packets:rate=45 Mpps", "--engine", "fast", "--duration", "1 s", "--memory", "10 MiB"),
            ("10 MiB are given", "send packets to one backend only"),
        ),
    ],
)
def test_bad_input_is_said_and_no_more(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, *PATH, *options)
    assert code == 2
    assert out == "" or "Traceback" not in out
    assert "Traceback" not in err
    for part in said:
        assert part in err.replace("│", " ")
    code, out, _ = run(capsys, *PATH, *options, "--json")
    assert code == 2
    assert {"error", "problems"} <= set(json.loads(out))


def test_a_destination_is_needed_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "predict", ARTICLE, "--from", "client", "--load", "rr:clients=1")
    assert (code, "say --to" in err) == (2, True)
    file = tmp_path / "mix.yaml"
    file.write_text(MIX)
    code, _, err = run(capsys, *PATH, "--load", str(file))
    assert (code, "leave --to out" in err) == (2, True)


@pytest.mark.parametrize(
    ("address", "options", "called"),
    [
        ("200.0.0.100", (), "200.0.0.100:5432"),
        ("200.0.0.100", ("--protocol", "udp"), "200.0.0.100:514"),
        ("2001:db8:e::100", ("-6",), "[2001:db8:e::100]:5432"),
    ],
)
def test_a_bare_address_of_a_service_means_its_first_port(
    capsys: pytest.CaptureFixture[str], address: str, options: tuple[str, ...], called: str
) -> None:
    asked = ("--from", "outside", "--to", address, "--load", "packets:rate=1 Mpps,flows=10")
    (one,) = run_json(capsys, "predict", FOUR, *asked, *options)["predictions"]
    assert one["destinations"][0]["address"] == called


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("10.1.1.1", (), "10.1.1.1: give a port, such as 10.1.1.1:80"),
        ("fd00::9", (), "fd00::9: give a port, such as [fd00::9]:80"),
        ("200.0.0.100:", (), "'' is not a port"),
        ("[fd00::9]:", (), "'' is not a port"),
        ("[fd00::9]80", (), "is not a port"),
        ("200.0.0.100", ("--protocol", "sctp"), "give a port; it has 5432/tcp, 514/udp"),
        ("200.0.0.100:5432", ("-6",), "is an IPv4 address, and -6 asks for an IPv6 one"),
    ],
)
def test_addresses_that_say_too_little_or_another_thing_are_refused(
    capsys: pytest.CaptureFixture[str], address: str, options: tuple[str, ...], said: str
) -> None:
    asked = ("--from", "outside", "--to", address, "--load", "rr:clients=1", *options)
    code, out, err = run(capsys, "predict", FOUR, *asked)
    assert (code, out) == (2, "")
    assert said in err


def test_a_workload_without_a_port_is_asked_at_the_first_that_it_serves(capsys: pytest.CaptureFixture[str]) -> None:
    """And not by ICMP, which conntrack's offload does not take."""
    asked = ("predict", ARTICLE, "--from", "client", "--load", "rr:clients=1", "--to")
    bare, said = (run_json(capsys, *asked, to)["predictions"][0] for to in ("pod/svc1-ep1", "pod/svc1-ep1:5001"))
    assert bare["destinations"][0]["address"] == said["destinations"][0]["address"] == "10.10.1.66:5001"
    assert bare["values"] == said["values"]
    code, _, err = run(capsys, *asked, "pod/client")
    assert (code, "pod/client: give a port, such as pod/client:80" in err) == (2, True)


def test_what_does_not_arrive_has_no_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    where = ("predict", ARTICLE, "--from", "node1", "--to", "ysvc1", "--load", "rr:clients=1")
    code, out, _ = run(capsys, *where)
    assert code == 1
    assert "dropped" in out
    code, out, _ = run(capsys, *where, "--json")
    assert (code, json.loads(out)["delivered"]) == (1, False)


def test_a_supposed_card_is_as_good_as_one_that_is_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Rows follow the cards; without NetworkCards, or with offload switched off, --card gives what the cards would."""
    plain, off = tmp_path / "plain", tmp_path / "off"
    for folder in (plain, off):
        folder.mkdir()
        for file in Path(ARTICLE).glob("*.yaml"):
            parts = file.read_text().split("\n---\n")
            kept = [part for part in parts if folder is off or "kind: NetworkCard" not in part]
            text = "\n---\n".join(kept).replace("portSpeedGbps: 100", "portSpeedGbps: 100\n  hwOffload: false")
            (folder / file.name).write_text(text)
    asked = ("--from", "client", "--to", "ysvc1", "--load", "packets:rate=max", "--card", "yusur-dpu-2x100g")
    answers = [run_json(capsys, "predict", str(folder), *asked) for folder in (ARTICLE, plain, off)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["predictions"][0]["limit"] == "eswitch of node1"


def test_backends_that_do_not_answer_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    options = (*PATH, "--load", "rr:clients=10", "--down", "node2")
    _, out, _ = run(capsys, *options)
    said = "ysvc1: 1 of 2 backends does not answer (10.10.2.181:5001: svc1-ep2.default: not bound to a live chassis)"
    assert f"note: {said}" in out
    (one,) = run_json(capsys, *options)["predictions"]
    assert one["notes"][0].startswith(said)


def test_memory_is_half_of_what_is_free() -> None:
    assert 0 < memory_bytes("") <= available_bytes()
    assert memory_bytes("4 GiB") == 4 * 2**30
    with pytest.raises(InvalidInput, match="no unit"):
        memory_bytes("4")
