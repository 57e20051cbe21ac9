"""Keeps what is stored true: compares it with Strava again and again, the most overdue first.

:mod:`strava_pipeline.warehouse.upkeep.due` has the list of tasks. Each task may be done twice, and is due again if its
run dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
    ConfigurationError,
    DatabaseUnavailable,
    MissingScope,
    QuotaExhausted,
    StravaAway,
    StravaPipelineError,
)
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.sync.athlete import import_gear, import_profile
from strava_pipeline.sync.backfill import SyncContext
from strava_pipeline.sync.history import compare_history
from strava_pipeline.sync.months_at_work import FailedMonth
from strava_pipeline.sync.reconcile import reconcile_athlete
from strava_pipeline.warehouse.imports.edited_months import import_edited
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.due import Periods, UpkeepTask

log = get_logger(__name__)

# These errors are about no task: upkeep ends, and goes on later.
LATER = (QuotaExhausted, StravaAway, AppInactive)
# These end the run: the database's state, a setting, or the app's credentials are at fault.
FATAL = (DatabaseUnavailable, ConfigurationError, ClientRefused)


@dataclass
class Worked:
    """What upkeep did: tasks ``done`` by kind, and reasons by task that ``failed``.

    ``changes``: how many differences became events, by aspect; how many activities were ``written`` and ``deleted``.
    ``stopped``: why it ended before everything due was done; ``None`` if nothing is left that is due.
    """

    done: Counter[UpkeepKind] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    failed: dict[UpkeepTask, str] = field(default_factory=dict)
    stopped: str | None = None


def work_off(sync: SyncContext, patient: SyncContext, settings: Settings, go_on: Callable[[], bool]) -> Worked:
    """Do what is due, one task after the other, until nothing is, there is no quota left, or ``go_on`` says no.

    Requests of ``patient`` wait as long as it takes for quota: a listing of a history that ends early is worth nothing.
    A task that fails is due again later, and the next one is worked on; a fault of this program is raised at the end.
    Raises ``DatabaseUnavailable``, ``ConfigurationError`` and ``ClientRefused``; the task under way is due again once
    its lease has ended.
    """
    work = _Upkeep(sync, patient, settings)
    with sync.engine.begin() as connection:
        due.add_missing(connection)
    while work.worked.stopped is None:
        if not go_on():
            work.worked.stopped = "its time is up"
            break
        with sync.engine.begin() as connection:
            task = due.take_due(connection)
        if task is None:
            break
        work.take_up(task)
    if work.faults:
        raise work.faults[0]
    return work.worked


@dataclass
class _Upkeep:
    sync: SyncContext
    patient: SyncContext
    settings: Settings
    worked: Worked = field(default_factory=Worked)
    faults: list[Exception] = field(default_factory=list)

    def take_up(self, task: UpkeepTask) -> None:
        """Do a task, and note how it ended."""
        before = self._requests()
        try:
            with due.kept(self.sync.engine, task, self.sync.pauses):
                self._do(task)
        except LATER as error:
            self.worked.stopped = str(error)
            with self.sync.engine.begin() as connection:
                due.put_back(connection, task)
        except FATAL:
            raise
        except StravaPipelineError as error:
            self._fail(task, str(error), lasts=isinstance(error, MissingScope))
        except Exception as error:  # noqa: BLE001  raised at the end: one athlete's data must not stop all others
            # Its text may hold somebody's data.
            self._fail(task, f"a fault of this program: {type(error).__name__}")
            self.faults.append(error)
        else:
            with self.sync.engine.begin() as connection:
                due.done(connection, task, after=self._period(task), requests=self._requests() - before)
            self.worked.done[task.kind] += 1

    def _do(self, task: UpkeepTask) -> None:
        match task.kind:
            case UpkeepKind.RECENT:
                self._compare_recent(task.athlete_id)
            case UpkeepKind.HISTORY:
                self._compare_history(task.athlete_id)
            case UpkeepKind.PROFILE:
                import_profile(self.sync, task.athlete_id)
            case UpkeepKind.GEAR:
                import_gear(self.sync, task.athlete_id, task.subject)

    def _compare_recent(self, athlete_id: int) -> None:
        self.worked.changes += reconcile_athlete(self.sync, athlete_id, self.settings.webhook_subscription_id or 0)

    def _compare_history(self, athlete_id: int) -> None:
        """Compare the last days first: the difference of a new ride becomes an event, so that it gets its mail."""
        self._compare_recent(athlete_id)
        recent = Periods.from_settings(self.settings).recent
        with self.sync.engine.begin() as connection:
            due.note_done_elsewhere(connection, athlete_id, UpkeepKind.RECENT, after=recent)
        edited = []
        for result in compare_history(self.patient, athlete_id, earliest_month(self.settings)):
            if isinstance(result, FailedMonth):
                continue  # logged, and due again as any month of an import
            self.worked.changes += Counter(written=result.stored, deleted=result.deleted)
            if result.stored:
                edited.append(result.span.start.date())
        with self.sync.engine.begin() as connection:
            import_edited(connection, athlete_id, edited)

    def _fail(self, task: UpkeepTask, reason: str, *, lasts: bool = False) -> None:
        log.warning("upkeep of athlete %d, %s: %s", task.athlete_id, task.kind, reason)
        self.worked.failed[task] = reason
        with self.sync.engine.begin() as connection:
            due.failed(connection, task, reason, at_most=self._period(task), lasts=lasts)

    def _period(self, task: UpkeepTask) -> timedelta:
        return Periods.from_settings(self.settings).of(task.kind)

    def _requests(self) -> int:
        """How many requests were sent so far."""
        monitors = {id(context.monitor): context.monitor for context in (self.sync, self.patient)}
        return sum(monitor.requests for monitor in monitors.values())
