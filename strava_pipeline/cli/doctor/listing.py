"""The settings as ``doctor`` lists them: by subject, each with its value, its source and its meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_page import SUBJECTS
from strava_pipeline.settings_values import EMBEDDED

MASK = "********"
UNSET = "-"


@dataclass(frozen=True)
class ListedSetting:
    """A setting for people: its ``value`` is masked if it is a secret, and ``None`` if it is not set."""

    subject: str
    name: str
    value: str | None
    source: str
    description: str


def listed_settings(settings: Settings) -> list[ListedSetting]:
    """Return all settings, in the order of their subjects."""
    return [
        ListedSetting(
            subject,
            variable_name(field),
            _shown(getattr(settings, field)),
            settings.origin_of(field),
            Settings.model_fields[field].description or "",
        )
        for subject, fields in SUBJECTS.items()
        for field in fields
    ]


def _shown(value: Any) -> str | None:
    if isinstance(value, SecretStr):
        return EMBEDDED if value.get_secret_value() == EMBEDDED else MASK
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else printable(str(value))
