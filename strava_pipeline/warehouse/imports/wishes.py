"""Wishes: imports that were asked for. Each is a row that stays, and is launched again until nothing lacks.

:mod:`strava_pipeline.warehouse.imports.lacking` tells what a wish still lacks, and
:mod:`strava_pipeline.warehouse.imports.launches` who works on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Text, and_, exists, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import UTC_TIME, any_of, database_time, has_come
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportState, ImportStep, ImportTask, MadeBy, PausedBy
from strava_pipeline.warehouse.tokens.grants import is_archive_only, shows_activities

_c = imports.c
# An import that waits for no longer than this wants the quota that is left.
SOON = timedelta(minutes=15)
# No import that is not paused rests longer.
LONGEST_REST = timedelta(days=2)
# The operator who asks for an import also ends its pause; nobody else does.
RESUMES = (MadeBy.OPERATOR, MadeBy.COMMAND)
# No person asks for these: they are paused as long as one that a person asked for is.
FOLLOWERS = (MadeBy.RUN, MadeBy.UPKEEP)

_RESUMED = {"paused_at": None, "paused_by": None, "next_at": database_time(), "attempts": 0, "error": None}


@dataclass(frozen=True)
class Import:
    """A wish: an athlete's months and the steps that are wanted of them; fields are the columns of ``ops.imports``.

    ``profile``: whether profile, totals, zones and gear are wanted as well. Without ``first_month`` a wish begins where
    the history begins; without ``last_month`` it is open and goes on.
    """

    id: int
    athlete_id: int
    first_month: date | None
    last_month: date | None
    steps: tuple[ImportStep, ...]
    profile: bool
    made_at: datetime
    made_by: MadeBy
    state: ImportState
    next_at: datetime
    launch_no: int
    launched_at: datetime | None
    run_id: str | None
    lease_until: datetime | None
    doing: ImportTask | None
    doing_first: date | None
    doing_last: date | None
    attempts: int
    runs: int
    error: str | None
    paused_at: datetime | None
    paused_by: PausedBy | None
    newest_at: datetime | None
    next_month: date | None
    whole_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether the import goes on for as long as the athlete is connected."""
        return self.last_month is None

    @property
    def begins_newest(self) -> bool:
        """Whether the newest month has yet to be imported, before everybody's older months."""
        return self.is_open and self.newest_at is None


def lock_imports(connection: Connection, athlete_id: int) -> None:
    """Let one transaction at a time make or change several imports of an athlete; it does this first.

    So two of them wait for no row of each other's, and a pause that is under way is seen by whoever asks for more.
    """
    acquire_for_athlete(connection, AthleteLock.IMPORTS, athlete_id)


def make_import(
    connection: Connection,
    athlete_id: int,
    first: date | None,
    last: date | None,
    steps: Iterable[ImportStep],
    *,
    profile: bool,
    by: MadeBy,
    asked_at: datetime | None = None,
) -> int:
    """Ask for an import of the months from ``first`` to ``last``, both included; return the wish's id.

    Without ``first`` it begins where the history begins; without ``last`` it goes on. A wish for these months that
    exists is asked for anew: it keeps its other steps, months are listed again, and it is due at once. If the
    operator asks, its pause ends. What a run or upkeep asks for is paused if any import of the athlete is. An athlete
    who connects gets the newest month first again. ``asked_at`` (UTC): months that were listed since are not listed
    again.
    """
    lock_imports(connection, athlete_id)
    paused_at, paused_by = _pause_to_share(connection, athlete_id) if by in FOLLOWERS else (None, None)
    made_at = database_time() if asked_at is None else literal(asked_at, UTC_TIME)
    wanted = [step for step in ImportStep if step in set(steps)]
    making = insert(imports).values(
        athlete_id=athlete_id,
        first_month=first,
        last_month=last,
        steps=wanted,
        profile=profile,
        made_at=made_at,
        made_by=by,
        state=ImportState.DUE,
        next_at=database_time(),
        paused_at=paused_at,
        paused_by=paused_by,
    )
    made = connection.execute(making.on_conflict_do_nothing().returning(_c.id)).scalar()
    if made is not None:
        if by in RESUMES:
            _resume_followers(connection, athlete_id)
        return int(made)
    same = (
        _c.athlete_id == athlete_id,
        _c.first_month.is_not_distinct_from(first),
        _c.last_month.is_not_distinct_from(last),
    )
    import_id, stored = connection.execute(select(_c.id, _c.steps).where(*same)).one()
    changes: dict[str, Any] = {
        "steps": [step for step in ImportStep if step in {*wanted, *stored}],
        "profile": _c.profile | profile,
        "made_at": func.greatest(_c.made_at, made_at),
        "next_at": database_time(),
        "attempts": 0,
        "error": None,
        "whole_at": None,
    }
    if by in RESUMES:
        changes |= {"paused_at": None, "paused_by": None}
    if by in FOLLOWERS:
        changes |= {
            "paused_at": func.coalesce(_c.paused_at, literal(paused_at, UTC_TIME)),
            "paused_by": func.coalesce(_c.paused_by, literal(paused_by, Text)),
        }
    else:
        changes |= {"made_by": by}
    if by is MadeBy.CONNECT:
        changes |= {"newest_at": None}
    connection.execute(update(imports).where(_c.id == import_id).values(changes))
    if by in RESUMES:
        _resume_followers(connection, athlete_id)
    return int(import_id)


def _pause_to_share(connection: Connection, athlete_id: int) -> tuple[datetime | None, PausedBy | None]:
    """Since when (UTC) and by whom an athlete's imports are paused, of several pauses the first; ``None``: not."""
    query = select(_c.paused_at, _c.paused_by).where(_c.athlete_id == athlete_id, _c.paused_at.is_not(None))
    row = connection.execute(query.order_by(_c.paused_at, _c.id).limit(1)).first()
    return (None, None) if row is None else (row.paused_at, PausedBy(row.paused_by))


def _resume_followers(connection: Connection, athlete_id: int) -> None:
    """End the pause of what runs and upkeep asked for, once nothing that a person asked for is paused.

    Nobody would resume it: the person who does so asks for the months of their own import.
    """
    others = imports.alias("others")
    is_paused_by_a_person = exists().where(
        others.c.athlete_id == athlete_id, others.c.paused_at.is_not(None), others.c.made_by.not_in(FOLLOWERS)
    )
    resuming = update(imports).where(
        _c.athlete_id == athlete_id, _c.made_by.in_(FOLLOWERS), _c.paused_at.is_not(None), ~is_paused_by_a_person
    )
    connection.execute(resuming.values(_RESUMED))


def ask_for_rest(
    connection: Connection, athlete_id: int, first: date, last: date, steps: Collection[ImportStep], asked_at: datetime
) -> bool:
    """Ask for what a run, begun at ``asked_at`` (UTC), left out of these months' steps when it failed.

    An import that has these months and steps looks again at once, or once its pause ends; without one, such an import
    is made. Returns whether it goes on by itself, and not only once its pause ends.
    ``NeedsReauthorization`` if the athlete has disconnected, or never connected: an import asks Strava.
    """
    refuse_rows_of_revoked(connection, [athlete_id])
    if is_archive_only(connection, athlete_id):
        raise NeedsReauthorization(f"athlete {athlete_id} never connected: nothing is imported from Strava")
    lock_imports(connection, athlete_id)
    looking = update(imports).where(
        _c.athlete_id == athlete_id,
        or_(_c.first_month.is_(None), _c.first_month <= first),
        or_(_c.last_month.is_(None), _c.last_month >= last),
        _c.steps.contains(list(steps)),
    )
    values = {"next_at": func.least(_c.next_at, database_time()), "attempts": 0}
    pauses = connection.execute(looking.values(values).returning(_c.paused_at)).scalars().all()
    if pauses:
        return None in pauses
    by = MadeBy.RUN
    import_id = make_import(connection, athlete_id, first, last, steps, profile=False, by=by, asked_at=asked_at)
    return not is_paused(connection, import_id)


def pause(connection: Connection, athlete_id: int, by: PausedBy) -> int:
    """Pause all imports of an athlete that are not paused; runs at work end soon. Returns how many there were."""
    lock_imports(connection, athlete_id)
    pausing = update(imports).where(_c.athlete_id == athlete_id, _c.paused_at.is_(None))
    return connection.execute(pausing.values(paused_at=database_time(), paused_by=by)).rowcount


def pause_one(connection: Connection, athlete_id: int, import_id: int, by: PausedBy) -> None:
    """Pause one import of an athlete, and what runs and upkeep have asked for, where it is not paused."""
    lock_imports(connection, athlete_id)
    chosen = and_(_c.athlete_id == athlete_id, or_(_c.id == import_id, _c.made_by.in_(FOLLOWERS)))
    pausing = update(imports).where(chosen, _c.paused_at.is_(None))
    connection.execute(pausing.values(paused_at=database_time(), paused_by=by))


def is_paused(connection: Connection, import_id: int) -> bool:
    """Whether an import is paused."""
    paused = connection.execute(select(_c.paused_at.is_not(None)).where(_c.id == import_id)).scalar()
    return bool(paused)


def resume(connection: Connection, athlete_id: int) -> int:
    """End the pause of all imports of an athlete; they are due at once. Returns how many were paused."""
    lock_imports(connection, athlete_id)
    resuming = update(imports).where(_c.athlete_id == athlete_id, _c.paused_at.is_not(None))
    return connection.execute(resuming.values(_RESUMED)).rowcount


def poke(connection: Connection, athlete_id: int) -> None:
    """Let an athlete's imports look at once what they lack: something has changed."""
    lock_imports(connection, athlete_id)
    connection.execute(
        update(imports)
        .where(_c.athlete_id == athlete_id)
        .values(next_at=func.least(_c.next_at, database_time()), attempts=0)
    )


def any_wants_quota(connection: Connection) -> bool:
    """Whether an import is at work, or is due soon because something lacks that its athlete still shows."""
    may_run = exists().where(users.c.athlete_id == _c.athlete_id, shows_activities())
    soon = and_(
        _c.whole_at.is_(None),
        _c.paused_at.is_(None),
        has_come(_c.next_at, database_time() + SOON, LONGEST_REST),
        may_run,
    )
    query = select(_c.id).where(or_(_c.state != ImportState.DUE, soon)).limit(1)
    return connection.execute(query).first() is not None


def list_imports(connection: Connection, athlete_ids: Collection[int] | None = None) -> list[Import]:
    """Return the imports of these athletes, or of all, by athlete; an athlete's open import comes first."""
    query = select(imports).order_by(_c.athlete_id, _c.last_month.desc().nulls_first(), _c.first_month, _c.id)
    if athlete_ids is not None:
        query = query.where(any_of(_c.athlete_id, athlete_ids))
    return [import_of(row) for row in connection.execute(query).mappings()]


def import_of(row: RowMapping) -> Import:
    """Return the wish of a row of ``ops.imports``."""
    values = dict(row)
    values["steps"] = tuple(map(ImportStep, values["steps"]))
    for name, kind in (("made_by", MadeBy), ("state", ImportState), ("doing", ImportTask), ("paused_by", PausedBy)):
        values[name] = None if values[name] is None else kind(values[name])
    return Import(**values)
