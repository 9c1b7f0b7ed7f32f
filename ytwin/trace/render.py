"""Text of a walk and of a conversation that a person can follow: by chassis and datapath, only what did something."""

from __future__ import annotations

from ytwin.trace.jsonform import conversation_to_json, walk_to_json
from ytwin.trace.story import GAP, scenes
from ytwin.trace.types import Conversation, Path, Verdict, Walk

__all__ = ["conversation_to_json", "render_conversation", "render_path", "render_walk", "walk_to_json"]


def render_walk(walk: Walk, indent: str = "") -> str:
    """One packet, from its sender to its end."""
    lines = [f"{indent}{walk.sent}"]
    chassis = ""
    for scene in scenes(walk):
        if scene.chassis != chassis:
            chassis = scene.chassis
            lines.append(f"{indent}  on {chassis}")
        lines.append(
            f"{indent}    {scene.datapath}" if scene.kind == GAP else f"{indent}    {scene.kind} {scene.datapath}"
        )
        for event in scene.events:
            mark = "x" if event.lost else "-"
            lines.append(f"{indent}      {mark} {event.stage} {event.priority}: {event.what}")
            if event.row:
                lines.append(f"{indent}          from {event.row}")
    if walk.received is not None:
        where = walk.receiver or walk.port
        lines.append(f"{indent}  {where} gets {walk.received}")
    if walk.receiver == "" or walk.received is None:
        lines.append(f"{indent}  {walk.verdict.value}: {walk.reason}")
    return "\n".join(lines)


def render_path(path: Path, indent: str = "") -> str:
    """A conversation with one backend."""
    lines = []
    for title, walk in (("first packet", path.forward), ("reply", path.reply), ("second packet", path.second)):
        if walk is path.second and walk is not None and walk.verdict is Verdict.DELIVERED:
            lines.append(f"{indent}second packet\n{indent}  {walk.receiver} gets it the same way, as {walk.received}")
        elif walk is not None:
            lines += [f"{indent}{title}", render_walk(walk, indent + "  ")]
    return "\n".join(lines)


def render_conversation(conversation: Conversation) -> str:
    """All that can happen, one backend after another."""
    head = f"{conversation.client} -> {conversation.protocol} {conversation.destination}: {conversation.verdict.value}"
    lines = [head, f"  {conversation.reason}"]
    total = len(conversation.paths)
    for number, path in enumerate(conversation.paths, 1):
        chosen = f" at {path.address}" if path.address not in ("", path.backend) else ""
        lines += ["", f"[{number}/{total}] {path.backend}{chosen}: {path.verdict.value}"]
        if path.client_seen_as:
            lines.append(f"  sees the client as {path.client_seen_as}")
        if path.reason:
            lines.append(f"  {path.reason}")
        lines.append(render_path(path, "  "))
    return "\n".join(lines)
