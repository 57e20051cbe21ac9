"""Keeps rows of archives as they came; :mod:`.merging` derives the tables of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select, union_all

from strava_pipeline.errors import ActivityOfAnother
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.row_json import row_to_json
from strava_pipeline.warehouse.bulk import store_plainly
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_rows
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities


def refuse_ids_of_others(connection: Connection, athlete_id: int, activity_ids: Collection[int]) -> None:
    """Raise ``ActivityOfAnother`` if one of the activities is stored for somebody else."""
    named = union_all(
        *(
            select(key, table.c.athlete_id).where(any_of(key, activity_ids), table.c.athlete_id != athlete_id)
            for table, key in (
                (activities, activities.c.id),
                (archive_rows, archive_rows.c.activity_id),
                (payloads, payloads.c.activity_id),
            )
        )
    )
    found = connection.execute(named.limit(1)).first()
    if found is not None:
        raise ActivityOfAnother(
            f"activity {found[0]} belongs to another athlete than {athlete_id}: nothing of this archive is stored;"
            " check whose archive it is"
        )


def store_rows(connection: Connection, import_id: int, athlete_id: int, rows: Sequence[ArchiveRow]) -> None:
    """Keep rows of an archive import; rows that it has already are replaced. Call :func:`.merging.merge` afterwards.

    ``ActivityOfAnother`` if one of the activities is stored for somebody else, ``NeedsReauthorization`` if the athlete
    has disconnected; nothing is stored then.
    """
    lock_activities(connection, athlete_id)
    refuse_rows_of_revoked(connection, [athlete_id])
    # Another athlete's archive may tell of the same activities just now: who commits first has them.
    acquire(connection, Lock.OWNERS)
    refuse_ids_of_others(connection, athlete_id, [row.id for row in rows])
    store_plainly(connection, archive_rows, [_kept(import_id, athlete_id, row) for row in rows])


def row_digest(row: ArchiveRow) -> str:
    """Return the digest of a row, by which two archives are compared."""
    return _digest(_body(row))


def _body(row: ArchiveRow) -> str:
    return json.dumps(row_to_json(row), sort_keys=True)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def _kept(import_id: int, athlete_id: int, row: ArchiveRow) -> dict[str, object]:
    body = _body(row)
    return {
        "import_id": import_id,
        "activity_id": row.id,
        "athlete_id": athlete_id,
        "body": body,
        "digest": _digest(body),
        "unknown_word": row.sport_word if row.sport is None else None,
    }
