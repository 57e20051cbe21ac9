"""Keeps what is stored true: compares it with Strava again and again, the most overdue first.

:mod:`strava_pipeline.warehouse.upkeep.due` has the list of tasks. Each task may be done twice, and is due again if its
run dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

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
from strava_pipeline.sync.athlete import import_gear, import_profile
from strava_pipeline.sync.backfill import SyncContext
from strava_pipeline.sync.reconcile import reconcile_athlete
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
    """What upkeep did: tasks ``done`` by kind, differences ``found`` by aspect; and reasons by task that ``failed``.

    ``stopped``: why it ended before everything due was done; ``None`` if nothing is left that is due.
    """

    done: Counter[UpkeepKind] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    failed: dict[UpkeepTask, str] = field(default_factory=dict)
    stopped: str | None = None


def work_off(sync: SyncContext, periods: Periods, subscription_id: int, go_on: Callable[[], bool]) -> Worked:
    """Do what is due, one task after the other, until nothing is, there is no quota left, or ``go_on`` says no.

    A task that fails is due again later, and the next one is worked on; a fault of this program is raised at the end.
    Raises ``DatabaseUnavailable``, ``ConfigurationError`` and ``ClientRefused``; the task under way is due again once
    its lease has ended.
    """
    worked, faults = Worked(), list[Exception]()
    with sync.engine.begin() as connection:
        due.add_missing(connection)
    while go_on():
        with sync.engine.begin() as connection:
            task = due.take_due(connection)
        if task is None:
            break
        before = sync.monitor.requests
        try:
            with due.kept(sync.engine, task, sync.pauses):
                worked.found += _do(sync, task, subscription_id)
        except LATER as error:
            worked.stopped = str(error)
            with sync.engine.begin() as connection:
                due.put_back(connection, task)
            break
        except FATAL:
            raise
        except StravaPipelineError as error:
            _fail(sync, task, periods, worked, str(error), lasts=isinstance(error, MissingScope))
        except Exception as error:  # noqa: BLE001  raised at the end: one athlete's data must not stop all others
            # Its text may hold somebody's data.
            _fail(sync, task, periods, worked, f"a fault of this program: {type(error).__name__}")
            faults.append(error)
        else:
            with sync.engine.begin() as connection:
                requests = sync.monitor.requests - before
                due.done(connection, task, after=periods.of(task.kind), requests=requests)
            worked.done[task.kind] += 1
    else:
        worked.stopped = "its time is up"
    if faults:
        raise faults[0]
    return worked


def _do(sync: SyncContext, task: UpkeepTask, subscription_id: int) -> Counter[str]:
    """Do a task; return how many differences became events, by aspect."""
    match task.kind:
        case UpkeepKind.RECENT:
            return reconcile_athlete(sync, task.athlete_id, subscription_id)
        case UpkeepKind.PROFILE:
            import_profile(sync, task.athlete_id)
        case UpkeepKind.GEAR:
            import_gear(sync, task.athlete_id, task.subject)
    return Counter()


def _fail(
    sync: SyncContext, task: UpkeepTask, periods: Periods, worked: Worked, reason: str, *, lasts: bool = False
) -> None:
    log.warning("upkeep of athlete %d, %s: %s", task.athlete_id, task.kind, reason)
    worked.failed[task] = reason
    with sync.engine.begin() as connection:
        due.failed(connection, task, reason, at_most=periods.of(task.kind), lasts=lasts)
