"""Profiles from text: what is wrong is said all at once, with file, line, path and what to do."""

from __future__ import annotations

import pytest

from ytwin.core.errors import InvalidInput
from ytwin.hardware import (
    HardwareProfile,
    Kind,
    decode_profiles,
    drawn_between,
    dump_profiles,
    numbers,
    shipped,
    with_values,
)
from ytwin.hardware.table import interval, shown
from ytwin.hardware.values import in_unit

HEAD = "apiVersion: iaas.yusur.io/v1\nkind: HardwareProfile\nmetadata: {name: mine}\n"


def read(spec: str, head: str = HEAD) -> HardwareProfile:
    (profile,) = decode_profiles({"mine.yaml": f"{head}spec:\n  extends: yusur-dpu-2x100g\n{spec}"}, shipped()).values()
    return profile


def refused(spec: str, head: str = HEAD) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(spec, head)
    return str(caught.value).splitlines()


def test_a_number_has_value_interval_and_origin() -> None:
    said = "value: 10 ns, kind: measured, source: a probe, conditions: 64 B, interval: [9 ns, 0.02 us]"
    profile = read(f"  eswitch:\n    packetTime: {{{said}}}\n")
    number = numbers(profile)["eswitch.packet_time"]
    assert (number.value, number.low, number.high) == (10_000, 9_000, 20_000)
    assert (number.kind, number.source, number.conditions, str(number)) == (Kind.MEASURED, "a probe", "64 B", "10 ns")


def test_blanks_and_underscores_do_not_matter() -> None:
    rules = "{value: 1_000rules, kind: assumed, source: a guess, interval: [1e2 rules, '10000  rules']}"
    profile = read(f"  eswitch: {{rulesPerConnection: {rules}}}\n")
    number = numbers(profile)["eswitch.rules_per_connection"]
    assert (number.value, number.low, number.high, number.text) == (1000, 100, 10_000, "1000 rules")
    assert decode_profiles({"again.yaml": dump_profiles([profile])}) == {"mine": profile}
    assert (shown(number), interval(number)) == ("1000 rules", "100 rules to 10000 rules")


def test_a_long_chain_is_refused() -> None:
    chain = "---\n".join(f"{HEAD.replace('mine', f'p{i}')}spec: {{extends: p{i + 1}}}\n" for i in range(200))
    with pytest.raises(InvalidInput, match=r"it builds on more than 50 profiles, one on the other \[depth\]"):
        decode_profiles({"a.yaml": chain}, {"p200": shipped()["ovs-kernel"]})


def test_extends_takes_over_number_by_number() -> None:
    base, mine = shipped()["yusur-dpu-2x100g"], read("  driver: other\n")
    assert mine.name == "mine"
    assert mine.driver == "other"
    assert mine.models == ()
    assert numbers(mine) == numbers(base)
    assert mine.offload == base.offload
    assert read("  eswitch: null\n  card: none\n").eswitch is None


def test_extends_within_files_in_any_order() -> None:
    b = f"{HEAD.replace('mine', 'b')}spec: {{extends: c}}"
    files = {
        "a.yaml": f"{HEAD.replace('mine', 'a')}spec: {{extends: b, driver: a}}\n---\n{b}",
        "c.yaml": f"{HEAD.replace('mine', 'c')}spec: {{extends: ovs-kernel, driver: c}}",
    }
    found = decode_profiles(files, shipped())
    assert [(p.name, p.driver) for p in found.values()] == [("a", "a"), ("b", "c"), ("c", "c")]


def test_a_profile_may_replace_the_one_it_extends() -> None:
    text = f"{HEAD.replace('mine', 'ovs-kernel')}spec: {{extends: ovs-kernel, driver: other}}"
    found = decode_profiles({"a.yaml": text}, shipped())["ovs-kernel"]
    assert (found.driver, found.models) == ("other", ("",))


@pytest.mark.parametrize(
    ("spec", "problem", "hint"),
    [
        (
            "  eswitch:\n    packetTime: {value: 12.5, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packetTime.value: 12.5 has no unit [unit]",
            "write a number and one of ps, ns, us, ms, s, such as `3 ps`",
        ),
        (
            "  eswitch:\n    packetTime: {value: 12.5 Mpps, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packetTime.value: '12.5 Mpps' is a rate, not a time [dimension]",
            "write a number and one of ps, ns, us, ms, s, such as `3 ps`",
        ),
        (
            "  eswitch:\n    packetTime: {value: -1 ns, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packetTime.value: '-1 ns' is not a finite number of at least 0 [range]",
            "write how much there is, without a sign",
        ),
        (
            "  ports:\n    count: {value: 1.5 ports, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.ports.count.value: '1.5 ports': there are only whole ports [range]",
            "write a whole number",
        ),
        (
            "  eswitch:\n    packetTime: {value: 0 ns, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packetTime.value: packetTime cannot be 0 [range]",
            "write how much there is, or leave out the part of the hardware that is not there",
        ),
        (
            "  eswitch:\n    packetTime: {value: 1e308 s, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packetTime.value: '1e308 s' is not a finite number of at least 0 [range]",
            "write how much there is",
        ),
        (
            "  eswitch:\n    queue: {value: 1e300 packets, kind: assumed, source: page}\n",
            "mine.yaml:7: spec.eswitch.queue.value: '1e300 packets' is beyond all that can be reckoned with [range]",
            "write a number that makes sense, 1e-30 to 1e+30 packets",
        ),
        (
            "  slowPath:\n    cores: {value: 4 rules, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.slowPath.cores.value: 'rules' is not what is counted here [unit]",
            "write a number and cores, such as `3 cores`",
        ),
        (
            "  eswitch:\n    packetTime: 12.5 ns\n",
            'mine.yaml:7: spec.eswitch.packetTime: this is "12.5 ns": a number here says where it is from [type]',
            "write `{value: 12.5 ns, kind: datasheet, source: who says so}`",
        ),
        (
            "  eswitch:\n    packettime: {value: 1 ns, kind: datasheet, source: page}\n",
            "mine.yaml:7: spec.eswitch.packettime: spec.eswitch has no field packettime [unknown-field]",
            "did you mean packetTime?",
        ),
        (
            "  eswitch:\n    packetTime: {value: 1 ns, kind: mesured, source: page}\n",
            'mine.yaml:7: spec.eswitch.packetTime.kind: "mesured" is no kind of number [kind]',
            "did you mean measured?",
        ),
        (
            "  eswitch:\n    packetTime: {value: 1 ns, kind: measured}\n",
            "mine.yaml:7: spec.eswitch.packetTime.source: the number has no source [source]",
            "name the page, commit, figure or measurement; for an assumed number the reasoning",
        ),
        (
            "  eswitch:\n    packetTime:\n      value: 1 ns\n      kind: measured\n      source: page\n"
            "      interval: [2 ns, 3 ns]\n",
            "mine.yaml:11: spec.eswitch.packetTime.interval: 2 ns to 3 ns does not contain 1 ns [interval]",
            "the lower end comes first, and the value lies between",
        ),
        (
            "  eswitch:\n    packetTime:\n      value: 1 ns\n      kind: measured\n      source: page\n"
            "      interval: [0.5 ns, 3]\n",
            "mine.yaml:11: spec.eswitch.packetTime.interval[1]: 3 has no unit [unit]",
            "write a number and one of ps, ns, us, ms, s, such as `3 ps`",
        ),
        (
            "  card: dpu\n",
            "mine.yaml:6: spec.card: \"dpu\" is not 'none', 'SmartNIC' or 'DPU' [value]",
            "did you mean DPU?",
        ),
        (
            "  card: none\n",
            "mine.yaml:6: spec.card: a node without a card has no eSwitch [contradiction]",
            "write card: SmartNIC or DPU, or leave the eswitch out",
        ),
        (
            "  card: SmartNIC\n  slowPath: {runsOn: card}\n",
            "mine.yaml:7: spec.slowPath.runsOn: runsOn is card, and card is SmartNIC [contradiction]",
            "write runsOn: host; only a DPU has cores of its own",
        ),
        (
            "  encapsulation:\n    overhead: {value: 1500 B, kind: assumed, source: a guess}\n",
            "mine.yaml:7: spec.encapsulation.overhead: 1500 B leave nothing of an MTU of 1500 B [range]",
            "write fewer bytes",
        ),
        (
            "  models: [7]\n",
            "mine.yaml:6: spec.models[0]: this is 7, not text [type]",
            "write text",
        ),
        ("  eswitch: [1, 2]\n", "mine.yaml:6: spec.eswitch: this is a list of 2, not a mapping [type]", ""),
        (
            "  eswitch: {crowding: 7}\n",
            "mine.yaml:6: spec.eswitch.crowding: this is 7, not a list [type]",
            "write lines",
        ),
        (
            "  extent: 7\n",
            "mine.yaml:6: spec.extent: spec has no field extent [unknown-field]",
            "did you mean extends?",
        ),
        ("\tcard: DPU\n", "mine.yaml:6: not valid YAML", "indent with spaces"),
    ],
)
def test_one_thing_wrong(spec: str, problem: str, hint: str) -> None:
    said, advice = refused(spec)
    assert said.startswith(problem)
    assert advice.strip().startswith(hint)


def test_points_of_crowding_are_in_order() -> None:
    point = (
        "      - entries: {value: 10 entries, kind: measured, source: page}\n"
        "        slowdown: {value: 1 times, kind: measured, source: page}\n"
    )
    said, _ = refused(f"  eswitch:\n    crowding:\n{point}{point}")
    assert said == "mine.yaml:10: spec.eswitch.crowding[1].entries: no more entries than the point before [order]"


def test_the_network_takes_a_part_of_the_path() -> None:
    said, _ = refused("  host: {latency: {value: 1 us, kind: assumed, source: x}}\n")
    assert "spec.host.latency: cards and wire take" in said
    assert "the path that they are part of 1 us [range]" in said


def test_all_problems_at_once() -> None:
    said = refused(
        "  eswitch:\n    packetTime: {value: 12.5, kind: guess}\n    passtime: {}\n"
        "  host: {latency: {value: 1 GHz, kind: assumed, source: x}}\n"
    )
    paths = [line.split(": ")[1] for line in said if line.startswith("mine.yaml:")]
    packet = "spec.eswitch.packetTime"
    assert paths == [
        f"{packet}.kind",
        f"{packet}.source",
        f"{packet}.value",
        "spec.eswitch.passtime",
        "spec.host.latency.value",
    ]


def test_a_number_by_itself_wants_everything() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_profiles({"a.yaml": f"{HEAD}spec: {{card: none}}"})
    said = {p.where.path: p for p in caught.value.problems}
    assert set(said) == {f"spec.{name}" for name in ("driver", "ports", "pcie", "slowPath", "host", "encapsulation")}
    assert {p.where.line for p in said.values()} == {4}
    assert said["spec.ports"].hint == "write a mapping with count, rate"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a.yaml: there is no profile in this file [empty]"),
        ("7", "a.yaml:1: this is 7, not a profile [type]"),
        (HEAD.replace("HardwareProfile", "Node"), 'a.yaml:2: kind: kind is "Node" [kind]'),
        (HEAD.replace("v1", "v2"), 'a.yaml:1: apiVersion: apiVersion is "iaas.yusur.io/v2" [kind]'),
        (HEAD.replace("name: mine", ""), "a.yaml:3: metadata.name: the profile has no name [missing]"),
        (HEAD.replace("name", "nmae"), "a.yaml:3: metadata.nmae: metadata has no field nmae [unknown-field]"),
        (HEAD, "a.yaml:1: spec: spec is missing [missing]"),
        (HEAD.replace("mine", "../mine"), 'a.yaml:3: metadata.name: "../mine" is no name of a profile [name]'),
        (f"{HEAD}status: {{}}", "a.yaml:4: status: HardwareProfile has no field status [unknown-field]"),
        (
            f"{HEAD}spec: {{extends: ovs-kernal}}",
            "a.yaml:4: spec.extends: there is no profile ovs-kernal [unknown-profile]",
        ),
        (f"{HEAD}spec: {{extends: mine}}", "a.yaml:4: spec.extends: mine extends mine [circle]"),
        (
            f"{HEAD}spec: {{extends: b}}\n---\n{HEAD.replace('mine', 'b')}spec: {{extends: mine}}",
            "a.yaml:9: spec.extends: mine extends b extends mine [circle]",
        ),
        (
            f"{HEAD}spec: {{extends: ovs-kernel}}\n---\n{HEAD}spec: {{extends: ovs-kernel}}",
            "a.yaml:8: metadata.name: the profile mine is written twice, first at a.yaml:3: metadata.name [duplicate-profile]",
        ),
    ],
)
def test_no_such_document(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_profiles({"a.yaml": text}, shipped())
    assert problem in str(caught.value).splitlines()


def test_only_the_base_of_a_broken_base_is_told() -> None:
    """What is missing may stand in the base, so it is not called missing."""
    text = f"{HEAD}spec: {{extends: b}}\n---\n{HEAD.replace('mine', 'b')}spec: {{extends: ovs-kernel, card: 7}}"
    with pytest.raises(InvalidInput) as caught:
        decode_profiles({"a.yaml": text}, shipped())
    assert [p.where.path for p in caught.value.problems] == ["spec.card"]


def test_numbers_are_written_in_their_unit_where_that_is_exact() -> None:
    assert in_unit(12_500, "time", "ns") == "12.5 ns"
    assert in_unit(0, "time", "us") == "0 us"
    assert in_unit(1.5e9, "time") == "1.5 ms"
    assert in_unit(32, "count", "cores") == "32 cores"


def test_other_values() -> None:
    profile = shipped()["yusur-dpu-2x100g"]
    changed = with_values(
        profile,
        {"eswitch.pass_time": 20_000, "eswitch.crowding[1].slowdown": 2},
        kind=Kind.CALIBRATED,
        source="a fit",
        conditions="64 B",
        intervals={"eswitch.pass_time": (18_000, 21_000)},
    )
    found = numbers(changed)
    assert str(found["eswitch.pass_time"]) == "20 ns"
    assert (found["eswitch.pass_time"].low, found["eswitch.pass_time"].high) == (18_000, 21_000)
    assert (found["eswitch.pass_time"].kind, found["eswitch.pass_time"].conditions) == (Kind.CALIBRATED, "64 B")
    assert changed.eswitch is not None
    assert changed.eswitch.crowding[1].slowdown.value == found["eswitch.crowding[1].slowdown"].value == 2
    assert sum(a != b for a, b in zip(found.values(), numbers(profile).values(), strict=True)) == 2


@pytest.mark.parametrize(
    ("path", "value", "interval", "message"),
    [
        ("eswitch.pas_time", 1.0, None, "did you mean eswitch.pass_time?"),
        ("pipeline", 1.0, None, "its numbers are ports.count"),
        ("eswitch.pass_time", -1.0, None, "is not a finite number of at least 0"),
        ("eswitch.pass_time", float("nan"), None, "is no time"),
        ("eswitch.pass_time", float("inf"), None, "is no time"),
        ("eswitch.packet_time", 0.0, None, "0 ns cannot be"),
        ("eswitch.pass_time", 5e3, (6e3, 7e3), "5 ns lies outside of its interval 6 ns to 7 ns"),
    ],
)
def test_values_that_cannot_be(path: str, value: float, interval: tuple[float, float] | None, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        with_values(
            shipped()["yusur-dpu-2x100g"],
            {path: value},
            kind=Kind.CALIBRATED,
            source="a fit",
            intervals={path: interval} if interval else {},
        )
    assert f"yusur-dpu-2x100g: {path}: " in str(caught.value)
    assert message in str(caught.value)


def test_offload_rules_are_inherited_one_by_one() -> None:
    rule = "{code: %s, effect: %s, when: {addressFamily: 6}, text: t, source: s, kind: assumed}"
    own = f"    - {rule % ('mine', 'software')}\n    - {rule % ('ct-new', 'none')}\n"
    head = "apiVersion: iaas.yusur.io/v1\nkind: HardwareProfile\nmetadata: {name: m}\n"
    text = f"{head}spec:\n  extends: connectx-6-dx\n  offload:\n{own}"
    base, found = shipped()["connectx-6-dx"], decode_profiles({"m.yaml": text}, shipped())["m"]
    assert {r.code for r in found.offload} == {r.code for r in base.offload} | {"mine"}
    changed = {r.code for r in found.offload if r not in base.offload}
    assert changed == {"mine", "ct-new"}
    assert decode_profiles({"again.yaml": dump_profiles([found])})["m"] == found


def test_drawn_numbers_lie_in_their_intervals_and_threads_are_whole() -> None:
    card = shipped()["bluefield-2"]
    known = numbers(card)
    ends = [drawn_between(card, lambda _path, _number, share=share: share) for share in (0.0, 0.5, 1 - 1e-12)]
    assert {p for p, q in known.items() if q.low < q.high} == set(ends[0])
    for path, low in ends[0].items():
        assert (low, ends[2][path]) == (known[path].low, pytest.approx(known[path].high))
    assert [one["slow_path.upcall_threads"] for one in ends] == [2, 5, 8]
    for one in ends:
        with_values(card, one, kind=Kind.ASSUMED, source="test")
    with pytest.raises(InvalidInput, match="whole"):
        with_values(card, {"slow_path.cores": 2.5}, kind=Kind.ASSUMED, source="test")
