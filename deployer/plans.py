"""Plans that are shown, saved, and later applied exactly as they were shown, or refused.

File (version 1)::

    {"format": "ytwin-plan", "version": 1, "target": "ovsdb", "place": "unix:... deployment default",
     "observed": "sha256:...",   digest of what was there when it was made
     "goal": "sha256:...",       digest of what will be there
     "changes": [{"verb", "table", "name", "before": {...} | null, "after": {...} | null}]}
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deployer.state import digest, item_from_json, item_to_json
from deployer.target import Changes, State, Target
from ytwin.core.errors import StalePlan, YtwinError
from ytwin.core.plan import Change, Plan, apply, diff
from ytwin.northbound.review import Review
from ytwin.northbound.rows import Row, RowKey

FORMAT, VERSION = "ytwin-plan", 1


@dataclass(frozen=True)
class SavedPlan:
    """A plan, where it belongs, and the state it was made against."""

    target: str
    place: str
    observed: str
    goal: str
    changes: Changes

    def to_json(self) -> dict[str, Any]:
        """The form of the module's docstring."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "target": self.target,
            "place": self.place,
            "observed": self.observed,
            "goal": self.goal,
            "changes": [
                {
                    "verb": change.verb,
                    "table": change.key.table,
                    "name": change.key.name,
                    "before": None if change.before is None else item_to_json(change.before),
                    "after": None if change.after is None else item_to_json(change.after),
                }
                for change in self.changes
            ],
        }


def make_plan(target: Target, goal: State) -> SavedPlan:
    """What turns what `target` holds into `goal`."""
    observed = target.snapshot()
    return SavedPlan(target.name, target.place, digest(observed), digest(goal), diff(observed, goal))


def apply_saved(target: Target, plan: SavedPlan) -> bool:
    """Carry out a saved plan exactly; False if that has been done already.

    StalePlan if what is there is not what it was made against, YtwinError if it was made for another place.
    """
    if (plan.target, plan.place) != (target.name, target.place):
        raise YtwinError(f"the plan is for {plan.target} {plan.place}, not for {target.name} {target.place}")
    observed = target.snapshot()
    if digest(observed) == plan.goal:
        return False
    if digest(observed) != plan.observed:
        raise StalePlan(f"{plan.place} has changed since the plan was made; plan again")
    if digest(apply(observed, plan.changes)) != plan.goal:
        raise StalePlan("the plan does not lead where it says; was the file edited? plan again")
    target.apply(plan.changes)
    return True


def review(changes: Changes) -> Review:
    """The plan for a person to read, or as JSON."""
    return Review(cast("Plan[RowKey, Row]", changes))  # it reads columns, which every Item has


def save(plan: SavedPlan, file: str) -> None:
    """Write a plan to a file, wholly or not at all."""
    write_whole(file, json.dumps(plan.to_json(), indent=1) + "\n")


def load(file: str) -> SavedPlan:
    """Read a plan; YtwinError says what is wrong with the file."""
    try:
        value = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise YtwinError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise YtwinError(f"{file}: not a plan: {error}") from error
    return from_json(value, file)


def from_json(value: Any, file: str = "plan") -> SavedPlan:
    """The plan that `SavedPlan.to_json` made `value` from."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise YtwinError(f"{file}: not a plan (no format {FORMAT})")
    if value.get("version") != VERSION:
        raise YtwinError(f"{file}: version {value.get('version')} of {FORMAT}; this ytwin reads {VERSION}")
    try:
        return SavedPlan(
            target=str(value["target"]),
            place=str(value["place"]),
            observed=str(value["observed"]),
            goal=str(value["goal"]),
            changes=Plan(tuple(_change(entry) for entry in value["changes"])),
        )
    except (KeyError, TypeError) as error:
        raise YtwinError(f"{file}: not a whole plan: {error}") from error


def _change(entry: dict[str, Any]) -> Change[RowKey, Any]:
    key = RowKey(entry["table"], entry["name"])
    before, after = (None if e is None else item_from_json(key.table, e) for e in (entry["before"], entry["after"]))
    return Change(key, before, after)


def write_whole(file: str, text: str) -> None:
    """Replace a file's text; a reader, or a crash, sees the old text or the new one."""
    path = Path(file)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise YtwinError(f"{file}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
