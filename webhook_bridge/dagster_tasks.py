"""Does athletes' open tasks in Dagster and launches imports: a thread of the bridge, which tries until it succeeds.

For an athlete who connected, the partitions are created. For an athlete who was disconnected, the partitions are
deleted and, unless data are kept, the files in the lake and the runs, whose events show routes.
"""

from __future__ import annotations

import threading

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.athletes.dagster_tasks import athletes_with_task, hold_task, strike_off
from strava_pipeline.warehouse.athletes.erasure import delete_late_events
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.states import DagsterTask
from webhook_bridge.dagster_api import (
    DagsterServer,
    add_athlete,
    cover_last_materializations,
    delete_runs,
    remove_athlete,
)
from webhook_bridge.imports import launch_imports

log = get_logger(__name__)

LEAVING = (DagsterTask.ERASE, DagsterTask.UNREGISTER)
POLL_SECONDS = 10.0


class NotYet(StravaPipelineError):
    """Dagster is still at work for an athlete; the task is tried again."""


class DagsterTasks:
    """A thread that does the tasks in ``ops.users.dagster_task`` and launches imports, until stopped.

    Several bridges may run one each.
    """

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
                launch_imports(self._dagster, self._engine, earliest_month(self._settings))
            except (StravaPipelineError, SQLAlchemyError) as error:
                # The first line only: SQLAlchemy adds its statement in further ones.
                log.warning("%s", str(error).partition("\n")[0])
            except Exception:
                # A fault of this program. Without this thread nobody who connects gets partitions, nor an import soon.
                log.exception("Dagster's tasks failed: trying again in %.0f s", POLL_SECONDS)
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

    def _delete_runs(self, athlete_id: int) -> None:
        dagster = self._dagster
        if left := delete_runs(dagster, athlete_id):
            raise NotYet(f"{left} runs are left")
        cover_last_materializations(dagster)

    def _clear_lake(self, athlete_id: int) -> None:
        from strava_pipeline.warehouse.lake import (  # noqa: PLC0415  Arrow, which nothing else here needs
            erase_athlete_points,
        )

        erase_athlete_points(self._settings.lake_location(), athlete_id)
