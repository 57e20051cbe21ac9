"""Bikes and shoes as archives list them: they fill table ``gear`` where Strava's API has told nothing of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import Connection, text, update

from strava_pipeline.files.archive.gear import Gear
from strava_pipeline.warehouse.athletes.told_profiles import NEVER_ASKED
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_imports

# What the newest archive lists of each piece; what none lists any more goes, unless the API told it.
_LISTED = """
WITH listed AS (
    SELECT DISTINCT ON (piece.key) piece.key AS id, piece.value->>'name' AS name, piece.value->>'brand' AS brand,
        piece.value->>'model' AS model
    FROM ops.archive_imports AS i CROSS JOIN LATERAL json_each(i.gear) AS piece
    WHERE i.athlete_id = :athlete_id AND i.state <> 'undone' AND i.gear IS NOT NULL
    ORDER BY piece.key, i.taken_at DESC, i.content_hash
)
"""
_FILLING = text(
    f"""{_LISTED} INSERT INTO strava.gear AS g (id, athlete_id, name, brand_name, model_name, fetched_at)
SELECT id, :athlete_id, name, brand, model, :never FROM listed ORDER BY id
ON CONFLICT (id) DO UPDATE SET name = excluded.name, brand_name = excluded.brand_name, model_name = excluded.model_name
WHERE g.fetched_at = :never AND g.athlete_id = excluded.athlete_id"""  # noqa: S608  constants
)
_EMPTYING = text(
    f"""{_LISTED} DELETE FROM strava.gear AS g
WHERE g.athlete_id = :athlete_id AND g.fetched_at = :never AND g.id NOT IN (SELECT id FROM listed)"""  # noqa: S608  constants
)


def store_listed_gear(connection: Connection, import_id: int, athlete_id: int, listed: Mapping[str, Gear]) -> None:
    """Keep the bikes and shoes that an archive lists, by Strava's id, and fill table ``gear``.

    ``NeedsReauthorization`` if the athlete has disconnected.
    """
    refuse_rows_of_revoked(connection, [athlete_id])
    kept = {piece: asdict(each) for piece, each in listed.items()}
    connection.execute(update(archive_imports).where(archive_imports.c.id == import_id).values(gear=kept))
    settle_gear(connection, athlete_id)


def settle_gear(connection: Connection, athlete_id: int) -> None:
    """Make the gear of an athlete what archives and the API tell."""
    given = {"athlete_id": athlete_id, "never": NEVER_ASKED}
    connection.execute(_FILLING, given)
    connection.execute(_EMPTYING, given)
