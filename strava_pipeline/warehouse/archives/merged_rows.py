"""One row of several sources: what Strava's API tells counts, then the newest archive, then the files.

All here is a function of the sources alone, so the order in which they came does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strava_pipeline.files.archive.activity_fields import activity_columns, extra_columns
from strava_pipeline.files.archive.sports import sport_of, type_of
from strava_pipeline.warehouse.activities.answers import SUMMARIZED
from strava_pipeline.warehouse.archives.matching import Outline
from strava_pipeline.warehouse.archives.sources import FileSource, Sources, TakenRow
from strava_pipeline.warehouse.schema.archive_tables import archive_figures
from strava_pipeline.warehouse.schema.tables import activities

Row = dict[str, Any]
COLUMNS: Final = tuple(column.name for column in activities.columns)
FIGURE_COLUMNS: Final = tuple(column.name for column in archive_figures.columns)
# What a file is taken for that does not tell its sport, and an archive's row whose word nobody knows.
ANY_SPORT: Final = "Workout"
_OF_FILES: Final = ("start_date", "elapsed_time", "moving_time", "distance", "total_elevation_gain")
# What these hold is told by one source together.
_SPORT: Final = ("sport_type", "type")
_LOCAL: Final = ("utc_offset", "start_date_local", "timezone")


def merged_row(athlete_id: int, activity_id: int, sources: Sources, api: Row | None, learned: Mapping[str, str]) -> Row:
    """Return the row of ``activities``, all columns.

    ``api``: what Strava's API tells. ``learned``: sports by words, of :func:`.learned_words`. The offset of a row whose
    sources do not tell it is left empty, and marked.
    """
    archive = {} if sources.taken is None else activity_columns(sources.taken.row)
    files = [_of_file(file) for file in sources.files]
    row = {name: _first(told.get(name) for told in (api or {}, archive, *files)) for name in COLUMNS}
    row |= {"id": activity_id, "athlete_id": athlete_id}
    row |= {name: (api or {}).get(name) for name in (*_LOCAL, *_SPORT)}
    if api is None or api.get("sport_type") is None:
        sport = _sport(sources, learned)
        row |= {"sport_type": sport, "type": type_of(sport)}
    row["name"] = row["name"] or _words(row["sport_type"])
    if api is None:
        # Neither an archive nor a file tells who may see it.
        row |= {"visibility": "only_me", "private": True}
    row |= _local(row, sources)
    row |= _stamps(api, sources)
    return row


def figures_row(athlete_id: int, activity_id: int, taken: TakenRow) -> Row:
    """Return the row of ``archive_figures``, all columns."""
    told = extra_columns(taken.row)
    return dict.fromkeys(FIGURE_COLUMNS) | {
        **{name: value for name, value in told.items() if name in FIGURE_COLUMNS},
        "activity_id": activity_id,
        "athlete_id": athlete_id,
        "sport_word": taken.row.sport_word,
        "unknown": dict(taken.row.unknown) or None,
        "taken_at": taken.taken_at,
    }


def told_outline(activity_id: int, sources: Sources) -> Outline | None:
    """Return start, length and distance as Strava tells them, without those of files; ``None`` if it tells no start."""
    api = {} if sources.answers is None else sources.answers.row()
    archive = {} if sources.taken is None else activity_columns(sources.taken.row)
    start, elapsed, distance = (
        _first(told.get(name) for told in (api, archive)) for name in ("start_date", "elapsed_time", "distance")
    )
    return None if start is None else Outline(activity_id, start, elapsed, distance)


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def _of_file(file: FileSource) -> Row:
    """The columns that a file fills."""
    return {name: file.figures.get(name) for name in _OF_FILES} | {"name": file.figures.get("name")}


def _sport(sources: Sources, learned: Mapping[str, str]) -> str:
    taken = sources.taken
    by_archive = None if taken is None else taken.row.sport or sport_of(taken.row.sport_word, learned)
    found: str = by_archive or _first(file.figures.get("sport_type") for file in sources.files) or ANY_SPORT
    return found


def _words(sport: str) -> str:
    """A sport type as a title: ``Virtual Ride``."""
    return "".join(f" {char}" if char.isupper() and place else char for place, char in enumerate(sport))


def _local(row: Row, sources: Sources) -> Row:
    """The local start: by the API, else by a device's clock, else to be filled by :mod:`.local_times`."""
    start: datetime = row["start_date"]
    if row["utc_offset"] is not None or row["start_date_local"] is not None or not sources.is_handed_in:
        return {"offset_assumed": None}
    offset = _first(file.figures.get("utc_offset") for file in sources.files)
    if offset is None:
        return {"offset_assumed": True}
    local = start.astimezone(UTC).replace(tzinfo=None) + timedelta(seconds=offset)
    return {"utc_offset": float(offset), "start_date_local": local, "offset_assumed": None}


def _stamps(api: Row | None, sources: Sources) -> Row:
    taken_at = None if sources.taken is None else sources.taken.taken_at
    file_at = max((file.taken_at for file in sources.files), default=None)
    return {
        "told_by_api": api is not None,
        "archive_taken_at": taken_at,
        "file_taken_at": file_at,
        "fetched_at": taken_at or file_at if api is None else api["fetched_at"],
        "resource_state": SUMMARIZED if api is None else api["resource_state"],
    }
