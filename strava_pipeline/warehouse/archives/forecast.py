"""What the rows of an archive would change, before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.warehouse.activities.tombstones import gone_since
from strava_pipeline.warehouse.archives.rows import row_digest
from strava_pipeline.warehouse.schema.archive_tables import archive_imports, archive_rows
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.tables import activities


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Rows by what they would do.

    ``new``: activities that are not stored. ``merged``: activities that Strava's API tells of, of which the archive
    tells more. ``changed``: activities of which an earlier archive told something else; ``unchanged``: the same.
    ``gone``: activities that were deleted at Strava, and stay so.
    """

    new: int = 0
    merged: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(
            new=self.new + other.new,
            merged=self.merged + other.merged,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
            gone=self.gone + other.gone,
        )


def forecast(connection: Connection, rows: Sequence[ArchiveRow]) -> Forecast:
    """Return what these rows would change."""
    ids = [row.id for row in rows]
    told = select(activities.c.id, activities.c.told_by_api).where(any_of(activities.c.id, ids))
    by_api = {row.id: row.told_by_api for row in connection.execute(told)}
    digests = _newest_digests(connection, ids)
    # A listing that came after a deletion has taken the tombstone away.
    gone = gone_since(connection, ids).keys() - by_api.keys()
    found = Forecast(gone=len(gone))
    for row in rows:
        if row.id in gone:
            continue
        if row.id in digests:
            is_same = digests[row.id] == row_digest(row)
            found += Forecast(unchanged=is_same, changed=not is_same)
        else:
            found += Forecast(merged=by_api.get(row.id, False), new=row.id not in by_api)
    return found


def _newest_digests(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    query = (
        select(archive_rows.c.activity_id, archive_rows.c.digest)
        .join(archive_imports, archive_imports.c.id == archive_rows.c.import_id)
        .where(any_of(archive_rows.c.activity_id, ids))
        # Of several rows of an activity the newest comes last.
        .order_by(archive_imports.c.taken_at, archive_imports.c.content_hash.desc())
    )
    return {row.activity_id: row.digest for row in connection.execute(query)}
