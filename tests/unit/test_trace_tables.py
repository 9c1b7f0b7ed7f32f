"""The index of a table finds the same flow as trying them one by one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound
from ytwin.logical.state import ETH_IP, TCP, PacketState
from ytwin.trace.tables import Program

LS = DatapathId("switch", "s")

FIELDS = {
    "inport": ['"p1"', '"p2"'],
    "ip4.dst": ["10.0.0.1", "10.0.0.2", "10.0.0.0/24", "{10.0.0.1, 10.0.0.3}", "0.0.0.0/0"],
    "tcp.dst": ["80", "81"],
    "eth.src": ["00:00:00:00:00:01"],
    "reg0[2]": ["1", "0"],
    "flags.loopback": ["1"],
}


class Nowhere:
    def resident(self, port: str) -> bool:
        return port == "here"


@st.composite
def matches(draw: st.DrawFn) -> str:
    chosen = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
    terms = [f"{name} == {draw(st.sampled_from(FIELDS[name]))}" for name in chosen]
    terms += draw(
        st.lists(st.sampled_from(['is_chassis_resident("here")', 'is_chassis_resident("there")']), max_size=1)
    )
    return " && ".join(terms) or "1"


@st.composite
def packets(draw: st.DrawFn) -> PacketState:
    return PacketState(
        inport=draw(st.sampled_from(["p1", "p2", "p3"])),
        eth_src=draw(st.integers(1, 2)),
        eth_type=ETH_IP,
        ip_proto=TCP,
        ip4_dst=draw(st.sampled_from([0x0A000001, 0x0A000002, 0x0A000003, 0x0A000101])),
        tp_dst=draw(st.integers(80, 82)),
        reg0=draw(st.sampled_from([0, 4])),
        flags=draw(st.integers(0, 1)),
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), matches()), min_size=1, max_size=25),
    st.lists(packets(), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_lookup_equals_trying_all(rows: list[tuple[int, str]], states: list[PacketState]) -> None:
    flows = tuple(
        LogicalFlow((LS,), "ingress", 0, "t", priority, match, f"reg1 = {number}; next;")
        for number, (priority, match) in enumerate(rows)
    )
    table = Program(Southbound(flows, (LS,), {})).pipeline(LS, "ingress").table(0)  # type: ignore[arg-type]  # no ports
    for state in states:
        one_by_one = [e for e in table.entries if e.match.matcher()(state, Nowhere())]
        found = table.lookup(state, Nowhere())
        assert found is (one_by_one[0] if one_by_one else None)
        if found is not None:
            tied = {e.flow.actions for e in one_by_one if e.flow.priority == found.flow.priority}
            assert table.ambiguous(state, Nowhere(), found.flow) == (len(tied) > 1)


def test_tables_that_only_go_on_are_skipped() -> None:
    flows = tuple(
        LogicalFlow((LS,), "ingress", table, f"t{table}", 0, "1", actions)
        for table, actions in enumerate(("next;", "next;", "reg0 = 1; next;", "next;", "output;"))
    )
    pipeline = Program(Southbound(flows, (LS,), {})).pipeline(LS, "ingress")  # type: ignore[arg-type]  # no ports
    assert [pipeline.skip(table) for table in range(7)] == [2, 2, 2, 4, 4, 5, 6]
    assert pipeline.stage(2) == "t2"


def test_order_of_flows_does_not_decide() -> None:
    flows = [
        LogicalFlow((LS,), "ingress", 0, "t", 1, match, "next;") for match in ("ip4", "tcp", "ip4.dst == 10.0.0.1")
    ]
    state = PacketState(eth_type=ETH_IP, ip_proto=TCP, ip4_dst=0x0A000001)
    found = set()
    for order in (flows, flows[::-1]):
        table = Program(Southbound(tuple(order), (LS,), {})).pipeline(LS, "ingress")  # type: ignore[arg-type]  # no ports
        entry = table.lookup(0, state, Nowhere())
        assert entry is not None
        found.add(entry.flow.match)
    assert len(found) == 1
