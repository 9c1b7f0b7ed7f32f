"""How fast a match is evaluated, prepared and parsed, on a load balancer's typical flow."""

from __future__ import annotations

from typing import Any

import pytest

from ytwin.logical.compile import prepare
from ytwin.logical.parse_match import parse_match
from ytwin.logical.state import CT_NEW, CT_TRK, transport

pytestmark = pytest.mark.alone
TYPICAL = 'ct.new && ip4.dst == 10.96.0.100 && tcp.dst == 80 && is_chassis_resident("cr-lrp")'
REPEAT = 1000


class Here:
    def resident(self, port: str) -> bool:
        return port == "cr-lrp"


def test_evaluate_a_match(benchmark: Any) -> None:
    """Target: under a microsecond per packet."""
    packet = transport("tcp", "p", ("00:00:00:00:00:01", "00:00:00:00:00:02"), ("10.0.0.1", "10.96.0.100"), (40000, 80))
    packet.ct_state = CT_TRK | CT_NEW
    matches, here = prepare(parse_match(TYPICAL)).matcher(), Here()

    def many() -> int:
        return sum(matches(packet, here) for _ in range(REPEAT))

    assert benchmark(many) == REPEAT
    assert benchmark.stats is None or benchmark.stats.stats.min / REPEAT < 1e-6


def test_parse_and_prepare_a_match(benchmark: Any) -> None:
    def once() -> bool:
        parse_match.cache_clear()
        return prepare(parse_match(TYPICAL)).never

    assert benchmark(once) is False
