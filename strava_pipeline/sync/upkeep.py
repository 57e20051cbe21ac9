"""Keeps what is stored true: compares it with Strava again and again, the most overdue first.

:mod:`strava_pipeline.warehouse.upkeep.due` has the list of tasks. Each task may be done twice, and is due again if its
run dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import (
    AppInactive,
    AthleteError,
    ClientRefused,
    ConfigurationError,
    DatabaseUnavailable,
    MissingScope,
    NeedsReauthorization,
    QuotaExhausted,
    RefreshDelayed,
    RetriableStravaError,
    StravaAway,
    StravaPipelineError,
    WorkTaken,
)
from strava_pipeline.log_context import add_log_ids, log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.sync.athlete import import_gear, import_profile
from strava_pipeline.sync.backfill import put_detail_aside, refresh_detail
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.history import compare_history
from strava_pipeline.sync.listing_turns import TurnOver, read_whole_in_turns
from strava_pipeline.sync.months_at_work import FailedMonth, MonthsFailed
from strava_pipeline.sync.recent import compare_recent
from strava_pipeline.warehouse.activities.outdated import OldDetail, oldest_detail
from strava_pipeline.warehouse.analysis.training_load import connected_with_load
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.wishes import any_wants_quota
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.states import PutAside, UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.due import Periods, UpkeepTask
from strava_pipeline.warehouse.upkeep.kept_pages import forget_old_pages, forget_pages, how_many_kept

log = get_logger(__name__)

# A detail is not fetched anew before this time.
DETAIL_AGE = timedelta(days=7)

# Waits, and no failures of a task. Upkeep ends, and goes on later; one that is for one athlete only stops no others.
LATER = (QuotaExhausted, StravaAway, AppInactive)
# These end the run: the database's state, a setting, or the app's credentials are at fault.
FATAL = (DatabaseUnavailable, ConfigurationError, ClientRefused)


@dataclass
class Worked:
    """What upkeep did: tasks ``done`` by kind, and reasons by task that ``failed``.

    ``changes``: how many differences became events, by aspect; how many activities were ``written`` and ``deleted``.
    ``loads``: how many days of training load were computed anew, by athlete; those of whom none was are left out.
    ``stopped``: why it ended before everything due was done; ``None`` if nothing is left that is due.
    """

    done: Counter[UpkeepKind] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    failed: dict[UpkeepTask, str] = field(default_factory=dict)
    loads: dict[int, int] = field(default_factory=dict)
    stopped: str | None = None


@dataclass(frozen=True)
class Contexts:
    """The contexts for upkeep's requests.

    ``quick``: for most, which wait on the list rather than for quota. ``spare``: for what is done with quota that is
    left over; it waits for nothing.
    """

    quick: SyncContext
    spare: SyncContext

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        monitors = {id(each.monitor): each.monitor for each in (self.quick, self.spare)}
        return sum(monitor.requests for monitor in monitors.values())


def work_off(contexts: Contexts, settings: Settings, go_on: Callable[[], bool]) -> Worked:
    """Do what is due, one task after the other, until nothing is, there is no quota left, or ``go_on`` says no.

    Tasks of what the contexts do not keep are taken off the list.

    Then fetch details anew, from quota that nobody else wants. Once a day compare training loads with their figures.
    A history that is not listed to its end by then goes on with the next call, from where it stopped.
    A task that fails is due again later, and the next one is worked on; a fault of this program is raised at the end.
    Raises ``DatabaseUnavailable``, ``ConfigurationError`` and ``ClientRefused``; the task under way is due again once
    its lease has ended.
    """
    work = _Upkeep(contexts, settings, go_on)
    with work.engine.begin() as connection:
        due.add_missing(connection, work.kept)
        forget_old_pages(connection)
    # First, as that takes seconds and no quota: a long list would leave no time for it.
    work.compare_loads(go_on)
    while work.worked.stopped is None:
        if not go_on():
            work.worked.stopped = "its time is up"
            break
        with work.engine.begin() as connection:
            task = due.take_due(connection)
        if task is None:
            break
        with log_ids(athlete_id=task.athlete_id):
            work.take_up(task)
    if work.worked.stopped is None or work.share_is_used:
        with log_ids():
            work.refresh_details(go_on)
    if work.faults:
        raise work.faults[0]
    return work.worked


def wants_details(connection: Connection, settings: Settings, kept: Kept = EVERYTHING) -> bool:
    """Whether details are to be fetched anew: their turns have come, some are old, and no import wants the quota.

    Never if they are not ``kept``.
    """
    if UpkeepKind.DETAILS not in kept.upkeep or not settings.upkeep_details_per_day:
        return False
    if not due.details_are_due(connection):
        return False
    return not any_wants_quota(connection) and oldest_detail(connection, DETAIL_AGE) is not None


@dataclass
class _Upkeep:
    contexts: Contexts
    settings: Settings
    go_on: Callable[[], bool]
    worked: Worked = field(default_factory=Worked)
    faults: list[Exception] = field(default_factory=list)
    # Upkeep has used its share of the quota; what nobody else wants is left.
    share_is_used: bool = False

    @property
    def engine(self) -> Engine:
        return self.contexts.quick.engine

    @property
    def kept(self) -> Kept:
        return self.contexts.quick.kept

    def take_up(self, task: UpkeepTask) -> None:
        """Do a task, and note how it ended."""
        before, pages = self.contexts.requests, self._pages_of(task)
        try:
            with due.kept(self.engine, task, self.contexts.quick.pauses):
                self._do(task, pages)
        except LATER as error:
            if (until := self._theirs_alone_until(error)) is not None:
                log.info("upkeep of athlete %d, %s: %s", task.athlete_id, task.kind, error)
                with self.engine.begin() as connection:
                    due.put_off(connection, task, until)
                return
            self.worked.stopped = str(error)
            self.share_is_used = isinstance(error, QuotaExhausted)
            with self.engine.begin() as connection:
                due.put_back(connection, task)
        except TurnOver:
            self.worked.stopped = "its time is up"
            with self.engine.begin() as connection:
                due.put_back(connection, task)
        except FATAL:
            raise
        except StravaPipelineError as error:
            # Strava's answer itself may be at fault, so it must be asked for anew.
            self._fail(task, str(error), lasts=isinstance(error, MissingScope))
            if not isinstance(error, RetriableStravaError):
                self._forget_pages(task)
        except Exception as error:  # noqa: BLE001  raised at the end: one athlete's data must not stop all others
            # Its text may hold somebody's data.
            self._fail(task, f"a fault of this program: {type(error).__name__}")
            self.faults.append(error)
            self._forget_pages(task)
        else:
            with self.engine.begin() as connection:
                due.done(connection, task, after=self._period(task), requests=self.contexts.requests - before + pages)
            self.worked.done[task.kind] += 1

    def _pages_of(self, task: UpkeepTask) -> int:
        """How many requests earlier turns of this task have sent."""
        if task.kind is not UpkeepKind.HISTORY:
            return 0
        with self.engine.begin() as connection:
            return how_many_kept(connection, task.athlete_id)

    def _forget_pages(self, task: UpkeepTask) -> None:
        if task.kind is UpkeepKind.HISTORY:
            forget_pages(self.engine, task.athlete_id)

    def _theirs_alone_until(self, error: Exception) -> datetime | None:
        """Until when only this athlete waits, and the next one is served.

        That one has limits of their own, or a token that is still good. ``None`` if all wait.
        """
        match error:
            case StravaAway(refreshes_only=True):
                return error.retry_at
            case QuotaExhausted() if self.settings.quota_scope is QuotaScope.ATHLETE:
                return error.retry_at
            case _:
                return None

    def refresh_details(self, go_on: Callable[[], bool]) -> None:
        """Fetch the oldest details anew while their turns have come and no import wants the quota.

        An athlete who cannot be served now is left out, and the turn goes to the next one. A detail that cannot be
        fetched, for whatever reason, is put aside, so that it is not the oldest for ever.
        """
        per_day = self.settings.upkeep_details_per_day if UpkeepKind.DETAILS in self.kept.upkeep else 0
        left_out: set[int] = set()
        has_turn = False
        while per_day and go_on():
            with self.engine.begin() as connection:
                has_turn = not any_wants_quota(connection) and (has_turn or due.take_detail(connection, per_day))
                old = oldest_detail(connection, DETAIL_AGE, left_out) if has_turn else None
            if old is None:
                return
            add_log_ids(athlete_id=old.athlete_id, activity_id=old.activity_id)
            try:
                self.worked.changes["details fetched anew"] += refresh_detail(self.contexts.spare, old).stored
            except FATAL:
                raise
            except WorkTaken:
                left_out.add(old.athlete_id)
                continue
            except (AthleteError, RetriableStravaError, AppInactive) as error:
                if isinstance(error, LATER) and self._theirs_alone_until(error) is None:
                    return
                left_out.add(old.athlete_id)
                self._put_aside(old, error)
                continue
            except Exception as error:  # noqa: BLE001  raised at the end: one detail must not stop all others
                self._put_aside(old, error)
                if not isinstance(error, StravaPipelineError):
                    self.faults.append(error)
            has_turn = False

    def compare_loads(self, go_on: Callable[[], bool]) -> None:
        """Compute days of training load that differ from their figures: Dagster may have missed a change of these.

        Its database may have been restored, or its sensor be off. All are due again if this ends before the last.
        """
        if UpkeepKind.LOADS not in self.kept.upkeep:
            return
        with self.engine.begin() as connection:
            if not due.loads_are_due(connection):
                return
            today, athletes = now(connection).date(), connected_with_load(connection)
        if athletes:
            from strava_pipeline.sync.training_load import update_training_load  # noqa: PLC0415  loads numerics
        for athlete_id in athletes:
            if not go_on():
                return
            try:
                if days := update_training_load(self.engine, athlete_id, today):
                    self.worked.loads[athlete_id] = days
            except NeedsReauthorization:
                continue  # who has disconnected meanwhile has no load
            except Exception as error:
                # Else raised at the end: one athlete's data must not stop all others.
                if isinstance(error, FATAL):
                    raise
                self.faults.append(error)
        with self.engine.begin() as connection:
            due.note_loads(connection)

    def _put_aside(self, old: OldDetail, error: Exception) -> None:
        """Put an activity aside whose detail met an error, unless its athlete's token or limits are at fault."""
        match error:
            case NeedsReauthorization() | RefreshDelayed() | StravaAway() | QuotaExhausted():
                return
            case MissingScope():
                reason, kind = str(error), PutAside.HIDDEN
            case RetriableStravaError():
                reason, kind = str(error), PutAside.UNANSWERED
            case StravaPipelineError():
                reason, kind = str(error), PutAside.UNUSABLE
            case _:
                # Its text may hold somebody's data.
                reason, kind = f"a fault of this program: {type(error).__name__}", PutAside.UNUSABLE
        log.warning("detail of activity %d of athlete %d, put aside: %s", old.activity_id, old.athlete_id, reason)
        with suppress(NeedsReauthorization):  # who has disconnected meanwhile has no details
            put_detail_aside(self.contexts.spare, old, reason, kind)

    def _do(self, task: UpkeepTask, pages: int) -> None:
        match task.kind:
            case UpkeepKind.RECENT:
                self._compare_recent(task.athlete_id)
            case UpkeepKind.HISTORY:
                self._compare_history(task.athlete_id, is_first_turn=not pages)
            case UpkeepKind.PROFILE:
                import_profile(self.contexts.quick, task.athlete_id)
            case UpkeepKind.GEAR:
                import_gear(self.contexts.quick, task.athlete_id, task.subject)

    def _compare_recent(self, athlete_id: int) -> None:
        self.worked.changes += compare_recent(
            self.contexts.quick, athlete_id, self.settings.webhook_subscription_id or 0
        )

    def _compare_history(self, athlete_id: int, *, is_first_turn: bool) -> None:
        """Compare the last days first: the difference of a new ride becomes an event, so that it gets its mail."""
        if is_first_turn:
            self._compare_recent(athlete_id)
            recent = Periods.from_settings(self.settings).recent
            with self.engine.begin() as connection:
                due.note_done_elsewhere(connection, athlete_id, UpkeepKind.RECENT, after=recent)
        read = partial(read_whole_in_turns, go_on=self.go_on)
        failed: list[FailedMonth] = []
        months = 0
        for result in compare_history(self.contexts.quick, athlete_id, earliest_month(self.settings), read):
            months += 1
            if isinstance(result, FailedMonth):
                failed.append(result)
                continue
            self.worked.changes += Counter(written=result.stored, deleted=result.deleted)
        forget_pages(self.engine, athlete_id)
        if failed:
            raise MonthsFailed(failed, months)

    def _fail(self, task: UpkeepTask, reason: str, *, lasts: bool = False) -> None:
        log.warning("upkeep of athlete %d, %s: %s", task.athlete_id, task.kind, reason)
        self.worked.failed[task] = reason
        with self.engine.begin() as connection:
            due.failed(connection, task, reason, at_most=self._period(task), lasts=lasts)

    def _period(self, task: UpkeepTask) -> timedelta:
        return Periods.from_settings(self.settings).of(task.kind)
