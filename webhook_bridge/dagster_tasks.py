"""Does athletes' open tasks in Dagster, launches imports, archive imports and mails: a thread of the bridge.

For an athlete who connected, the partitions are created. For an athlete who was disconnected, the partitions are
deleted and, unless data are kept, the rows, the files in the lake and the runs, whose events show their id and figures.
"""

from __future__ import annotations

import time

from sqlalchemy import Engine

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.sync.erasing import finish_erasures
from strava_pipeline.warehouse.athletes.dagster_tasks import athletes_with_task, hold_task, strike_off
from strava_pipeline.warehouse.athletes.erasure import delete_late_events
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.erasure_list import Extent, note_departure
from strava_pipeline.warehouse.imports.launches import most_under_way
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.states import DagsterTask
from strava_pipeline.warehouse.uploads.rows import delete_ended
from webhook_bridge.archive_launches import launch_archive_imports
from webhook_bridge.counters import Counters
from webhook_bridge.dagster_api import add_athlete, cover_last_materializations, delete_runs, remove_athlete
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.imports import launch_imports
from webhook_bridge.mails import MailRuns
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

LEAVING = (DagsterTask.ERASE, DagsterTask.UNREGISTER)
POLL_SECONDS = 10.0
# Then tasks, imports and mails have their turn, and what is left to delete the next one.
ERASING_SECONDS = 30.0


class NotYet(StravaPipelineError):
    """Dagster is still at work for an athlete; the task is tried again."""


class DagsterTasks(WorkerThread):
    """A thread that does the tasks in ``ops.users.dagster_task`` and launches imports and mails, until stopped.

    Several bridges may run one each.
    """

    def __init__(self, settings: Settings, engine: Engine, counters: Counters | None = None) -> None:
        super().__init__("dagster-tasks")
        self._settings = settings
        self._dagster = DagsterServer.from_settings(settings, (counters or Counters()).launched)
        self._engine = engine
        self._mails = MailRuns(self._dagster, engine)

    def run_once(self) -> int:
        """Delete the data of athletes who are being erased, then try each task once; returns how many are done."""
        ends_at = time.monotonic() + ERASING_SECONDS
        finish_erasures(self._settings, self._engine, lambda: not self.stopping.is_set() and time.monotonic() < ends_at)
        with self._engine.connect() as connection:
            due = athletes_with_task(connection)
        done = 0
        for athlete_id in due:
            with log_ids(athlete_id=athlete_id):
                done += self._do(athlete_id)
        return done

    def work(self) -> None:
        """Look for tasks, imports and mails; an athlete who connects or is disconnected wakes."""
        while not self.stopping.is_set():
            # None waits for another that Dagster refuses.
            for work in (self.run_once, self._launch_imports, self._launch_archives, self._mails.launch_if_due):
                self.attempt(work, "what Dagster has to do waits")
            self.attempt(self._end_uploads, "uploads that were imported stay for now")
            self.rest(POLL_SECONDS)

    def _end_uploads(self) -> None:
        """Delete uploads that were imported. What is left by a process that dies here, retention deletes."""
        with self._engine.begin() as connection:
            ended = delete_ended(connection)
        if ended:
            from strava_pipeline.warehouse.upload_files import tidy_uploads  # noqa: PLC0415  slow to load

            tidy_uploads(self._engine, self._settings.upload_location())

    def _launch_imports(self) -> None:
        most = most_under_way(self._settings.runs_at_once)
        floor, details = earliest_month(self._settings), self._settings.archive_details
        launch_imports(self._dagster, self._engine, floor, most, archive_details=details)

    def _launch_archives(self) -> None:
        launch_archive_imports(self._dagster, self._engine)

    def _do(self, athlete_id: int) -> bool:
        """Do one athlete's task and strike it off; False if it has to wait, or another bridge is at it."""
        with self._engine.begin() as connection:
            task = hold_task(connection, athlete_id)
            if task is None:
                return False
            try:
                if task is DagsterTask.UNREGISTER:
                    # An erasure has noted it before the first row went.
                    note_departure(self._settings, athlete_id, now(connection), Extent.DISCONNECTED)
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
            self._clear_uploads(athlete_id)
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
        from strava_pipeline.warehouse.lake_files import erase_athlete_points  # noqa: PLC0415  slow to load

        erase_athlete_points(self._settings.lake_location(), athlete_id)

    def _clear_uploads(self, athlete_id: int) -> None:
        from strava_pipeline.warehouse.upload_files import open_upload_files  # noqa: PLC0415  slow to load

        open_upload_files(self._settings.upload_location()).erase(athlete_id)
