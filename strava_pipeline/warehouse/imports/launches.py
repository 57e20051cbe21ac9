"""Decides who works on an import: launches are numbered, and a run with an older number than the row's does nothing.

::

    due --claim_launch--> launched --begin--> running --end--> due
    launched or running, its lease over: look_after asks Dagster; a lost run's import is due again

The row's lock decides, when a launch is claimed and again when its run begins. So bridges and schedules may launch at
once, and a launch that comes twice or late does no harm. Whoever holds an import's row waits for no other one, unless
they have taken the athlete's lock first (:func:`.wishes.lock_imports`). So there are no deadlocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
    true,
    update,
)

from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.imports.lacking import Lacking, lacking
from strava_pipeline.warehouse.imports.wishes import LONGEST_REST, Import, import_of, pause_one
from strava_pipeline.warehouse.restored import are_calls_held
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activity_streams
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportState, ImportTask, PausedBy, PayloadKind
from strava_pipeline.warehouse.tokens.grants import shows_activities

# A launched run may wait in Dagster's queue: look_after asks Dagster and extends its lease. A run at work extends it.
LEASE = timedelta(seconds=60)
# A queue of ours stays short, so that the order of imports is decided late.
MOST_UNDER_WAY = 4
# Of many runs at once, these are for all that is no import.
FOR_OTHER_RUNS = 6
# After a run without progress, doubled after each further one.
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=6)
# A whole import is looked at so often: activities may lack something anew.
LOOK_AGAIN = timedelta(days=1)
# A look takes up to 0.1 s. With many athletes, one transaction must not hold the rows of all.
LOOKS = 25
_c = imports.c


class Fate(Enum):
    """What Dagster knows of a launched run."""

    TO_COME = auto()
    AT_WORK = auto()
    CANCELED = auto()
    ENDED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Launch:
    """One launch of an athlete's import: ``begins_newest`` if the newest month comes first, in a job of its own."""

    import_id: int
    launch_no: int
    athlete_id: int
    begins_newest: bool = False


def most_under_way(runs_at_once: int | None) -> int:
    """Return how many imports of one kind may be under way, where Dagster has so many runs at once (``None``: few)."""
    return max(MOST_UNDER_WAY, (runs_at_once or 0) - FOR_OTHER_RUNS)


def claim_launch(
    connection: Connection,
    floor: date,
    *,
    newest: bool | None = None,
    most: int = MOST_UNDER_WAY,
    archive_details: bool = False,
) -> Launch | None:
    """Take the import that is to be launched next, and number the launch; ``None`` if none is due or has room.

    Imports that turn out to lack nothing rest; after ``LOOKS`` of them the next call goes on. Months before ``floor``
    are never imported. ``newest``: consider only imports that begin with the newest month (``True``) or that do not
    (``False``). ``most``: so many of one kind may be under way. ``archive_details``: as of :func:`.lacking`. Imports
    are passed over whose athlete must connect again, has disconnected, or shows no activities; all of them while a
    restored database is not checked.
    """
    if are_calls_held(connection):
        return None
    for _ in range(LOOKS):
        row = connection.execute(_next_due(newest, most)).mappings().first()
        if row is None:
            return None
        wish, moment = import_of(row), now(connection)
        wish = _asked_by_now(connection, wish, moment)
        lack = lacking(connection, wish, floor, moment, archive_details=archive_details)
        if not lack.nothing or wish.begins_newest:
            return _launched(connection, wish, lack, moment)
        connection.execute(update(imports).where(_c.id == wish.id).values(at_rest(lack, moment)))
    return None


def _asked_by_now(connection: Connection, wish: Import, moment: datetime) -> Import:
    """Let a wish count as of now that was asked for before the clock was set back: no listing would be newer."""
    if wish.made_at <= moment:
        return wish
    connection.execute(update(imports).where(_c.id == wish.id).values(made_at=moment))
    return replace(wish, made_at=moment)


def _launched(connection: Connection, wish: Import, lack: Lacking, moment: datetime) -> Launch:
    launch = Launch(wish.id, wish.launch_no + 1, wish.athlete_id, wish.begins_newest)
    values = {
        "state": ImportState.LAUNCHED,
        "launch_no": launch.launch_no,
        "launched_at": moment,
        "lease_until": moment + LEASE,
        "run_id": None,
        "doing": ImportTask.NEWEST_MONTH if wish.begins_newest else None,
        "doing_first": None,
        "doing_last": None,
        "next_month": lack.next_month,
    }
    connection.execute(update(imports).where(_c.id == wish.id).values(values))
    return launch


def _next_due(newest: bool | None, most: int) -> Select[Any]:
    """Select and lock the import that is to be launched next; one that another process looks at is passed over."""
    begins_newest = _c.newest_at.is_(None) & _c.last_month.is_(None)
    under_way = imports.alias("under_way")
    at_newest = under_way.c.doing.is_not_distinct_from(ImportTask.NEWEST_MONTH)
    of_this_kind = select(func.count()).where(under_way.c.state != ImportState.DUE, at_newest == begins_newest)
    return (
        select(imports)
        .join(users, users.c.athlete_id == _c.athlete_id)
        .where(
            _c.state == ImportState.DUE,
            _c.paused_at.is_(None),
            has_come(_c.next_at, database_time(), LONGEST_REST),
            shows_activities(),
            of_this_kind.correlate(imports).scalar_subquery() < most,
            true() if newest is None else begins_newest == newest,
        )
        .order_by(begins_newest.desc(), _c.next_month.desc().nulls_first(), _c.launched_at.nulls_first(), _c.id)
        .limit(1)
        .with_for_update(of=imports, skip_locked=True)
    )


def record_run(engine: Engine, launch: Launch, run_id: str) -> None:
    """Store which Dagster run a launch became."""
    with autocommit(engine) as connection:
        connection.execute(update(imports).where(is_launch(launch)).values(run_id=run_id))


def release(engine: Engine, launch: Launch, wait: timedelta) -> None:
    """Let an import that Dagster did not launch be due again after ``wait``; the launch is not counted."""
    with autocommit(engine) as connection:
        connection.execute(
            update(imports)
            .where(is_launch(launch), _c.state == ImportState.LAUNCHED)
            .values(state=ImportState.DUE, lease_until=None, next_at=database_time() + wait)
        )


def look_after(engine: Engine, fate_of: Callable[[Launch], Fate]) -> None:
    """Ask for the fate of launched runs whose lease is over, and let imports whose run is lost be due again.

    A run that somebody canceled pauses its import. One that is lost counts as a run without progress, unless it has
    stored details or samples: then the import is due at once. An error of ``fate_of`` leaves the rest as it is.
    """
    over = (_c.state != ImportState.DUE, has_come(_c.lease_until, database_time(), LEASE))
    with autocommit(engine) as connection:
        found = [import_of(row) for row in connection.execute(select(imports).where(*over)).mappings()]
    for wish in found:
        launch = Launch(wish.id, wish.launch_no, wish.athlete_id)
        fate = fate_of(launch)
        with engine.begin() as connection:
            if fate is Fate.CANCELED and _is_still(connection, launch, over):
                pause_one(connection, wish.athlete_id, wish.id, PausedBy.CANCEL)
            changing = update(imports).where(is_launch(launch), *over)
            connection.execute(changing.values(_after(connection, wish, fate)))


def _is_still(connection: Connection, launch: Launch, over: Sequence[ColumnElement[bool]]) -> bool:
    """Whether a launch is still the import's newest, and its lease over."""
    return connection.execute(select(_c.id).where(is_launch(launch), *over)).first() is not None


def _has_stored(connection: Connection, wish: Import) -> bool:
    """Whether details or samples of the athlete were stored since the import was launched."""
    details = exists().where(
        payloads.c.athlete_id == wish.athlete_id,
        payloads.c.kind == PayloadKind.DETAIL,
        payloads.c.fetched_at >= wish.launched_at,
    )
    samples = exists().where(
        activity_streams.c.athlete_id == wish.athlete_id, activity_streams.c.fetched_at >= wish.launched_at
    )
    return bool(connection.execute(select(or_(details, samples))).scalar())


def _after(connection: Connection, wish: Import, fate: Fate) -> dict[str, object]:
    """The changes to an import whose lease is over; the pause after a cancel comes beside them."""
    if fate is Fate.TO_COME or (fate is Fate.AT_WORK and wish.state is ImportState.LAUNCHED):
        return {"lease_until": database_time() + LEASE}
    again: dict[str, object] = {"state": ImportState.DUE, "lease_until": None}
    if fate is Fate.CANCELED:
        return again
    if fate is Fate.UNKNOWN and wish.state is ImportState.LAUNCHED:
        return again
    attempts = 0 if _has_stored(connection, wish) else wish.attempts + 1
    return again | {
        "attempts": attempts,
        "runs": wish.runs + 1,
        "error": "its run ended without a word",
        "next_at": database_time() + (pause_after(attempts) if attempts else timedelta(0)),
    }


def is_launch(launch: Launch) -> ColumnElement[bool]:
    """Select the import of a launch, unless it has a newer one."""
    return and_(_c.id == launch.import_id, _c.launch_no == launch.launch_no)


def at_rest(lack: Lacking, moment: datetime) -> dict[str, object]:
    """The columns of an import that no run works on, and that lacks nothing that is due."""
    is_whole = lack.nothing and not lack.failed
    return {
        "state": ImportState.DUE,
        "lease_until": None,
        "next_month": lack.next_month,
        "attempts": 0,
        "error": None,
        "whole_at": moment if is_whole else None,
        "next_at": min(filter(None, (moment + LOOK_AGAIN, lack.next_at))),
    }


def pause_after(attempts: int) -> timedelta:
    """Return the pause after so many runs in a row without progress."""
    return min(FIRST_PAUSE * 2.0 ** min(attempts - 1, 10), LONGEST_PAUSE)
