"""What a user names on the command line, read as text: the only place of the twin that opens files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from ytwin.core.errors import InvalidInput, Location, Problem, YtwinError
from ytwin.logical.dump import read_southbound
from ytwin.logical.southbound import Southbound

SUFFIXES = (".yaml", ".yml", ".json")
REMOTES = ("unix", "tcp", "ssl")
READERS = "ytwin.southbound"
"""Entry point group of functions `(remote: str) -> str` that fetch a live Southbound, named by the scheme they speak."""


def read_files(paths: Iterable[str]) -> Mapping[str, str]:
    """File name -> text of every YAML or JSON file named, or found below a named folder, sorted; "-" is standard input."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for name in paths:
        if name == "-":
            if "-" not in texts:  # it can be read once
                texts["-"] = sys.stdin.read()
            continue
        path = Path(name)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not found:
                problems.append(Problem(Location(name), "no-files", "no .yaml, .yml or .json file in this folder"))
        else:
            found = [path]
        for file in found:
            try:
                texts[str(file)] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(_unreadable(file, error))
    if problems:
        raise InvalidInput(problems)
    return texts


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        return Problem(
            Location(str(path)), "not-text", f"not UTF-8 text (byte {error.start})", "save the file as UTF-8"
        )
    return Problem(
        Location(str(path)),
        "unreadable",
        error.strerror or str(error),
        "give a file, a folder, or - for standard input",
    )


def read_southbound_source(source: str) -> Southbound:
    """A Southbound from a dump file, or live from `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT`."""
    scheme = source.partition(":")[0]
    if scheme in REMOTES and ":" in source:
        readers = entry_points(group=READERS, name=scheme)
        if not readers:
            raise YtwinError(
                f"{source}: nothing here reads {scheme}: databases; name a file of `ovsdb-client -f json dump`"
            )
        return read_southbound(next(iter(readers)).load()(source))
    try:
        return read_southbound(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([_unreadable(Path(source), error)]) from error


def write_text(path: str, text: str) -> None:
    """Write a result file; an error of the file system becomes a YtwinError."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise YtwinError(f"{path}: {error.strerror or error}") from error
