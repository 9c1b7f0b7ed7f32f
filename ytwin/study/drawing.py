"""The topology of a study as a picture: nodes with their cards and workloads, the called Service, and who calls whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from ytwin.study.evaluate import Scene
from ytwin.trace.types import Host
from ytwin.trace.world import chassis_name

MOST_NODES: Final = 6
MOST_HOSTS: Final = 6
WIDTH, GAP, LINE, PAD = 210, 24, 22, 10
_TOP, _LETTERS = 96, 27


@dataclass(frozen=True, slots=True)
class _Box:
    chassis: str
    card: str
    hosts: tuple[Host, ...]
    more: int


def topology_picture(scene: Scene) -> str:
    """An SVG in the page's colours. Nodes that the path does not visit are only counted where there are many."""
    programs = scene.programs
    visited = list(dict.fromkeys(v.chassis for p in programs for v in p.visits))
    backends = {p.backend for p in programs}
    shown = {scene.client, *backends}
    chassis = [chassis_name(config) for config in scene.twin.nodes]
    if len(chassis) > MOST_NODES:
        chassis = [c for c in chassis if c in visited][:MOST_NODES]
    boxes = [_box(name, scene, shown) for name in chassis]
    outside = next((h for h in scene.twin.world.hosts if h.name == scene.client and not h.chassis), None)
    height = max((len(b.hosts) + bool(b.more) for b in boxes), default=0) * LINE + 2 * LINE + 2 * PAD
    width = max(len(boxes) * (WIDTH + GAP) + GAP, 420)
    parts: list[str] = []
    places: dict[str, tuple[float, float]] = {}
    for index, box in enumerate(boxes):
        parts += _node(box, GAP + index * (WIDTH + GAP), _TOP, height, scene.client, backends, places)
    service_at = (width / 2, 40.0)
    if outside is not None:
        places[outside.name] = (GAP + 60.0, 40.0)
        parts.append(_label(GAP, 24, 120, outside.name, "var(--c1)"))
        service_at = (max(width / 2, 320.0), 40.0)
    parts += _calls(scene, places, service_at, backends)
    parts += _wire(boxes, _TOP + height, width)
    left_out = len(scene.twin.nodes) - len(boxes)
    if left_out:
        note = f"and {left_out} more nodes; {scene.services} Services"
        parts.append(f'<text x="{GAP}" y="{_TOP + height + 62}" fill="var(--soft)">{note}</text>')
    total = _TOP + height + (72 if left_out else 48)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" viewBox="0 0 {width} {total}">'
        f"{_MARKER}{''.join(parts)}</svg>"
    )


_MARKER: Final = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="var(--soft)"/></marker></defs>'
)


def _box(chassis: str, scene: Scene, shown: set[str]) -> _Box:
    hosts = [h for h in scene.twin.world.hosts if h.chassis == chassis and (h.kind != "Node" or h.name in shown)]
    hosts.sort(key=lambda h: (h.name not in shown, h.name))
    return _Box(chassis, scene.cards[chassis].name, tuple(hosts[:MOST_HOSTS]), max(0, len(hosts) - MOST_HOSTS))


def _node(
    box: _Box,
    x: int,
    y: int,
    height: int,
    client: str,
    backends: set[str],
    places: dict[str, tuple[float, float]],
) -> Sequence[str]:
    parts = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{height}" rx="8" fill="var(--page)" stroke="var(--line)"/>',
        f'<text x="{x + PAD}" y="{y + 19}" font-weight="600" fill="var(--ink)">{_short(box.chassis)}</text>',
        f'<text x="{x + PAD}" y="{y + height - 9}" fill="var(--soft)">{_short(box.card)}</text>',
    ]
    for index, host in enumerate(box.hosts):
        top = y + PAD + LINE + index * LINE
        colour = "var(--c1)" if host.name == client else "var(--c3)" if host.name in backends else "var(--line)"
        parts.append(_label(x + PAD, top, WIDTH - 2 * PAD, host.name, colour))
        places[host.name] = (x + WIDTH / 2, float(top))
    if box.more:
        top = y + PAD + LINE + len(box.hosts) * LINE
        parts.append(f'<text x="{x + PAD}" y="{top + 14}" fill="var(--soft)">and {box.more} more</text>')
    return parts


def _label(x: float, y: float, width: float, text: str, colour: str) -> str:
    frame = f'fill="var(--card)" stroke="{colour}" stroke-width="1.6"'
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{LINE - 4}" rx="4" {frame}/>'
        f'<text x="{x + 6}" y="{y + 13.5}" font-size="12" fill="var(--ink)">{_short(text)}<title>{escape(text)}</title></text>'
    )


def _short(text: str) -> str:
    return escape(text if len(text) <= _LETTERS else f"…{text[-(_LETTERS - 1) :]}")


def _calls(
    scene: Scene, places: dict[str, tuple[float, float]], at: tuple[float, float], backends: set[str]
) -> Sequence[str]:
    """Client to Service, Service to its backends."""
    x, y = at
    text = f"{scene.destination} (Service)"
    half = 4.2 * min(len(text), _LETTERS + 10) + 10
    parts = []
    for name in [scene.client, *sorted(backends)]:
        if name not in places:
            continue
        px, py = places[name]
        start, end = ((px, py), (x, y + 14)) if name == scene.client else ((x, y + 14), (px, py))
        dash = "" if name == scene.client else ' stroke-dasharray="5 4"'
        parts.append(
            f'<path d="M{start[0]:.0f} {start[1]:.0f} {end[0]:.0f} {end[1]:.0f}" stroke="var(--soft)" fill="none"{dash} '
            'marker-end="url(#arrow)"/>'
        )
    parts.append(
        f'<rect x="{x - half:.0f}" y="{y - 14:.0f}" width="{2 * half:.0f}" height="28" rx="14" fill="var(--plain-back)" '
        f'stroke="var(--c2)" stroke-width="1.6"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="var(--ink)">'
        f"{escape(text)}</text>"
    )
    return parts


def _wire(boxes: Sequence[_Box], bottom: int, width: int) -> Sequence[str]:
    """The underlay that joins the nodes."""
    y = bottom + 18
    parts = [f'<path d="M{GAP} {y}H{width - GAP}" stroke="var(--soft)" stroke-width="3"/>']
    for index in range(len(boxes)):
        x = GAP + index * (WIDTH + GAP) + WIDTH / 2
        parts.append(f'<path d="M{x:.0f} {bottom}V{y}" stroke="var(--soft)" stroke-width="2"/>')
    parts.append(f'<text x="{GAP}" y="{y + 18}" fill="var(--soft)">underlay</text>')
    return parts
