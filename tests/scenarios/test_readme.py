"""README's transcript is what the commands print. Runs of blanks count as one, and `...` stands for anything, as in doctest."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from ytwin.cli import main

ROOT = Path(__file__).parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def transcripts() -> list[tuple[str, str]]:
    """(command, expected output) of every `$ ytwin` line in a fenced block."""
    text = (ROOT / "README.md").read_text()
    found = []
    for block in re.findall(r"^```\n(\$ ytwin.*?)^```$", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, expected = part.partition("\n")
            found.append((command, expected.strip() + "\n"))
    return found


@pytest.mark.parametrize(("command", "expected"), transcripts(), ids=lambda text: text.split("\n")[0][:60])
def test_transcript(
    command: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "400")
    main(shlex.split(command)[1:])
    captured = capsys.readouterr()
    got = (captured.out or captured.err).strip() + "\n"
    checker = doctest.OutputChecker()
    assert checker.check_output(expected, got, OPTIONS), got


def test_there_are_transcripts() -> None:
    assert len(transcripts()) >= 4
