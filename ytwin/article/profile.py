"""The article's card as the calibration leaves it: a hardware profile that predictions and studies can be asked about."""

from __future__ import annotations

from typing import Final

from ytwin.article.bench import Benches, Profiles, card_of
from ytwin.article.calibrate import Calibrated, calibrate
from ytwin.article.tables import Tables
from ytwin.hardware import HardwareProfile, Kind, numbers, with_values

NAME: Final = "article-dpu-2x100g"
"""Also the model of a NetworkCard that means it."""

DESCRIPTION: Final = (
    "The article's card and hosts, calibrated on the cells of its tables that `ytwin reproduce` calibrates or fits; "
    "all other numbers are those of {prior}."
)


def article_profile(benches: Benches, profiles: Profiles, tables: Tables, calibrated: Calibrated) -> HardwareProfile:
    """The calibrated profile under its own name. The interval of a number is where the article's noise in its cell moves it."""
    card = card_of(benches, profiles)
    found = calibrated.profiles[card]
    for fitted in calibrated.fitted:
        value = fitted.value.value
        ends = [_moved(benches, tables, calibrated, fitted.cell, fitted.number, sign) for sign in (-1, 1)]
        found = with_values(
            found,
            {fitted.number: value},
            kind=Kind.CALIBRATED,
            source=fitted.value.source,
            conditions="`ytwin reproduce`: one cell, one number; interval: the cell within the article's noise",
            intervals={fitted.number: (min(value, *ends), max(value, *ends))},
        )
    about = DESCRIPTION.format(prior=card)
    return found.model_copy(update={"name": NAME, "description": about, "models": (NAME,)})


def _moved(benches: Benches, tables: Tables, calibrated: Calibrated, cell: str, number: str, sign: int) -> float:
    """A number of the profile, had its cell been measured lower or higher by the article's noise."""
    instead = {cell: tables.cells[cell].value * (1 + sign * tables.noise)}
    step = next(s for s in (*tables.calibrate, *tables.fit) if s.number == number)
    # Only this number is sought again, from where the others ended: they are met by their own cells.
    start = calibrated.profiles
    moved = calibrate(benches, start, tables, (step,), instead, near=start)
    return numbers(moved.profiles[card_of(benches, start)])[number].value
