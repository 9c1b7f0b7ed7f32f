"""`ytwin profiles`: the hardware profiles, shipped and one's own."""

from __future__ import annotations

from typing import Annotated

import typer

from ytwin.cli import output
from ytwin.cli.commands import Json, app


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
    from ytwin.cli.cards import find_profiles  # noqa: PLC0415  # `--help` stays quick
    from ytwin.hardware import render, shipped  # noqa: PLC0415
    from ytwin.hardware.table import summary, to_json  # noqa: PLC0415

    shown = list(find_profiles(names, "").values() if names else shipped().values())
    if json:
        output.print_json({"profiles": [to_json(profile) for profile in shown]})
    elif names:
        output.print_text("\n\n".join(map(render, shown)))
    else:
        output.print_table(*summary(shown))
    return 0
