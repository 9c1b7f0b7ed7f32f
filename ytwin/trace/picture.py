"""A picture of a conversation as one self-contained SVG: a lane per chassis, a box per datapath, headers on the arrows.

The text is a valid SVG file and, as it stands, a valid HTML body, so a browser shows it under either name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from ytwin.trace.story import GAP, OUTSIDE, Scene, scenes
from ytwin.trace.types import Conversation, Packet, Path, Verdict, Walk

MAX_PATHS = 6
"""Backends drawn; the others take the same ways and are only counted."""
LANE, BOX, MARGIN = 420, 392, 16
_LINE, _PAD, _GAP, _HEAD = 15, 8, 46, 22
_CHARACTERS = 58
"""That fit in one line of a box."""
_TITLE_HEIGHT = 30


@dataclass(frozen=True, slots=True)
class Box:
    x: int
    y: int
    height: int
    title: str
    style: str
    lines: tuple[tuple[str, str], ...]
    """(text, style)."""

    @property
    def middle(self) -> int:
        return self.x + BOX // 2

    @property
    def bottom(self) -> int:
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Arrow:
    x1: int
    y1: int
    x2: int
    y2: int
    label: str
    tunnel: bool
    changed: bool

    @property
    def middle(self) -> tuple[int, int]:
        return (self.x1 + self.x2) // 2, (self.y1 + self.y2) // 2


@dataclass(slots=True)
class Panel:
    """One walk."""

    title: str
    good: bool
    y: int
    lanes: tuple[str, ...]
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    bottom: int = 0


def picture(conversation: Conversation) -> str:
    """SVG text of a conversation."""
    panels: list[Panel] = []
    order: dict[str, None] = {}
    y = 78
    for path in conversation.paths[:MAX_PATHS]:
        for title, walk, sender in _walks(conversation, path):
            panel = _panel(title, walk, sender, y, order)
            panels.append(panel)
            y = panel.bottom + 24
    lanes = max((len(panel.lanes) for panel in panels), default=1)
    template = _template()
    return template.render(
        conversation=conversation,
        panels=panels,
        width=max(lanes * LANE + 2 * MARGIN, 900),
        height=y + 20,
        hidden=max(0, len(conversation.paths) - MAX_PATHS),
        good=conversation.verdict is Verdict.DELIVERED,
        LANE=LANE,
        BOX=BOX,
        MARGIN=MARGIN,
        LINE=_LINE,
        HEAD=_HEAD,
        clip=lambda text, limit: text if len(text) <= limit else text[: limit - 1] + "…",
    )


@cache
def _template() -> Template:
    source = files("ytwin.trace").joinpath("picture.svg.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )


def _walks(conversation: Conversation, path: Path) -> Iterator[tuple[str, Walk, str]]:
    """What is worth drawing of a path: a second packet only if it goes wrong, for else it goes the first one's way."""
    chosen = f" at {path.address}" if path.address not in ("", path.backend) else ""
    yield f"First packet: {conversation.client} to {path.backend}{chosen}", path.forward, conversation.client
    if path.reply is not None:
        yield f"Reply: {path.backend} to {conversation.client}", path.reply, path.backend
    if path.second is not None and path.second.verdict is not Verdict.DELIVERED:
        yield f"Second packet to {path.backend}", path.second, conversation.client


def _panel(title: str, walk: Walk, sender: str, y: int, order: dict[str, None]) -> Panel:
    """`order` are the lanes of the panels before, so that a chassis keeps its place; this panel's are added."""
    told = scenes(walk)
    first = OUTSIDE if sender.startswith(f"{OUTSIDE}/") else told[0].chassis if told else ""
    delivered = walk.received is not None and walk.receiver != ""
    last = OUTSIDE if walk.receiver.startswith(f"{OUTSIDE}/") else told[-1].chassis if told else first
    used = dict.fromkeys(filter(None, [first, *(scene.chassis for scene in told), last]))
    order.update(used)
    names = [lane for lane in order if lane in used]
    panel = Panel(f"{title}: {walk.verdict.value}", walk.verdict is Verdict.DELIVERED, y, tuple(names) or ("",))
    top = y + _TITLE_HEIGHT + _HEAD
    box = _add(panel, first, top, sender, "host", ())
    packet = walk.sent
    for scene in told:
        title = scene.datapath if scene.kind == GAP else f"{scene.kind} {scene.datapath}"
        following = _add(panel, scene.chassis, box.bottom + _GAP, title, scene.kind, _lines(scene))
        _connect(panel, box, following, packet, tunnel=box.x != following.x and box.style != "host", sent=walk.sent)
        box, packet = following, scene.after
    if delivered and walk.received is not None:
        end = _add(panel, last, box.bottom + _GAP, walk.receiver, "host", ())
        _connect(panel, box, end, walk.received, tunnel=False, sent=walk.sent)
    else:
        end = _add(
            panel, last, box.bottom + _GAP, walk.verdict.value, "bad", tuple((t, "") for t in _wrap(walk.reason))
        )
        _connect(panel, box, end, walk.received or packet, tunnel=False, sent=walk.sent)
    panel.bottom = end.bottom + 10
    return panel


def _lines(scene: Scene) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for event in scene.events:
        lines.append((f"{event.stage} {event.priority}", "lost" if event.lost else "stage"))
        lines += [(text, "lost" if event.lost else "what") for text in _wrap(event.what, _CHARACTERS - 2)]
        if event.row:
            lines.append((f"from {event.row}", "row"))
    return tuple(lines)


def _wrap(text: str, limit: int = _CHARACTERS) -> list[str]:
    lines, current = [], ""
    for word in text.split(" "):
        if current and len(current) + 1 + len(word) > limit:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}".strip()
    return [*lines, current] if current else lines


def _add(panel: Panel, lane: str, y: int, title: str, style: str, lines: tuple[tuple[str, str], ...]) -> Box:
    index = panel.lanes.index(lane) if lane in panel.lanes else 0
    height = _HEAD + (len(lines) * _LINE + _PAD if lines else 4)
    box = Box(MARGIN + index * LANE + (LANE - BOX) // 2, y, height, title, style, lines)
    panel.boxes.append(box)
    return box


def _connect(panel: Panel, start: Box, end: Box, packet: Packet, *, tunnel: bool, sent: Packet) -> None:
    ends = (packet.ip_src, packet.src_port, packet.ip_dst, packet.dst_port)
    changed = ends != (sent.ip_src, sent.src_port, sent.ip_dst, sent.dst_port)
    label = f"{packet}" + ("  (Geneve)" if tunnel else "")
    panel.arrows.append(Arrow(start.middle, start.bottom, end.middle, end.y, label, tunnel, changed))
