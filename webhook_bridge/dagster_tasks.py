"""Does athletes' open tasks in Dagster: a thread of the bridge, which tries each task until it succeeds.

For an athlete who connected, the partitions are created and the history is imported. For an athlete who was
disconnected, the partitions are deleted and, unless data are kept, the files in the lake and the runs, whose events
show routes.
"""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.months import months_between
from strava_pipeline.names import HISTORY_ASSETS, NAMES, PROFILE_ASSETS, partition_key
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.athletes.dagster_tasks import athletes_with_task, hold_task, strike_off
from strava_pipeline.warehouse.athletes.erasure import delete_late_events
from strava_pipeline.warehouse.states import DagsterTask
from webhook_bridge.dagster_api import (
    DagsterServer,
    add_athlete,
    athletes_being_backfilled,
    cover_last_materializations,
    delete_runs,
    launch_backfill,
    remove_athlete,
)

log = get_logger(__name__)

LEAVING = (DagsterTask.ERASE, DagsterTask.UNREGISTER)
POLL_SECONDS = 10.0


class NotYet(StravaPipelineError):
    """Dagster is still at work for an athlete; the task is tried again."""


class DagsterTasks:
    """A thread that does the tasks in ``ops.users.dagster_task`` until stopped; several bridges may run one each."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._dagster = DagsterServer.from_settings(settings)
        self._engine = engine
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dagster-tasks", daemon=True)

    def start(self) -> None:
        """Begin to look for tasks."""
        self._thread.start()

    def wake(self) -> None:
        """Look for tasks now: an athlete connected or was disconnected."""
        self._wake.set()

    def stop(self) -> None:
        """End after the task under way."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def run_once(self) -> int:
        """Try each task once; returns how many are done."""
        with self._engine.connect() as connection:
            due = athletes_with_task(connection)
        return sum(self._do(athlete_id) for athlete_id in due)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.run_once()
            except (StravaPipelineError, SQLAlchemyError) as error:
                # The first line only: SQLAlchemy adds its statement in further ones.
                log.warning("%s", str(error).partition("\n")[0])
            self._wake.wait(POLL_SECONDS)

    def _do(self, athlete_id: int) -> bool:
        """Do one athlete's task and strike it off; False if it has to wait, or another bridge is at it."""
        with self._engine.begin() as connection:
            task = hold_task(connection, athlete_id)
            if task is None:
                return False
            try:
                self._tell(athlete_id, task)
            except Exception as error:  # noqa: BLE001  a lake's storage has errors of its own, and the thread must go on
                told = error if isinstance(error, StravaPipelineError) else type(error).__name__
                log.warning("%s of athlete %d has to wait: %s", task, athlete_id, told)
                return False
            if task in LEAVING:
                delete_late_events(connection, athlete_id)
            strike_off(connection, athlete_id)
        log.info("%s of athlete %d is done in Dagster", task, athlete_id)
        return True

    def _tell(self, athlete_id: int, task: DagsterTask) -> None:
        dagster = self._dagster
        if task is DagsterTask.ERASE:
            self._clear_lake(athlete_id)
        if task in LEAVING:
            remove_athlete(dagster, athlete_id)
        if task is DagsterTask.ERASE:
            self._delete_runs(athlete_id)
        if task in LEAVING:
            return
        add_athlete(dagster, athlete_id)
        tags = NAMES.backfill_tags(athlete_id)
        # First the backfill that may be refused, for a month unknown to Dagster: a retry then launches nothing twice.
        launch_backfill(dagster, HISTORY_ASSETS, _cells(athlete_id, self._settings.history_start), tags)
        launch_backfill(dagster, PROFILE_ASSETS, [str(athlete_id)], tags)

    def _delete_runs(self, athlete_id: int) -> None:
        dagster = self._dagster
        # Asked before runs are listed: a backfill that has ended by now launches no more runs.
        under_way = athlete_id in athletes_being_backfilled(dagster)
        left = delete_runs(dagster, athlete_id)
        if left or under_way:
            raise NotYet(f"{left} runs are left{', and a backfill is under way' if under_way else ''}")
        cover_last_materializations(dagster)

    def _clear_lake(self, athlete_id: int) -> None:
        from strava_pipeline.warehouse.lake import (  # noqa: PLC0415  Arrow, which nothing else here needs
            erase_athlete_points,
        )

        erase_athlete_points(self._settings.lake_location(), athlete_id)


def _cells(athlete_id: int, first: date) -> list[str]:
    """The athlete's partitions up to the month that has begun, as Dagster spells them."""
    return [partition_key(athlete_id, month) for month in months_between(first, datetime.now(UTC).date())]
