"""What one more load balancer costs: its own piece, nothing else."""

from __future__ import annotations

from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from ytwin.core.memo import Memo
from ytwin.northbound.rows import (
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
)
from ytwin.northd import northd
from ytwin.northd.chunks import SIZE, chunks

N = 2000


def balancer(number: int) -> LoadBalancer:
    vip = f"10.96.{number // 250}.{number % 250}:80"
    return LoadBalancer(f"lb{number:05}", frozendict({vip: "10.0.0.5:8080,10.1.0.5:8080"}), "tcp", ("ip_dst", "ip_src"))


def base() -> list[Row]:
    rows: list[Row] = [LogicalRouter("r")]
    for i in range(20):
        port = f"lrp{i}"
        rows += [
            LogicalSwitch(f"s{i}", load_balancer_group=("g",)),
            LogicalRouterPort(port, "r", f"02:00:00:00:00:{i:02x}", (f"10.{i}.0.1/16",)),
            LogicalSwitchPort(f"lsp{i}", f"s{i}", "router", ("router",), options=frozendict({"router-port": port})),
        ]
    return rows


def test_one_more_load_balancer_is_one_more_piece() -> None:
    rows, lbs = base(), [balancer(i) for i in range(N)]
    middle = N // 2

    def northbound(chosen: list[LoadBalancer]) -> Northbound:
        return Northbound.of([*rows, *chosen, LoadBalancerGroup("g", tuple(lb.name for lb in chosen))])

    memo = Memo()
    before = northd(northbound([*lbs[:middle], *lbs[middle + 1 :]]), memo)
    memo.advance()
    after = northd(northbound(lbs), memo)
    known = {id(flow) for flow in before.flows}
    new = [flow for flow in after.flows if id(flow) not in known and flow.source]
    assert set(after.flows) - set(before.flows) == {f for f in new if f.source == f"Load_Balancer/lb{middle:05}"}
    assert len(new) < 2 * 20 * SIZE  # two flows each; a piece is that much longer than the mean once in 10^8 runs
    assert set(after.flows) == set(northd(northbound(lbs)).flows)


@given(st.lists(st.text(max_size=3), unique=True, max_size=300), st.integers(0, 300))
def test_pieces_lose_nothing_and_are_local(names: list[str], at: int) -> None:
    pieces = list(chunks((name, name) for name in names))
    assert [name for piece in pieces for name in piece] == names
    more = [*names[:at], "a new one", *names[at:]]
    changed = [piece for piece in chunks((name, name) for name in more) if piece not in pieces]
    assert len(changed) <= 2
