"""Reading a Southbound: every version's columns, both text forms, and every wrong text refused with its place."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ytwin.core.errors import InvalidInput
from ytwin.logical.dump import read_southbound
from ytwin.logical.ovsdb_text import read_tables
from ytwin.logical.southbound import DatapathId, MacBinding

SWITCH = {"_uuid": ["uuid", "d1"], "external_ids": ["map", [["logical-switch", "n1"], ["name", "s1"]]]}
ROUTER = {"_uuid": ["uuid", "d2"], "external_ids": ["map", [["logical-router", "n2"], ["name", "r1"]]]}
PORT = {"_uuid": ["uuid", "p1"], "logical_port": "a", "datapath": ["uuid", "d1"], "tunnel_key": 3, "mac": "unknown"}
FLOW = {
    "_uuid": ["uuid", "f1"],
    "logical_datapath": ["uuid", "d1"],
    "pipeline": "ingress",
    "table_id": 4,
    "priority": 50,
    "match": "1",
    "actions": "next;",
    "external_ids": ["map", [["stage-name", "ls_in_x"], ["stage-hint", "0123abcd"]]],
}


def _table(name: str, *rows: dict[str, Any]) -> str:
    headings = sorted({column for row in rows for column in row} | {"_uuid"})
    data = [[row.get(column, ["set", []]) for column in headings] for row in rows]
    return json.dumps({"caption": f"{name} table", "headings": headings, "data": data})


def _dump(**more: list[dict[str, Any]]) -> str:
    tables = {"Datapath_Binding": [SWITCH, ROUTER], "Port_Binding": [PORT], "Logical_Flow": [FLOW]} | more
    return "\n".join(_table(name, *rows) for name, rows in tables.items())


def test_datapath_and_datapath_group_are_one_list():
    grouped = {**FLOW, "_uuid": ["uuid", "f2"], "logical_datapath": ["set", []], "logical_dp_group": ["uuid", "g1"]}
    group = {"_uuid": ["uuid", "g1"], "datapaths": ["set", [["uuid", "d2"], ["uuid", "d1"]]]}
    read = read_southbound(_dump(Logical_Flow=[FLOW, grouped], Logical_DP_Group=[group]))
    switch, router = DatapathId("switch", "s1"), DatapathId("router", "r1")
    assert sorted(f.datapaths for f in read.flows) == [(router, switch), (switch,)]
    assert (read.flows[0].stage, read.flows[0].source, read.flows[0].table) == ("ls_in_x", "0123abcd", 4)


def test_gateway_chassis_of_old_and_new_versions():
    chassis = {"_uuid": ["uuid", "c1"], "name": "node1"}
    old = {"_uuid": ["uuid", "g1"], "chassis": ["uuid", "c1"], "priority": 9, "name": "x"}
    group = {"_uuid": ["uuid", "h1"], "ha_chassis": ["set", [["uuid", "m1"], ["uuid", "m2"]]]}
    members = [
        {"_uuid": ["uuid", "m1"], "chassis": ["uuid", "c1"], "priority": 1, "external_ids": ["map", []]},
        {
            "_uuid": ["uuid", "m2"],
            "priority": 2,
            "external_ids": ["map", [["chassis-name", "node2"]]],
            "chassis": ["set", []],
        },
    ]
    ports = [
        {**PORT, "logical_port": "cr-old", "gateway_chassis": ["uuid", "g1"], "chassis": ["uuid", "c1"]},
        {**PORT, "_uuid": ["uuid", "p2"], "logical_port": "cr-new", "ha_chassis_group": ["uuid", "h1"]},
    ]
    for port in ports:
        port.setdefault("options", ["map", []])
    read = read_southbound(
        _dump(
            Port_Binding=ports, Chassis=[chassis], Gateway_Chassis=[old], HA_Chassis_Group=[group], HA_Chassis=members
        )
    )
    assert read.ports["cr-old"].gateway_chassis == (("node1", 9),)
    assert read.ports["cr-old"].chassis == "node1"
    assert read.ports["cr-new"].gateway_chassis == (("node2", 2), ("node1", 1))


def test_datapaths_of_one_name_stay_apart():
    twin = {**SWITCH, "_uuid": ["uuid", "d9999999999"]}
    read = read_southbound(_dump(Datapath_Binding=[SWITCH, ROUTER, twin]))
    assert {d.name for d in read.datapaths} == {"s1~d1", "s1~d9999999", "r1"}


def test_kind_of_a_datapath_since_25_09():
    newer = {"_uuid": ["uuid", "d1"], "type": "logical-switch", "external_ids": ["map", [["name", "s1"]]]}
    assert read_southbound(_dump(Datapath_Binding=[newer])).datapaths == (DatapathId("switch", "s1"),)


@pytest.mark.parametrize(("override", "expected"), [(True, "given"), (False, "learned")])
def test_a_given_neighbour_beats_a_learned_one_only_if_it_says_so(override, expected):
    learned = {"_uuid": ["uuid", "b1"], "logical_port": "lrp", "ip": "10.0.0.9", "mac": "learned"}
    given = {**learned, "mac": "given", "override_dynamic_mac": override}
    alone = {**given, "ip": "10.0.0.8"}
    read = read_southbound(_dump(MAC_Binding=[learned], Static_MAC_Binding=[given, {**alone, "_uuid": ["uuid", "b2"]}]))
    assert read.mac_bindings == (MacBinding("lrp", "10.0.0.8", "given"), MacBinding("lrp", "10.0.0.9", expected))


def test_load_balancer_groups_of_23_03_and_later():
    group = {"_uuid": ["uuid", "g1"], "datapaths": ["uuid", "d1"]}
    vips = {"vips": ["map", [["10.0.0.1:80", "10.0.0.2:80"]]], "options": ["map", []]}
    balancers = [
        {"_uuid": ["uuid", "l1"], "name": "a", "protocol": "tcp", "datapath_group": ["uuid", "g1"], **vips},
        {"_uuid": ["uuid", "l2"], "name": "b", "protocol": ["set", []], "ls_datapath_group": ["uuid", "g1"], **vips},
        {"_uuid": ["uuid", "l3"], "name": "c", "protocol": "udp", "datapaths": ["uuid", "d1"], **vips},
    ]
    read = read_southbound(_dump(Load_Balancer=balancers, Logical_DP_Group=[group]))
    assert [lb.protocol for lb in read.load_balancers] == ["tcp", "", "udp"]
    assert {lb.datapaths for lb in read.load_balancers} == {(DatapathId("switch", "s1"),)}


def _file(*records: dict[str, Any], is_diff: bool = True) -> str:
    columns = {
        "name": {"type": "string"},
        "tags": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
        "options": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
        "maybe": {"type": {"key": "integer", "min": 0, "max": 1}},
    }
    schema = {"name": "X", "version": "1.0.0", "tables": {"T": {"columns": columns}}}
    stamped = [{"_date": 1, "_is_diff": is_diff, "T": record} for record in records]
    heads = (f"OVSDB JSON {len(json.dumps(r))} {'0' * 40}\n{json.dumps(r)}\n" for r in [schema, *stamped])
    return "".join(heads)


def test_replay_of_differences():
    text = _file(
        {"u": {"name": "x", "tags": ["set", ["a", "b"]], "options": ["map", [["k", "1"], ["m", "1"]]], "maybe": 4}},
        {"u": {"name": "y", "tags": ["set", ["b", "c"]], "options": ["map", [["k", "2"], ["m", "1"], ["n", "1"]]]}},
        {"u": {"maybe": ["set", []], "tags": "d"}, "v": {"name": "gone"}},
        {"v": None},
    )
    assert read_tables(text) == {
        "T": {
            "u": {
                "name": "y",
                "tags": ["set", ["a", "c", "d"]],
                "options": ["map", [["k", "2"], ["n", "1"]]],
                "maybe": ["set", []],
            }
        }
    }


def test_replay_of_whole_values():
    text = _file({"u": {"tags": ["set", ["a", "b"]]}}, {"u": {"tags": ["set", ["b", "c"]]}}, is_diff=False)
    assert read_tables(text)["T"]["u"]["tags"] == ["set", ["b", "c"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("[]", "not a table"),
        ("{", "not JSON"),
        ("[" * 100_000, "without end"),
        ("9" * 10_000, "without end"),
        ('{"caption": "x", "headings": [], "data": []}', "does not name a table"),
        ('{"caption": "X table", "headings": ["a"], "data": []}', "no column _uuid"),
        ('{"caption": "X table", "headings": ["_uuid"], "data": [[1]]}', "no UUID"),
        ('{"caption": "X table", "headings": ["_uuid"], "data": [[1, 2]]}', "1 values"),
        (_table("Port_Binding"), "no table Datapath_Binding"),
        ("OVSDB CLUSTER 1 2\n{}", "clustered"),
        ("OVSDB JSON x\n", "head of a database record"),
        (_file({"u": {"name": "x"}}).replace('"T": {"u"', '"Z": {"u"'), "no table Z"),
        (_file({"u": {"nom": "x"}}), "no column nom"),
        (_file({"u": 3}), "not an object"),
    ],
)
def test_unreadable_text_is_refused(text, words):
    with pytest.raises(InvalidInput, match=words):
        read_southbound(text, "sb.json")


@pytest.mark.parametrize(
    ("table", "row", "words"),
    [
        ("Logical_Flow", {"logical_datapath": ["uuid", "zz"]}, "no datapath zz"),
        ("Logical_Flow", {"logical_dp_group": ["uuid", "zz"]}, "no datapath group zz"),
        ("Logical_Flow", {"pipeline": "sideways"}, "sideways"),
        ("Logical_Flow", {"priority": "high"}, "priority: expected an integer"),
        ("Logical_Flow", {"match": 7}, "match: expected text"),
        ("Port_Binding", {"datapath": ["set", []]}, "datapath: expected one reference"),
        ("Port_Binding", {"options": "x"}, "options: expected a map"),
        ("Port_Binding", {"ha_chassis_group": ["uuid", "zz"]}, "no group zz"),
        ("Datapath_Binding", {"external_ids": ["map", [["name", "x"]]]}, "neither a logical switch nor"),
    ],
)
def test_bad_rows_are_named(table, row, words):
    good = {"Logical_Flow": FLOW, "Port_Binding": PORT, "Datapath_Binding": SWITCH}[table]
    more = {**good, "_uuid": ["uuid", "bad1"], **row}
    tables = {"Datapath_Binding": [SWITCH, ROUTER], "Port_Binding": [PORT], "Logical_Flow": [FLOW]}
    tables[table] = [*tables[table], more]
    for rows in tables.values():
        for each in rows:
            each.setdefault("external_ids", ["map", []])
    for each in tables["Port_Binding"]:
        each.setdefault("options", ["map", []])
    with pytest.raises(InvalidInput, match=words) as caught:
        read_southbound(_dump(**tables), "sb.json")
    assert [p.where.path for p in caught.value.problems] == [f"{table}[bad1]"]
    assert caught.value.problems[0].where.file == "sb.json"


GOOD = _dump(Chassis=[{"_uuid": ["uuid", "c1"], "name": "n"}], MAC_Binding=[], Load_Balancer=[])
GOOD_FILE = _file({"u": {"name": "x", "tags": ["set", ["a"]]}}, {"u": {"tags": ["set", ["b"]]}})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(["uuid", "d1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _try(read, text: str) -> None:
    """Nothing but InvalidInput may come out."""
    with suppress(InvalidInput):
        read(text)


@given(st.data())
def test_mutated_dump(data):
    begin = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(begin, min(len(GOOD), begin + 30)))
    _try(read_southbound, GOOD[:begin] + data.draw(st.text(max_size=10)) + GOOD[end:])


@given(st.data())
def test_mutated_database_file(data):
    begin = data.draw(st.integers(0, len(GOOD_FILE)))
    end = data.draw(st.integers(begin, min(len(GOOD_FILE), begin + 30)))
    _try(read_tables, GOOD_FILE[:begin] + data.draw(st.text(max_size=10)) + GOOD_FILE[end:])


@given(st.sampled_from([("Logical_Flow", FLOW), ("Port_Binding", PORT), ("Datapath_Binding", SWITCH)]), st.data())
def test_wrong_values(case, data):
    table, row = case
    column = data.draw(st.sampled_from(sorted(row)))
    tables = {"Datapath_Binding": [SWITCH, ROUTER], "Port_Binding": [PORT], "Logical_Flow": [FLOW]}
    tables[table] = [{**row, column: data.draw(json_values)}]
    _try(read_southbound, _dump(**tables))


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_any_text(text):
    _try(read_southbound, text)
    _try(read_southbound, "OVSDB JSON " + text)
