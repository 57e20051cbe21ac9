"""The small tables of a mock's archive: the athlete, their settings and gear, and what tells of other people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from strava_pipeline.mock_strava.archive_languages import Language
from strava_pipeline.mock_strava.athletes import HIGHEST_BPM
from strava_pipeline.mock_strava.world import Person

# No reader may open what holds this.
OTHERS_SECRET: Final = "must-never-be-read"  # noqa: S105  no password
_BORN: Final = datetime(1988, 4, 2, tzinfo=UTC)
_PROFILE: Final = (
    "Athlete ID", "Email Address", "First Name", "Last Name", "Sex", "Description", "Weight", "City", "State",
    "Country", "Health Consent Status", "Date of Health Consent approval/denial",
)  # fmt: skip
_PREFERENCES: Final = (
    "Date of Birth", "Weight", "Functional Threshold Power", "Maximum Heartrate", "Athlete Type",
    "Measurement Preference", "Date Preference", "Chart Preference", "Email Language", "Pace Zone Time",
    "Pace Zone Distance", "Default Leaderboard View",
)  # fmt: skip
_OF_OTHERS: Final = {
    "comments.csv": ("Comment Date", "Comment"),
    "contacts.csv": ("Contact Name", "Contact Email"),
    "followers.csv": ("Follower Athlete ID", "Follow Status", "Favorite Status"),
    "logins.csv": ("Login DateTime", "Remote IP Address"),
    "privacy_zones.csv": ("Privacy Zone Address",),
}


def side_tables(athlete: Person, language: Language) -> dict[str, bytes]:
    """Return the tables beside activities.csv, by their names."""
    body = athlete.athlete
    weight = body.get("weight") or 0.0
    ftp = body.get("ftp")
    profile = (
        body["id"], "athlete@example.invalid", body["firstname"], body["lastname"], body.get("sex") or "",
        body.get("bio") or "", weight, body.get("city") or "", body.get("state") or "", body.get("country") or "",
        "Unknown", "",
    )  # fmt: skip
    is_metric = body.get("measurement_preference") != "feet"
    # The day alone: settings show no time.
    born = language.date(_BORN).replace("\u202f", " ").rpartition(",")[0] or str(_BORN.date())
    preferences = (
        born, _shown_weight(weight, is_metric=is_metric), f"{ftp} W" if ftp else "", HIGHEST_BPM, "Cyclist",
        "Metric" if is_metric else "Imperial", "mm/dd/YYYY", "Week", "English (US)", "--:--", "", "All",
    )  # fmt: skip
    gear = [
        (item["name"], item.get("brand_name") or "", item.get("model_name") or "", "")
        for item in athlete.gear.values()
        if item["id"].startswith("b")
    ]
    shoes = [
        (item["name"], item.get("brand_name") or "", item.get("model_name") or "", "")
        for item in athlete.gear.values()
        if item["id"].startswith("g")
    ]
    return {
        "profile.csv": _table(language, _PROFILE, [profile]),
        "general_preferences.csv": _table(language, _PREFERENCES, [preferences]),
        "bikes.csv": _table(language, _gear_headers("Bike"), gear),
        "shoes.csv": _table(language, _gear_headers("Shoe"), shoes),
        **{name: _table(language, headers, [[OTHERS_SECRET] * len(headers)]) for name, headers in _OF_OTHERS.items()},
    }


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as Strava writes them: quotes where they are needed, rows that end with a line feed."""
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue()


def _shown_weight(weight_kg: float, *, is_metric: bool) -> str:
    return f"{weight_kg} kg" if is_metric else f"{weight_kg / 0.45359237:.1f} lbs"


def _gear_headers(kind: str) -> tuple[str, ...]:
    return tuple(f"{kind} {what}" for what in ("Name", "Brand", "Model", "Default Sport Types"))


def _table(language: Language, headers: Iterable[str], rows: Iterable[Sequence[object]]) -> bytes:
    return csv_text([[language.header(header) for header in headers], *rows]).encode()
