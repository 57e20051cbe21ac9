"""The list of upkeep: what is compared with Strava again and again, for whom, and when it is due.

The most overdue task goes first, and goes to the back of the queue once it is done. So with more athletes than the
quota can serve, all are served equally late. A task under way is leased. If its worker dies, it is due again when the
lease ends; each task may be done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Text,
    Update,
    all_,
    and_,
    any_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.pauses import REAL_PAUSES, Pauses
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time, has_come
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline.warehouse.schema.tables import activities, gear
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import GrantState, UpkeepKind
from strava_pipeline.warehouse.tokens.grants import shows_activities

LEASE = timedelta(seconds=60)
# Several times within a lease, so that one failed heartbeat does no harm.
BEAT_SECONDS = LEASE.total_seconds() / 4
# The pause after a failure doubles with each one, up to the task's period.
FIRST_PAUSE = timedelta(minutes=10)
LASTING_PAUSE = timedelta(days=1)
# From one time to the next; that of the last days is a setting.
HISTORY_EVERY = timedelta(days=30)
PROFILE_EVERY = timedelta(days=1)
GEAR_EVERY = timedelta(days=30)
LOADS_EVERY = timedelta(days=1)
# No task rests longer, and no turn of a detail comes later.
LONGEST_REST = max(HISTORY_EVERY, PROFILE_EVERY, GEAR_EVERY, LASTING_PAUSE)
LONGEST_TURN = timedelta(days=1)
# A task that is given back comes again after so long at the earliest.
SOONEST_AGAIN = timedelta(minutes=1)
# A task that failed so often in a row is told of.
OFTEN = 3
# Details that nobody fetched anew in this time are caught up with, in one run.
CATCH_UP = timedelta(hours=1)
# The athlete of a task that is about all of them, and its kinds.
OF_ALL = 0
KINDS_OF_ALL = (UpkeepKind.DETAILS, UpkeepKind.LOADS)
# A new athlete's newest month is waited for at most so long.
NEW_FOR = timedelta(hours=6)
# Requests that a task is taken to need until it was done once.
FIRST_REQUESTS = {UpkeepKind.PROFILE: 3}
_c = upkeep.c
# Columns of a task that is put on the list.
_NEW = ("athlete_id", "kind", "subject", "due_at", "failures", "takes")


@dataclass(frozen=True)
class Periods:
    """How long after a task was done it is due again; ``recent``: that of the listings of the last days."""

    recent: timedelta

    @classmethod
    def from_settings(cls, settings: Settings) -> Periods:
        return cls(recent=timedelta(hours=settings.upkeep_recent_hours))

    def of(self, kind: UpkeepKind) -> timedelta:
        """The period of the tasks of one kind."""
        return {
            UpkeepKind.RECENT: self.recent,
            UpkeepKind.HISTORY: HISTORY_EVERY,
            UpkeepKind.PROFILE: PROFILE_EVERY,
            UpkeepKind.GEAR: GEAR_EVERY,
        }[kind]


@dataclass(frozen=True)
class UpkeepTask:
    """A task that is due, taken by this worker for the ``take``-th time; ``subject``: the id of gear, else empty."""

    athlete_id: int
    kind: UpkeepKind
    subject: str
    due_at: datetime
    failures: int
    take: int


@dataclass(frozen=True)
class Lag:
    """How far upkeep is behind: since when (UTC) the oldest task is due, how many are, and how many fail repeatedly.

    ``due_since``: ``None`` if nothing is due. ``requests_a_day``: how many all connected ``athletes`` need;
    ``recent_a_day``: how many of these list the last days.
    """

    due_since: datetime | None = None
    due: int = 0
    failing: int = 0
    athletes: int = 0
    requests_a_day: float = 0.0
    recent_a_day: float = 0.0


def add_missing(connection: Connection, kept: Kept = EVERYTHING) -> None:
    """Put the tasks of athletes who have connected since the last time on the list, and take off what is not ``kept``.

    They are due now; the comparison of a history is due 30 days after an import has first listed some of it, or
    since a webhook brought the first activity. What is taken off is late for nobody who reads the list.
    """
    if left_out := set(UpkeepKind) - kept.upkeep:
        connection.execute(delete(upkeep).where(_c.kind.in_(left_out)))
    listed = (
        select(func.min(import_months.c.listed_at))
        .where(import_months.c.athlete_id == users.c.athlete_id)
        .scalar_subquery()
    )
    stored = (
        select(func.min(activities.c.fetched_at)).where(activities.c.athlete_id == users.c.athlete_id).scalar_subquery()
    )
    first_due = {
        UpkeepKind.RECENT: database_time(),
        UpkeepKind.PROFILE: database_time(),
        UpkeepKind.HISTORY: func.coalesce(listed, stored) + HISTORY_EVERY,
    }
    for kind, due_at in first_due.items():
        if kind not in kept.upkeep:
            continue
        known = exists().where(_c.athlete_id == users.c.athlete_id, _c.kind == kind)
        # An erasure under way holds the athlete's row: nothing is added to what it deletes.
        missing = (
            select(users.c.athlete_id, literal(kind.value), literal(""), due_at, literal(0), literal(0))
            .where(users.c.state == GrantState.ACTIVE, ~known, due_at.is_not(None))
            .with_for_update(read=True, of=users, skip_locked=True)
        )
        connection.execute(insert_or_skip(upkeep).from_select(_NEW, missing).on_conflict_do_nothing())


def list_gear(connection: Connection, athlete_id: int, on_profile: Collection[str]) -> None:
    """Put an athlete's gear on the list that the profile does not list (any more), due now; take off what it lists.

    The caller's transaction has stored the profile.
    """
    named = select(activities.c.gear_id.label("id")).where(activities.c.athlete_id == athlete_id)
    stored = select(gear.c.id).where(gear.c.athlete_id == athlete_id)
    every = named.union(stored).subquery("every")
    listed = literal(list(on_profile), ARRAY(Text))
    values = (literal(athlete_id), literal(UpkeepKind.GEAR.value), every.c.id, database_time(), literal(0), literal(0))
    missing = select(*values).where(every.c.id.is_not(None), every.c.id != all_(listed))
    connection.execute(insert_or_skip(upkeep).from_select(_NEW, missing).on_conflict_do_nothing())
    theirs = (_c.athlete_id == athlete_id, _c.kind == UpkeepKind.GEAR)
    connection.execute(delete(upkeep).where(*theirs, _c.subject == any_(listed)))


def is_due(connection: Connection) -> bool:
    """Whether there is a task to take."""
    return connection.execute(select(_c.athlete_id).where(_may_be_taken()).limit(1)).first() is not None


def take_due(connection: Connection) -> UpkeepTask | None:
    """Take the most overdue task, under a lease; ``None`` if nothing is due, or other workers are at all that is.

    Tasks of athletes who are not connected stay on the list.
    """
    first = (
        select(_c.athlete_id, _c.kind, _c.subject)
        .where(_may_be_taken())
        .order_by(_c.due_at, _c.athlete_id, _c.kind, _c.subject)
        .limit(1)
        .with_for_update(of=upkeep, skip_locked=True)
        .cte("first")
    )
    taken = connection.execute(
        update(upkeep)
        .where(_c.athlete_id == first.c.athlete_id, _c.kind == first.c.kind, _c.subject == first.c.subject)
        .values(takes=_c.takes + 1, lease_until=database_time() + LEASE)
        .returning(_c.athlete_id, _c.kind, _c.subject, _c.due_at, _c.failures, _c.takes)
    ).first()
    if taken is None:
        return None
    athlete_id, kind, subject, due_at, failures, take = taken
    return UpkeepTask(athlete_id, UpkeepKind(kind), subject, due_at, failures, take)


@contextmanager
def kept(engine: Engine, task: UpkeepTask, pauses: Pauses = REAL_PAUSES) -> Iterator[None]:
    """Extend a task's lease during the block."""
    with pauses.heartbeat(partial(_extend, engine, task), BEAT_SECONDS):
        yield


def done(connection: Connection, task: UpkeepTask, *, after: timedelta, requests: int) -> None:
    """Note that a task was done with so many requests; it is due again ``after`` this time."""
    moment = database_time()
    connection.execute(
        _of(task).values(
            due_at=moment + after, done_at=moment, requests=requests, failures=0, error=None, lease_until=None
        )
    )


def failed(connection: Connection, task: UpkeepTask, reason: str, *, at_most: timedelta, lasts: bool = False) -> None:
    """Note why a task failed; it is due again after 10 min, and twice as long after each failure, up to ``at_most``.

    An error that ``lasts`` until the athlete does something is tried again after a day.
    """
    pause = LASTING_PAUSE if lasts else min(at_most, FIRST_PAUSE * 2 ** min(task.failures, 16))
    connection.execute(
        _of(task).values(
            due_at=database_time() + pause, failures=_c.failures + 1, error=printable(reason), lease_until=None
        )
    )


def put_back(connection: Connection, task: UpkeepTask) -> None:
    """Give a task back that could not be done now; it keeps its place on the list."""
    connection.execute(_of(task).values(lease_until=None))


def put_off(connection: Connection, task: UpkeepTask, until: datetime) -> None:
    """Give a task back that cannot be done before ``until`` (database's clock), which is no failure.

    It comes in a minute at the earliest, lest the run that gives it back takes it up again and again.
    """
    at = func.greatest(literal(until, UTC_TIME), database_time() + SOONEST_AGAIN)
    connection.execute(_of(task).values(due_at=at, lease_until=None))


def take_detail(connection: Connection, per_day: int) -> bool:
    """Take the turn of one detail that is to be fetched anew; return whether its turn has come.

    The turns are spread evenly over the day. Turns of the last hour that nobody took are caught up with.
    """
    ours = (_c.athlete_id == OF_ALL, _c.kind == UpkeepKind.DETAILS)
    values = {"athlete_id": OF_ALL, "kind": UpkeepKind.DETAILS, "subject": "", "failures": 0, "takes": 0}
    connection.execute(insert_or_skip(upkeep).values(**values, due_at=database_time()).on_conflict_do_nothing())
    moment = database_time()
    last_turn = func.greatest(func.least(_c.due_at, moment), moment - CATCH_UP)
    next_turn = last_turn + LONGEST_TURN / per_day
    taking = (
        update(upkeep)
        .where(*ours, has_come(_c.due_at, moment, LONGEST_TURN))
        .values(due_at=next_turn, takes=_c.takes + 1)
    )
    return connection.execute(taking).rowcount > 0


def details_are_due(connection: Connection) -> bool:
    """Whether so many turns of details have come that a run is worth it."""
    have_come = has_come(_c.due_at, database_time() - CATCH_UP, CATCH_UP + LONGEST_TURN)
    ours = select(have_come).where(_c.athlete_id == OF_ALL, _c.kind == UpkeepKind.DETAILS)
    return connection.execute(ours).scalar() is not False


def loads_are_due(connection: Connection) -> bool:
    """Whether everybody's training loads are to be compared with their figures."""
    is_due = has_come(_c.due_at, database_time(), LOADS_EVERY)
    ours = select(is_due).where(_c.athlete_id == OF_ALL, _c.kind == UpkeepKind.LOADS)
    return connection.execute(ours).scalar() is not False


def note_loads(connection: Connection) -> None:
    """Note that everybody's training loads equal their figures; they are due again after a day."""
    moment = database_time()
    told = {"due_at": moment + LOADS_EVERY, "done_at": moment}
    values = {"athlete_id": OF_ALL, "kind": UpkeepKind.LOADS, "subject": "", "failures": 0, "takes": 0}
    row = insert_or_skip(upkeep).values(**values, **told)
    connection.execute(row.on_conflict_do_update(index_elements=[_c.athlete_id, _c.kind, _c.subject], set_=told))


def note_done_elsewhere(
    connection: Connection, athlete_id: int, kind: UpkeepKind, subject: str = "", *, after: timedelta
) -> None:
    """Note that a task was done just now outside upkeep, for instance by an import; it is due again ``after`` that.

    A worker that is at the task goes on.
    """
    refuse_rows_of_revoked(connection, [athlete_id])
    moment = database_time()
    values = {"due_at": moment + after, "done_at": moment, "failures": 0, "error": None}
    row = insert_or_skip(upkeep).values(athlete_id=athlete_id, kind=kind, subject=subject, takes=0, **values)
    connection.execute(row.on_conflict_do_update(index_elements=[_c.athlete_id, _c.kind, _c.subject], set_=values))


def lag(connection: Connection, periods: Periods) -> Lag:
    """Return how far upkeep is behind, and how many requests a day all athletes need; tasks that rest are left out."""
    moment = database_time()
    overdue = has_come(_c.due_at, moment, LONGEST_REST)
    a_day = _requests_a_day(periods)
    row = connection.execute(
        select(
            func.min(func.least(_c.due_at, moment)).filter(overdue),
            func.count().filter(overdue),
            func.count().filter(_c.failures >= OFTEN),
            func.count(_c.athlete_id.distinct()),
            func.coalesce(func.sum(sum(a_day.values(), start=literal(0.0))), 0.0),
            func.coalesce(func.sum(a_day[UpkeepKind.RECENT]), 0.0),
        ).where(_c.kind.not_in(KINDS_OF_ALL), _is_wanted())
    ).one()
    return Lag(*row)


def needs(connection: Connection, periods: Periods) -> dict[int, float]:
    """Return how many requests a day each athlete needs whose tasks do not all rest."""
    a_day = func.sum(sum(_requests_a_day(periods).values(), start=literal(0.0)))
    query = select(_c.athlete_id, a_day).where(_c.kind.not_in(KINDS_OF_ALL), _is_wanted()).group_by(_c.athlete_id)
    return {athlete_id: float(need) for athlete_id, need in connection.execute(query)}


def _requests_a_day(periods: Periods) -> dict[UpkeepKind, ColumnElement[float]]:
    return {
        kind: case((_c.kind == kind, timedelta(days=1) / periods.of(kind) * _requests(kind)), else_=0.0)
        for kind in UpkeepKind
        if kind not in KINDS_OF_ALL
    }


def _requests(kind: UpkeepKind) -> ColumnElement[int]:
    return func.coalesce(_c.requests, FIRST_REQUESTS.get(kind, 1))


def _may_be_taken() -> ColumnElement[bool]:
    moment = database_time()
    is_free = or_(_c.lease_until.is_(None), has_come(_c.lease_until, moment, LEASE))
    return and_(has_come(_c.due_at, moment, LONGEST_REST), is_free, _is_wanted())


def _is_wanted() -> ColumnElement[bool]:
    """A task is of use: its athlete is connected.

    Activities are compared only of an athlete who shows some, and not while a new one's newest month is about to be
    imported: all of its activities would be differences. An import that is paused, or comes too late, is not waited
    for.
    """
    shows_some = exists().where(users.c.athlete_id == _c.athlete_id, shows_activities())
    is_new = exists().where(
        imports.c.athlete_id == _c.athlete_id,
        imports.c.last_month.is_(None),
        imports.c.newest_at.is_(None),
        imports.c.paused_at.is_(None),
        imports.c.made_at > database_time() - NEW_FOR,
    )
    compares = _c.kind.in_((UpkeepKind.RECENT, UpkeepKind.HISTORY))
    return and_(_is_connected(), or_(~compares, and_(shows_some, ~is_new)))


def _is_connected() -> ColumnElement[bool]:
    return exists().where(users.c.athlete_id == _c.athlete_id, users.c.state == GrantState.ACTIVE)


def _extend(engine: Engine, task: UpkeepTask) -> None:
    with autocommit(engine) as connection:
        connection.execute(_of(task).values(lease_until=database_time() + LEASE))


def _of(task: UpkeepTask) -> Update:
    """Update a task's row, unless another worker has taken the task since."""
    return update(upkeep).where(
        _c.athlete_id == task.athlete_id, _c.kind == task.kind, _c.subject == task.subject, _c.takes == task.take
    )
