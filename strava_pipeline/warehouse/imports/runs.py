"""The runs of imports: each takes up a launch, works on one task, and says how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, Engine, or_, select, update

from strava_pipeline.errors import ImportStopped
from strava_pipeline.months import Span, add_months, enclosing_span, month_span, month_start, months_of
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.activities.quarantine import forget_quarantined
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.imports.failed_months import forget_failed
from strava_pipeline.warehouse.imports.lacking import Lacking, lacking
from strava_pipeline.warehouse.imports.launches import (
    LEASE,
    Launch,
    at_rest,
    is_launch,
    pause_after,
)
from strava_pipeline.warehouse.imports.wishes import LONGEST_REST, Import, import_of
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportState, ImportStep, ImportTask
from strava_pipeline.warehouse.tokens.grants import shows_activities

log = get_logger(__name__)

# Several times within a lease, so that one failed heartbeat does no harm.
BEAT_SECONDS = 15.0
# The months that one run imports lie within so many.
MONTHS_PER_RUN = 12
NOTHING_DONE = "nothing that lacked was complete afterwards"
OVERTAKEN = "another run has it, or it is gone"
TAKEN_UP = "another run has taken up this launch, or had it"

_c = imports.c


@dataclass(frozen=True)
class Task:
    """The work of one run: the months (first days, newest first), the steps, and whether the profile comes first.

    ``is_history``: the listing begins where the history may begin, so it tells where it does. ``lacked``: what the
    import lacks before the work.
    """

    launch: Launch
    kind: ImportTask
    months: tuple[date, ...]
    steps: tuple[ImportStep, ...]
    profile: bool
    is_history: bool = False
    lacked: Lacking = field(default_factory=Lacking, compare=False, repr=False)

    def span_of(self, month: date) -> Span:
        """Return one of the months as a span of the athlete."""
        return month_span(self.launch.athlete_id, month_start(month))

    @property
    def whole(self) -> Span | None:
        """The shortest span that contains all months; ``None`` without months."""
        return enclosing_span(map(self.span_of, self.months)) if self.months else None

    def __str__(self) -> str:
        return f"{self.kind}, {self.whole.months}" if self.whole else str(self.kind)


@dataclass(frozen=True)
class Outcome:
    """The result of a run: whether it made progress, so that less lacks, and why it ended early, if it did.

    ``retry_at``: what the run waits for comes then (UTC), so that the run is not counted. ``newest_is_done``: the
    newest month is complete.
    """

    progressed: bool = False
    error: str | None = None
    retry_at: datetime | None = None
    newest_is_done: bool = False


def hold(connection: Connection, import_id: int, lease: timedelta) -> Launch | None:
    """Take an import in hand without a launch, for a command that works on it; ``None`` while a run is at work on it.

    A launched run that has not begun finds the import taken. ``lease``: how long the import is held unless extended.
    """
    free = or_(_c.state != ImportState.RUNNING, has_come(_c.lease_until, database_time(), LEASE))
    holding = (
        update(imports)
        .where(_c.id == import_id, free)
        .values(
            state=ImportState.RUNNING,
            launch_no=_c.launch_no + 1,
            launched_at=database_time(),
            lease_until=database_time() + lease,
            run_id=None,
            doing=ImportTask.MONTHS,
            doing_first=_c.first_month,
            doing_last=_c.last_month,
        )
        .returning(_c.launch_no, _c.athlete_id)
    )
    row = connection.execute(holding).first()
    return None if row is None else Launch(import_id, row.launch_no, row.athlete_id)


def begin(engine: Engine, launch: Launch, run_id: str, floor: date, kept: Kept = EVERYTHING) -> Task | None:
    """Take up a launched import in its run and return the run's task; ``None`` if nothing lacks that is due.

    Months before ``floor`` are never imported. Of what was asked for only what is ``kept`` is wanted from here on: who
    asked may not have known. ``ImportStopped`` if the import is paused or gone, has a newer launch,
    another run has taken up this one, or the athlete is not connected or shows no activities.
    """
    _forget_left_out(engine, launch.athlete_id, kept)
    with engine.begin() as connection:
        wish = _locked(connection, launch)
        if wish is None:
            raise ImportStopped(f"import {launch.import_id}: {OVERTAKEN}")
        if wish.state is not ImportState.LAUNCHED and wish.run_id not in {None, run_id}:
            # Executed again in Dagster. The first run may live, and both would extend one lease.
            raise ImportStopped(f"import {launch.import_id}: {TAKEN_UP}")
        stopped = _why_stopped(connection, wish)
        task = None
        if stopped is None:
            moment = now(connection)
            wish = _narrowed(connection, wish, kept, moment)
            lack = lacking(connection, wish, floor, moment, archive_details=kept.archive_details)
            task = _next_task(launch, wish, lack, moment.date(), floor)
        if task is not None:
            task = replace(task, lacked=lack)
            values = {
                "state": ImportState.RUNNING,
                "run_id": run_id,
                "lease_until": moment + LEASE,
                "doing": task.kind,
                "doing_first": min(task.months, default=None),
                "doing_last": max(task.months, default=None),
                "next_month": lack.next_month,
            }
        elif stopped is None:
            values = at_rest(lack, moment)
        else:
            values = {"state": ImportState.DUE, "lease_until": None}
        connection.execute(update(imports).where(_c.id == wish.id).values(values))
    if stopped is not None:
        raise ImportStopped(f"import {launch.import_id} of athlete {wish.athlete_id}: {stopped}")
    return task


def extend(engine: Engine, launch: Launch, lease: timedelta = LEASE) -> bool:
    """Extend the lease of a run at work, even one that was taken to be lost; False if the import is not this run's."""
    extending = update(imports).where(is_launch(launch), _c.paused_at.is_(None))
    with autocommit(engine) as connection:
        values = {"state": ImportState.RUNNING, "lease_until": database_time() + lease}
        return connection.execute(extending.values(values)).rowcount > 0


def refuse_stopped(engine: Engine, launch: Launch) -> None:
    """Raise ``ImportStopped`` if a run is to work no more on an import; reasons as in :func:`begin`."""
    with autocommit(engine) as connection:
        row = connection.execute(select(imports).where(is_launch(launch))).mappings().first()
        stopped = OVERTAKEN if row is None else _why_stopped(connection, import_of(row))
    if stopped is not None:
        raise ImportStopped(f"import {launch.import_id} of athlete {launch.athlete_id}: {stopped}")


def lacks_now(connection: Connection, launch: Launch, floor: date, kept: Kept = EVERYTHING) -> Lacking:
    """What a launch's import lacks now; nothing if the import is gone, or has a newer launch."""
    row = connection.execute(select(imports).where(is_launch(launch))).mappings().first()
    if row is None:
        return Lacking()
    return lacking(connection, import_of(row), floor, now(connection), archive_details=kept.archive_details)


def end(
    connection: Connection,
    launch: Launch,
    outcome: Outcome,
    floor: date,
    lacked: Lacking | None = None,
    kept: Kept = EVERYTHING,
) -> Outcome:
    """End a run: the import is due again at once, after a pause, or when something may lack anew.

    Nothing changes if the import has another launch by now. A pause stays. A run that ends because of a pause, or
    because its athlete is not connected, is not counted.

    Returns the outcome. If it is given what ``lacked`` before the run, the progress is whether less lacks now. What was
    asked for counts only by what it changed: an answer may be refused, or put its activity aside.
    """
    wish = _locked(connection, launch)
    if wish is None:
        return outcome
    moment = now(connection)
    values: dict[str, object] = {"runs": wish.runs + 1}
    if outcome.newest_is_done and wish.begins_newest:
        values["newest_at"] = moment
        wish = replace(wish, newest_at=moment)
    lack = lacking(connection, wish, floor, moment, archive_details=kept.archive_details)
    if lacked is not None:
        outcome = replace(outcome, progressed=outcome.newest_is_done or lack.is_less_than(lacked))
    values |= at_rest(lack, moment)
    if not lack.nothing or wish.begins_newest:
        is_stopped = _why_stopped(connection, wish) is not None
        tried = replace(outcome, retry_at=moment) if is_stopped else outcome
        values |= {"error": outcome.error, "whole_at": None} | _next_try(wish, tried, moment)
    connection.execute(update(imports).where(_c.id == wish.id).values(values))
    return outcome


def _locked(connection: Connection, launch: Launch) -> Import | None:
    row = connection.execute(select(imports).where(is_launch(launch)).with_for_update()).mappings().first()
    return None if row is None else import_of(row)


def _forget_left_out(engine: Engine, athlete_id: int, kept: Kept) -> None:
    """Delete what is noted of failures of steps that are not kept: nobody tries them again.

    In a transaction of its own, which holds no import: whoever stores an activity locks these rows in another order.
    """
    if left_out := set(ImportStep) - kept.steps:
        with engine.begin() as connection:
            forget_quarantined(connection, athlete_id, left_out)
            forget_failed(connection, athlete_id, left_out)


def _narrowed(connection: Connection, wish: Import, kept: Kept, moment: datetime) -> Import:
    """Store that no more is wanted of an import than is kept; return it.

    So whoever reads the row, and what lacks of it, waits for nothing that does not come.
    """
    left_out = [step for step in wish.steps if step not in kept.steps]
    narrow = replace(wish, steps=kept.of_steps(wish.steps), profile=wish.profile and kept.profiles)
    if narrow == wish:
        return wish
    if not narrow.steps and wish.begins_newest:
        narrow = replace(narrow, newest_at=moment)  # no month is imported
    values = {"steps": list(narrow.steps), "profile": narrow.profile, "newest_at": narrow.newest_at}
    connection.execute(update(imports).where(_c.id == wish.id).values(values))
    told = ", ".join([*left_out, *(["profile"] if wish.profile and not narrow.profile else [])])
    log.info("import %d of athlete %d: left out, since these are not kept here: %s", wish.id, wish.athlete_id, told)
    return narrow


def _why_stopped(connection: Connection, wish: Import) -> str | None:
    if wish.paused_by is not None:
        return f"it is paused ({wish.paused_by})"
    query = select(shows_activities()).where(users.c.athlete_id == wish.athlete_id)
    return None if connection.execute(query).scalar() else "its athlete is not connected, or shows no activities"


def _next_task(launch: Launch, wish: Import, lack: Lacking, today: date, floor: date) -> Task | None:
    """The newest month of a new athlete, else a listing, else the newest months that lack something and a year back."""
    if wish.begins_newest:
        # On the first days of a month it is empty: the one before belongs to it.
        this = add_months(today, 0)
        both = tuple(month for month in (this, add_months(this, -1)) if month >= floor)
        return Task(launch, ImportTask.NEWEST_MONTH, both, wish.steps, lack.profile)
    if lack.listing is not None:
        months = tuple(month.start.date() for month in reversed(months_of(lack.listing)))
        is_history = wish.is_open and months[-1] == floor and months[0] == add_months(today, 0)
        return Task(launch, ImportTask.LISTING, months, wish.steps, lack.profile, is_history)
    if lack.months:
        oldest = add_months(lack.months[0], 1 - MONTHS_PER_RUN)
        months = tuple(month for month in lack.months if month >= oldest)
        return Task(launch, ImportTask.MONTHS, months, wish.steps, lack.profile)
    return Task(launch, ImportTask.PROFILE, (), wish.steps, True) if lack.profile else None


def _next_try(wish: Import, outcome: Outcome, moment: datetime) -> dict[str, object]:
    """When an import that lacks something is launched again, and how many runs in a row made no progress."""
    if outcome.retry_at is not None:
        return {"next_at": min(outcome.retry_at, moment + LONGEST_REST), "attempts": wish.attempts}
    is_asked_anew = wish.launched_at is not None and wish.made_at > wish.launched_at
    if outcome.progressed or is_asked_anew:
        return {"next_at": moment, "attempts": 0}
    again = {"next_at": moment + pause_after(wish.attempts + 1), "attempts": wish.attempts + 1}
    return again if outcome.error is not None else again | {"error": NOTHING_DONE}
