"""An archive's row as JSON, and back: as rows are kept in ``ops.archive_rows``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from strava_pipeline.files.archive.row import ArchiveRow, Weather

_INSTANTS = ("start", "observed_at", "sunrise", "sunset")


def row_to_json(row: ArchiveRow) -> dict[str, Any]:
    """Return what a row tells, without what is blank; times in ISO 8601."""
    told = _told(asdict(row))
    if row.weather is not None:
        told["weather"] = _told(asdict(row.weather))
    return told


def row_from_json(body: Mapping[str, Any]) -> ArchiveRow:
    """Return the row of which :func:`row_to_json` made ``body``."""
    values = _read(body)
    if "weather" in values:
        values["weather"] = Weather(**_read(values["weather"]))
    if "media" in values:
        values["media"] = tuple(values["media"])
    values["unknown"] = tuple((header, cell) for header, cell in values.get("unknown", ()))
    values.setdefault("sport", None)
    return ArchiveRow(**values)


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


def _read(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: datetime.fromisoformat(value) if name in _INSTANTS else value for name, value in body.items()}
