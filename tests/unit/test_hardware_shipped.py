"""The shipped profiles: every number says where it is from; and which profile a card means."""

from __future__ import annotations

import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from ytwin.cli import main
from ytwin.core.errors import InvalidInput
from ytwin.hardware import HardwareProfile, Kind, Quantity, decode_profiles, numbers, profile_of, render, shipped
from ytwin.resources.model import NetworkCardSpec

ARTICLE = "article-dpu-2x100g"
CARDS = {"yusur-dpu-2x100g": "DPU", "connectx-6-dx": "SmartNIC", "bluefield-2": "DPU", ARTICLE: "DPU"}
PROXIES = {"kube-proxy-iptables", "kube-proxy-ipvs", "kube-proxy-nftables"}
EVERY = [(name, path) for name, profile in shipped().items() for path in numbers(profile)]


def number(name: str, path: str) -> Quantity:
    return numbers(shipped()[name])[path]


def test_they_are_there() -> None:
    assert set(shipped()) == {*CARDS, *PROXIES, "ovs-kernel", "ovs-netdev"}
    assert {name: p.card for name, p in shipped().items() if p.eswitch is not None} == CARDS
    assert {name for name, p in shipped().items() if p.service_proxy is not None} == PROXIES
    assert all(p.offload for name, p in shipped().items() if name in CARDS)


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_every_number_says_where_it_is_from(name: str, path: str) -> None:
    found = number(name, path)
    assert len(found.source.split()) >= 2 or "/" in found.source, "no source that a person could look up"
    assert found.low <= found.value <= found.high
    if found.kind in (Kind.ASSUMED, Kind.CALIBRATED):
        assert found.low < found.high, "what nobody measured has an interval"
    # Priors are from elsewhere than the article, or its calibration would find what it began with.
    assert name == ARTICLE or found.kind is not Kind.CALIBRATED


def test_a_wheel_ships_them() -> None:
    root = Path(__file__).parents[2]
    shipped_as = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    there = {str(file.relative_to(root / "ytwin/hardware")) for file in (root / "ytwin/hardware").rglob("*.yaml")}
    assert there == {f"profiles/{name}.yaml" for name in shipped()}
    assert all(any(fnmatch(name, pattern) for pattern in shipped_as) for name in there)


def test_arithmetic_that_the_sources_give() -> None:
    """The figures that sources name, from the numbers made of them."""
    slow = {path: n.value / 1e3 for path, n in numbers(shipped()["ovs-kernel"]).items() if path.startswith("slow_path")}
    assert slow["slow_path.packet_time"] + slow["slow_path.pass_time"] == 1338
    assert slow["slow_path.upcall_time"] + slow["slow_path.install_time"] == pytest.approx(4 / 206e3 * 1e9, rel=0.01)
    host = numbers(shipped()["ovs-kernel"])
    handovers = host["slow_path.handover_latency"].value * 2
    assert 2 * (host["host.latency"].value + handovers) == pytest.approx(58e6)
    assert host["host.segment_rate"].value == pytest.approx(200e9 / 8 / 1538, rel=1e-3)
    assert 1e12 / number("yusur-dpu-2x100g", "eswitch.packet_time").value == 80e6
    assert 1e12 / number("connectx-6-dx", "eswitch.packet_time").value == pytest.approx(215e6, rel=1e-3)
    ipvs = number("kube-proxy-ipvs", "service_proxy.established_time").value + host["slow_path.packet_time"].value
    assert ipvs == 808e3


def card(type_: str, model: str = "", **more: Any) -> NetworkCardSpec:
    return NetworkCardSpec.model_validate(
        {"node": "n", "type": type_, "model": model, "ports": 2, "portSpeedGbps": 100, **more}
    )


@pytest.mark.parametrize(
    ("spec", "datapath", "name"),
    [
        (None, "system", "ovs-kernel"),
        (None, "netdev", "ovs-netdev"),
        (card("none"), "netdev", "ovs-netdev"),
        (card("none", "Intel X710"), "system", "ovs-kernel"),
        (card("none", "kube-proxy-ipvs"), "system", "kube-proxy-ipvs"),
        (card("DPU"), "system", "yusur-dpu-2x100g"),
        (card("DPU", "K2"), "system", "yusur-dpu-2x100g"),
        (card("DPU", "BlueField-2"), "system", "bluefield-2"),
        (card("DPU", "bluefield-2"), "system", "bluefield-2"),
        (card("SmartNIC"), "system", "connectx-6-dx"),
    ],
)
def test_which_profile_a_card_means(spec: NetworkCardSpec | None, datapath: Any, name: str) -> None:
    assert profile_of(spec, datapath, shipped()) == shipped()[name]


def test_the_card_says_its_own_ports_and_switch() -> None:
    spec = card("SmartNIC", ports=4, portSpeedGbps=25, hwOffload=False)
    found = profile_of(spec, "system", shipped())
    assert (found.ports.count.value, found.ports.rate.value) == (4, 25e9)
    assert "NetworkCard" in found.ports.rate.source
    assert found.offload[-1].code == "hw-offload-off"
    assert found.offload[:-1] == shipped()["connectx-6-dx"].offload
    assert profile_of(card("none", hwOffload=False), "system", shipped()).offload == shipped()["ovs-kernel"].offload


def own(name: str, text: str) -> dict[str, HardwareProfile]:
    head = f"apiVersion: iaas.yusur.io/v1\nkind: HardwareProfile\nmetadata: {{name: {name}}}\n"
    return {**shipped(), **decode_profiles({"own.yaml": f"{head}spec: {text}"}, shipped())}


def test_an_own_profile_is_found_by_its_name_and_models_only() -> None:
    known = own("mine", "{extends: yusur-dpu-2x100g, models: [Z1]}")
    assert profile_of(card("DPU", "Z1"), "system", known).name == "mine"
    assert profile_of(card("DPU", "mine"), "system", known).name == "mine"
    assert profile_of(card("DPU"), "system", known).name == "yusur-dpu-2x100g"
    assert profile_of(None, "system", own("lab", "{extends: ovs-kernel}")).name == "ovs-kernel"


def test_no_profile_and_more_than_one() -> None:
    with pytest.raises(
        InvalidInput, match=r"(?s)a DPU of model 'BlueFeld-2' \[unknown-model\].*did you mean BlueField-2\?"
    ):
        profile_of(card("DPU", "BlueFeld-2"), "system", shipped())
    with pytest.raises(InvalidInput, match="a SmartNIC of model 'K2'") as told:
        profile_of(card("SmartNIC", "K2"), "system", shipped())
    names = told.value.problems[0].hint.partition(";")[0].removeprefix("there are ").split(", ")
    assert len(names) == len(set(names))
    with pytest.raises(InvalidInput, match="a NIC with system datapath"):
        profile_of(None, "system", {})
    with pytest.raises(InvalidInput, match=r"yusur-dpu-2x100g and mine are both for a DPU that names no model"):
        profile_of(card("DPU"), "system", own("mine", '{extends: bluefield-2, models: [""]}'))


def test_a_profile_prints_itself() -> None:
    profile = shipped()["connectx-6-dx"]
    lines = render(profile).splitlines()
    assert lines[0].startswith("connectx-6-dx: card SmartNIC, driver mlx5_core")
    header = next(line.split() for line in lines if line.startswith("PATH"))
    assert header == ["PATH", "VALUE", "KIND", "INTERVAL", "CONDITIONS", "SOURCE"]
    shown = {line.split()[0]: line for line in lines if line.startswith(("eswitch.", "host.", "slow_path."))}
    for path, found in numbers(profile).items():
        if path in shown:
            assert found.kind.value in shown[path]
            assert found.source in shown[path]
    assert "3.1 times to 3.9 times" in shown["eswitch.crowding[3].slowdown"]
    assert all(rule.code in render(profile) for rule in profile.offload)


# --- the command -------------------------------------------------------------------------------------------------------------


def test_the_command_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["NAME", "CARD", "DRIVER", "PORTS"]
    assert [line.split()[0] for line in lines[1:]] == sorted(shipped())
    row = next(line for line in lines if line.startswith("bluefield-2"))
    assert sum(map(int, row.split()[-4:])) == len(numbers(shipped()["bluefield-2"]))


def test_the_command_shows_whole_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    head = "apiVersion: iaas.yusur.io/v1\nkind: HardwareProfile\nmetadata: {name: mine}\n"
    file.write_text(f"{head}spec: {{extends: ovs-netdev}}")
    assert main(["profiles", "ovs-kernel", str(file)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(render(shipped()["ovs-kernel"]))
    assert "\nmine: card none, driver dpdk" in shown
    assert main(["profiles", str(tmp_path), "--json"]) == 0
    (mine,) = json.loads(capsys.readouterr().out)["profiles"]
    assert mine["name"] == "mine"
    assert mine["numbers"]["slow_path.packet_time"] == {
        "text": "67 ns",
        "value": 67e3,
        "unit": "ps",
        "low": 50e3,
        "high": 90e3,
        "kind": "measured",
        "source": "OVS commit fc0523063: output costs 67 ns",
        "conditions": "DPDK, 64 B",
    }


def test_the_command_refuses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["profiles", "bluefield"]) == 2
    assert "bluefield: no profile and no file of this name; did you mean bluefield-2?" in capsys.readouterr().err
    file = tmp_path / "bad.yaml"
    file.write_text("kind: HardwareProfile\nmetadata: {name: mine}\nspec: {extends: ovs-kernel, cart: none}\n")
    assert main(["profiles", str(file), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert [(p["line"], p["path"], p["code"]) for p in said["problems"]] == [
        (1, "apiVersion", "kind"),
        (3, "spec.cart", "unknown-field"),
    ]
