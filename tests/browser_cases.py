"""Pages in a real browser: what they say of themselves in a window of a given width."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROBE = """
<script>
window.problems = [];
window.onerror = (message) => { window.problems.push(String(message)); };
console.error = (...said) => { window.problems.push(said.join(" ")); };
window.addEventListener("load", () => setTimeout(() => {
  const plots = [...document.querySelectorAll("[data-figure]")];
  const found = {
    problems: window.problems,
    width: window.innerWidth,
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    plots: plots.map((p) => p.querySelectorAll("svg .bars .point").length),
    over: plots.filter((p) => p.querySelector("svg").getBoundingClientRect().right > window.innerWidth).length,
    cut: plots.flatMap((p) => [...p.querySelectorAll("text")].filter((t) => t.textContent &&
      t.getBoundingClientRect().left < p.getBoundingClientRect().left - 1).map((t) => t.textContent)),
    ink: plots.map((p) => getComputedStyle(p.querySelector(".ytick text, .annotation text")).fill),
    back: getComputedStyle(document.body).backgroundColor,
  };
  parent.postMessage(JSON.stringify(found), "*");
}, 300));
</script>
"""
FRAME = """<!DOCTYPE html><body style="margin:0"><pre id="found"></pre><script>
window.addEventListener("message", (event) => { document.getElementById("found").textContent = event.data; });
</script><iframe src="inner.html" style="border:0;width:%dpx;height:2000px"></iframe></body>"""


def browser() -> str:
    """Chromium's path; without one the test is skipped, or fails if a browser is required."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("YTWIN_REQUIRE_BROWSER"):
        pytest.fail("no chromium on this machine, and YTWIN_REQUIRE_BROWSER is set")
    pytest.skip("no chromium on this machine")


def opened(text: str, width: int, folder: Path, *options: str) -> dict[str, Any]:
    """What the page says of itself in a window of this width: a frame, because a window is never narrower than 500."""
    (folder / "inner.html").write_text(text.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    (folder / "outer.html").write_text(FRAME % width, encoding="utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=8000",
        f"--window-size={width + 100},2100",
    ]
    command += [*options, "--dump-dom", f"file://{folder / 'outer.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said is not None
    assert said[1], f"the page said nothing: {done.stderr[-500:]}"
    return dict(json.loads(html.unescape(said[1])))
