"""`ytwin reproduce`: the article's measurements beside the twin's predictions."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.commands import Json, app
from ytwin.cli.files import write_text


@app.command()
def reproduce(
    html: Annotated[
        str, typer.Option(metavar="FILE", help="Write the report with its plots into this HTML file.")
    ] = "",
    profile: Annotated[
        str, typer.Option(metavar="FILE", help="Write the calibrated hardware profile, for `--card FILE`.")
    ] = "",
    leave_one_out: Annotated[
        bool,
        typer.Option(help="Also predict each calibrated cell without itself, and try other cells to calibrate on."),
    ] = True,
    simulate: Annotated[bool, typer.Option(help="Also simulate each cell packet by packet.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulations; the same seed gives the same answer.")] = 0,
    json: Json = False,
) -> int:
    """Print every cell of the article's tables beside the twin's: error, interval, and whether it was predicted or calibrated on.

    A predicted cell outside of the target is red and stays outside. Exit code 1 if an error is larger than the one stated for it.
    """
    from ytwin.article.page import report_page  # noqa: PLC0415  # `--help` stays quick
    from ytwin.article.profile import article_profile  # noqa: PLC0415
    from ytwin.article.render import listings, summary, to_json  # noqa: PLC0415
    from ytwin.hardware import dump_profiles, shipped  # noqa: PLC0415

    with output.progress("cells") as progress:
        found = pipeline.reproduce(seed, simulate, leave_one_out, progress)
    code = 1 if found.beyond_stated else 0
    output.decided(code)
    if html:
        options = (" --no-leave-one-out" * (not leave_one_out)) + (" --no-simulate" * (not simulate))
        command = f"ytwin reproduce --html {shlex.quote(html)}{options} --seed {seed}"
        write_text(html, report_page(found, command).html())
    if profile:
        write_text(profile, dump_profiles([article_profile(found.benches, shipped(), found.tables, found.calibrated)]))
    if json:
        output.print_json(to_json(found))
        return code
    output.print_text(f"{summary(found)}\n")
    for part in listings(found):
        output.print_text(f"# {part.title}")
        styles = [output.BAD if i in part.bad else output.NEUTRAL for i in range(len(part.rows))]
        output.print_table(part.header, part.rows, styles)
        output.print_text(f"{part.note}\n" if part.note else "")
    return code
