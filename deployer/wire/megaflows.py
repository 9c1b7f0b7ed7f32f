"""Holds the passes of datapath programs against the datapath flows that packets met in them. Pure.

Every bit of ct_state, ct_mark and ct_label that a real flow matches must have been predicted by `examined` (what was predicted
and is not matched is counted), and the operations must be the same, in the same order. Header fields are compared and counted,
too, but do not have to agree: OVS looks at some for itself (BFD, its own tunnels), which no logical flow explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deployer.wire.dpflows import DatapathFlow
from ytwin.datapath.program import Op, Operation, Pass
from ytwin.logical.fields import SYMBOLS

CONNTRACK = {"ct_state": 8, "ct_mark": 32, "ct_label": 128}
"""Fields of conntrack in a datapath flow's match, and their widths in bits (ct_state as the datapath has it)."""


HEADERS = frozenset({"ip.proto", "ip.ttl", "ip.ecn", "dp_hash"}) | {
    f"{header}.{end}" for header in ("eth", "ip4", "ip6", "tcp", "udp", "sctp") for end in ("src", "dst")
}
"""Header fields that are compared."""


@dataclass(frozen=True, slots=True)
class MegaflowComparison:
    """One pass: the twin's, and the flow that was met in it."""

    cell: str
    backend: str
    walk: str
    chassis: str
    number: int
    """Of the pass, from 0."""
    unpredicted: tuple[str, ...]
    """Conntrack fields that the flow matches and the twin does not know of."""
    absent: tuple[str, ...]
    """Predicted, but not matched."""
    matched: tuple[str, ...]
    """Predicted and matched."""
    twin: tuple[str, ...]
    """Operations."""
    wire: tuple[str, ...]
    headers: tuple[str, ...] = ()
    """Header fields predicted and matched; then those of one side only."""
    headers_unpredicted: tuple[str, ...] = ()
    headers_absent: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Nothing is matched that was not predicted, and the same is done."""
        return not self.unpredicted and self.twin == self.wire


def compare_megaflows(
    where: tuple[str, str, str, str], passes: Sequence[Pass], flows: Sequence[DatapathFlow]
) -> Iterator[MegaflowComparison]:
    """Pass by pass; `where`: cell, backend, walk, chassis. The numbers of both must be equal."""
    for number, (each, flow) in enumerate(zip(passes, flows, strict=True)):
        fields = {e.field for e in each.examined}
        headers, seen = fields & HEADERS, set(flow.headers())
        predicted = {name for field in fields if field.startswith("ct") for name in _single(field)}
        real = set(matched_fields(flow))
        yield MegaflowComparison(
            *where,
            number,
            unpredicted=tuple(sorted(real - predicted)),
            absent=tuple(sorted(predicted - real)),
            matched=tuple(sorted(real & predicted)),
            twin=tuple(filter(None, map(operation_word, each.operations))),
            wire=flow.operations,
            headers=tuple(sorted(headers & seen)),
            headers_unpredicted=tuple(sorted(seen - headers)),
            headers_absent=tuple(sorted(headers - seen)),
        )


def matched_fields(flow: DatapathFlow) -> Iterator[str]:
    """Names of the conntrack bits that a flow matches, e.g. "ct.new", "ct_mark.natted", "ct_mark[7]"."""
    for field, width in CONNTRACK.items():
        mask = flow.mask(field) & ((1 << width) - 1)
        yield from (_bit_name(field, bit) for bit in range(width) if mask >> bit & 1)


def _single(field: str) -> Iterator[str]:
    """The names of a field's bits."""
    symbol = SYMBOLS[field]
    parent, low = (symbol.parent, symbol.parent_low) if symbol.parent else (field, 0)
    yield from (_bit_name(parent, low + bit) for bit in range(symbol.width))


def _bit_name(field: str, bit: int) -> str:
    for symbol in SYMBOLS.values():
        if (symbol.parent, symbol.parent_low, symbol.width, symbol.newer) == (field, bit, 1, False):
            return symbol.name
    return f"{field}[{bit}]"


def operation_word(operation: Operation) -> str:
    """An operation in the words of `DatapathFlow.operations`; "" for what no action of a flow says."""
    if operation.op is Op.CT:
        return operation.detail.partition(" ")[0]
    if operation.op is Op.REWRITE:
        return f"set {operation.detail.partition(':')[0]}"
    known = {Op.DP_HASH, Op.TUNNEL_PUSH, Op.OUTPUT, Op.CHECK_LENGTH, Op.CONTROLLER}
    return operation.op.value if operation.op in known else ""
