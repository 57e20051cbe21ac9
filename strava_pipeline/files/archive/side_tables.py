"""The small tables of an archive that are read: whose it is, the athlete's settings, bikes and shoes.

Their headers are translated as well, so cells are taken by position, or by English header where there is one. What is
missing or odd is ``None``: only the athlete's id decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from strava_pipeline.files.archive.cells import bigint
from strava_pipeline.files.archive.csv_text import csv_rows
from strava_pipeline.files.archive.members import ArchiveMembers
from strava_pipeline.files.archive.names import BIKES, PREFERENCES, PROFILE, SHOES

_PROFILE: Final = (
    "Athlete ID", "Email Address", "First Name", "Last Name", "Sex", "Description", "Weight", "City", "State",
    "Country",
)  # fmt: skip
_PREFERENCES: Final = (
    "Date of Birth", "Weight", "Functional Threshold Power", "Maximum Heartrate", "Athlete Type",
    "Measurement Preference",
)  # fmt: skip
_GEAR: Final = ("Name", "Brand", "Model", "Default Sport Types")
_NUMBER: Final = re.compile(r"(?<![\d.,-])\d{1,4}(?:[.,]\d{1,3})?(?![\d.,])", re.ASCII)
_POUND_KG: Final = 0.45359237
_POUNDS: Final = re.compile(r"lbs?\b|pounds?\b", re.IGNORECASE)
_KILOGRAMS: Final = re.compile(r"kg\b|кг\b", re.IGNORECASE)
_IMPERIAL: Final = re.compile(r"imper|feet|mile", re.IGNORECASE)
_METRIC: Final = re.compile(r"m[eé]tri|метр", re.IGNORECASE)
_LIKELY_HEARTRATES_BPM: Final = range(100, 251)
_LIKELY_FTPS_W: Final = range(30, 1_000)
_SEXES: Final = {"m": "M", "male": "M", "f": "F", "female": "F"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whose archive it is. The address and what consents say are left out."""

    athlete_id: int
    firstname: str | None = None
    lastname: str | None = None
    sex: str | None = None
    bio: str | None = None
    weight_kg: float | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """``measurement_preference``: ``meters`` or ``feet``, in the API's words."""

    measurement_preference: str | None = None
    weight_kg: float | None = None
    ftp_w: int | None = None
    max_heartrate_bpm: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGear:
    """A bike or a pair of shoes as its table lists it, without an id."""

    name: str
    brand: str | None = None
    model: str | None = None
    default_sports: str | None = None


def read_profile(members: ArchiveMembers) -> Profile | None:
    """Return whose archive it is; ``None`` without profile.csv, or if it tells no id."""
    header, rows = _table(members, PROFILE)
    for row in rows[:1]:
        cells = _Cells(header, row, _PROFILE)
        try:
            athlete_id = bigint(row[0].strip())
        except ValueError:
            return None
        return Profile(
            athlete_id=athlete_id,
            firstname=cells["First Name"],
            lastname=cells["Last Name"],
            sex=_SEXES.get((cells["Sex"] or "").casefold()),
            bio=cells["Description"],
            weight_kg=_weight_kg(cells["Weight"]),
            city=cells["City"],
            state=cells["State"],
            country=cells["Country"],
        )
    return None


def read_preferences(members: ArchiveMembers) -> Preferences:
    """Return the settings of general_preferences.csv that figures need."""
    header, rows = _table(members, PREFERENCES)
    for row in rows[:1]:
        cells = _Cells(header, row, _PREFERENCES)
        return Preferences(
            measurement_preference=_measurement(cells["Measurement Preference"], cells["Weight"]),
            weight_kg=_weight_kg(cells["Weight"]),
            ftp_w=_likely(cells["Functional Threshold Power"], _LIKELY_FTPS_W),
            max_heartrate_bpm=_likely(cells["Maximum Heartrate"], _LIKELY_HEARTRATES_BPM),
        )
    return Preferences()


def read_bikes(members: ArchiveMembers) -> tuple[ListedGear, ...]:
    return _gear(members, BIKES)


def read_shoes(members: ArchiveMembers) -> tuple[ListedGear, ...]:
    return _gear(members, SHOES)


def _gear(members: ArchiveMembers, table: str) -> tuple[ListedGear, ...]:
    found = []
    for row in _table(members, table)[1]:
        cells = _Cells((), row, _GEAR)
        name = cells["Name"] or " ".join(part for part in (cells["Brand"], cells["Model"]) if part)
        if name:
            sports = cells["Default Sport Types"]
            found.append(ListedGear(name=name, brand=cells["Brand"], model=cells["Model"], default_sports=sports))
    return tuple(found)


def _table(members: ArchiveMembers, table: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows; nothing where the archive has no such table."""
    if table not in members:
        return [], []
    with closing(csv_rows(members.open(table), f"{members.name}: {table}", members.limits)) as found:
        rows = [row for _, row in found]
    return (rows[0], rows[1:]) if rows else ([], [])


class _Cells:
    """Cells by English header: where it stands, if the table has English headers, else where it usually is."""

    def __init__(self, header: Sequence[str], row: Sequence[str], usual: Sequence[str]) -> None:
        names = [cell.strip() for cell in header]
        is_english = usual[0] in names
        self._row = row
        self._at = {name: names.index(name) for name in usual if name in names} if is_english else _places(usual)

    def __getitem__(self, name: str) -> str | None:
        at = self._at.get(name)
        return None if at is None or at >= len(self._row) else self._row[at].strip() or None


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: at for at, name in enumerate(names)}


def _number(cell: str | None) -> float | None:
    found = _NUMBER.search(cell or "")
    return float(found[0].replace(",", ".")) if found else None


def _likely(cell: str | None, likely: range) -> int | None:
    found = _number(cell)
    return round(found) if found is not None and round(found) in likely else None


def _weight_kg(cell: str | None) -> float | None:
    """A weight, in kg unless the cell says pounds; 0 is what Strava writes for none."""
    found = _number(cell)
    if not found:
        return None
    return round(found * _POUND_KG, 1) if _POUNDS.search(cell or "") else found


def _measurement(preference: str | None, weight: str | None) -> str | None:
    """The units by their word, or by the unit of the weight, which stands there even without a weight."""
    if _IMPERIAL.search(preference or "") or _POUNDS.search(weight or ""):
        return "feet"
    return "meters" if _METRIC.search(preference or "") or _KILOGRAMS.search(weight or "") else None
