"""`ytwin profiles`: the hardware profiles, shipped and one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ytwin.cli import output
from ytwin.cli.commands import Json, app
from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import YtwinError
from ytwin.resources.fields import nearest


@app.command()
def profiles(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE", help="Show these whole; a FILE or folder may hold several. None: list all."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the hardware profiles that come with the twin, or show some whole: every number with kind, interval and source."""
    from ytwin.hardware import decode_profiles, render, shipped  # noqa: PLC0415  # `--help` stays quick
    from ytwin.hardware.table import summary, to_json  # noqa: PLC0415

    known, asked = shipped(), names or []
    for name in asked:
        if name not in known and not _is_path(name):
            raise YtwinError(_unknown(name, known))
    paths = [name for name in asked if name not in known]
    own = decode_profiles(read_files(paths), known) if paths else {}
    shown = [*(known[name] for name in asked if name in known), *own.values()] if asked else list(known.values())
    if json:
        output.print_json({"profiles": [to_json(profile) for profile in shown]})
    elif asked:
        output.print_text("\n\n".join(map(render, shown)))
    else:
        output.print_table(*summary(shown))
    return 0


def _is_path(name: str) -> bool:
    return name == "-" or name.endswith(SUFFIXES) or "/" in name or Path(name).exists()


def _unknown(name: str, known: Iterable[str]) -> str:
    meant = nearest(name, known)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
    return f"{name}: no profile and no file of this name; {hint}"
