"""The profile of an athlete by all that tells of it: what Strava's API tells, then the archive that was taken last.

What each archive tells stays with its import, under ``TOLD`` of its options; ``FILLED`` there names what of that the
table has, because the API tells nothing. So the order in which they came does not matter, and an import can be undone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import ArchiveState

TOLD: Final = "athlete"
FILLED: Final = "filled"
# When Strava was asked for what an archive tells: any answer of the API is newer.
NEVER_ASKED: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Columns of ``athletes`` that archives tell.
FILLABLE: Final = (
    "firstname", "lastname", "bio", "sex", "city", "state", "country", "weight", "measurement_preference", "ftp",
)  # fmt: skip
_i, _a = archive_imports.c, athletes.c


def lock_profile(connection: Connection, athlete_id: int) -> None:
    """Lock an athlete's profile. Whoever writes imports of archives as well calls this first."""
    connection.execute(select(_a.id).where(_a.id == athlete_id).with_for_update())


def settle_profile(connection: Connection, athlete_id: int, told_by_api: Collection[str] = ()) -> None:
    """Make the profile what the API and archives tell; ``told_by_api``: columns that the API has told just now."""
    theirs = select(_i.id, _i.state, _i.options).where(_i.athlete_id == athlete_id)
    if not any(TOLD in row.options or FILLED in row.options for row in connection.execute(theirs)):
        return  # without waiting for an import that is at work
    imports = connection.execute(theirs.order_by(_i.taken_at, _i.content_hash, _i.id).with_for_update()).all()
    stored = connection.execute(select(athletes).where(_a.id == athlete_id).with_for_update()).mappings().first()
    if stored is None:
        return
    # Of several archives that tell something the last one counts.
    told = {
        name: (row.id, value)
        for row in imports
        if row.state != ArchiveState.UNDONE
        for name, value in row.options.get(TOLD, {}).items()
        if name in FILLABLE
    }
    filled = {name for row in imports for name in row.options.get(FILLED, ())} - set(told_by_api)
    is_asked = stored["fetched_at"] != NEVER_ASKED
    by_api = {name for name in FILLABLE if is_asked and stored[name] is not None and name not in filled}
    values = {name: told.get(name, (None, None))[1] for name in FILLABLE if name not in by_api}
    if any(stored[name] != value for name, value in values.items()):
        connection.execute(update(athletes).where(_a.id == athlete_id).values(values))
    beside_api = {name: number for name, (number, _) in told.items() if name not in by_api}
    for row in imports:
        names = sorted(name for name, number in beside_api.items() if number == row.id)
        _note_filled(connection, row.id, row.options, names)


def _note_filled(connection: Connection, import_id: int, options: Mapping[str, Any], names: list[str]) -> None:
    if options.get(FILLED, []) == names:
        return
    kept = {name: value for name, value in options.items() if name != FILLED}
    noted = kept | ({FILLED: names} if names else {})
    connection.execute(update(archive_imports).where(_i.id == import_id).values(options=noted))
