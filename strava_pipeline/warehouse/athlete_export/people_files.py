"""The parts of an export that are for people: what it is, the connection, and every recorded activity as GPX."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import Any, Final

from sqlalchemy import Connection, select

from strava_pipeline.errors import NotFound
from strava_pipeline.warehouse.activities.stored_gpx import stored_gpx
from strava_pipeline.warehouse.athlete_export.export_files import ExportFiles
from strava_pipeline.warehouse.athlete_export.layout import ACCOUNT, LEFT_OUT, README, recording_file
from strava_pipeline.warehouse.schema.archive_tables import recording_bytes
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, activity_streams

# Of ops.users, what is no secret.
_TOLD: Final = (
    *("state", "scopes", "email", "email_given_at", "email_confirmed_at", "unsubscribed_at"),
    *("connected_at", "granted_at"),
)
_README: Final = """\
    Everything that strava-pipeline has stored of athlete {athlete_id}, as of {taken_at} (UTC).

    csv/      tables for spreadsheets. A text that a spreadsheet could take for a formula has an apostrophe in front.
    gpx/      recorded activities with positions, for maps and other programs.
    files/    recordings as they were handed in: FIT, TCX or GPX, compressed by gzip.
    parquet/  tables with every sample, for pandas, DuckDB and the like{no_parquet}.
    tables/   every table as JSON, one row a line, compressed by gzip; texts and numbers are exactly as stored.
    account.json   since when the athlete is connected, the permissions given, the address for mails.
    manifest.json  how many rows each table has, and the SHA-256 of each file.

    Units and meanings of all columns: docs/data-dictionary.md of strava-pipeline.
    It is personal data, with private notes and places: keep it like a diary.

    To bring it back into strava-pipeline: strava-pipeline athletes restore PATH

    Not in it:
"""


def write_account(connection: Connection, files: ExportFiles, athlete_id: int) -> None:
    """Write what is stored of an athlete's connection, but for secrets; an athlete who never connected has none."""
    found = connection.execute(select(*(users.c[name] for name in _TOLD)).where(users.c.athlete_id == athlete_id))
    row: Mapping[Any, Any] = found.mappings().first() or {}
    told = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
    files.write(ACCOUNT, json.dumps(told, indent=1).encode() + b"\n")


def write_readme(files: ExportFiles, athlete_id: int, taken_at: str, *, parquet: bool) -> None:
    """Write README.txt, which explains the rest."""
    lacking = "" if parquet else " (not in this one: pyarrow is not installed there)"
    text = dedent(_README).format(athlete_id=athlete_id, taken_at=taken_at, no_parquet=lacking)
    text += "".join(f"  {name}: {why}\n" for name, why in LEFT_OUT.items())
    files.write(README, text.encode())


def write_recordings(connection: Connection, files: ExportFiles, athlete_id: int) -> int:
    """Write the recordings that were handed in, as they came; returns how many."""
    _c = recording_bytes.c
    ids = connection.execute(
        select(_c.recording_id, _c.kind).where(_c.athlete_id == athlete_id).order_by(_c.recording_id)
    ).all()
    for recording_id, kind in ids:
        body = select(_c.body).where(_c.athlete_id == athlete_id, _c.recording_id == recording_id)
        files.write(recording_file(recording_id, kind), connection.execute(body).scalar_one())
    return len(ids)


def write_gpx(connection: Connection, files: ExportFiles, athlete_id: int, told: Callable[[int, int], None]) -> int:
    """Write each activity that has positions as GPX; returns how many. ``told`` gets how many of how many are done."""
    recorded = connection.execute(
        select(activities.c.id, activities.c.start_date)
        .join(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(activities.c.athlete_id == athlete_id, activity_streams.c.point_count > 0)
        .order_by(activities.c.start_date, activities.c.id)
    ).all()
    written = 0
    for number, (activity_id, start) in enumerate(recorded, 1):
        day = "" if start is None else f"{start:%Y-%m-%d}_"
        try:
            document = stored_gpx(connection, activity_id)
        except NotFound:  # without positions
            continue
        files.write(f"gpx/{day}{activity_id}.gpx", document.encode())
        written += 1
        told(number, len(recorded))
    return written
