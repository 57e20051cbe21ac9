"""Tells of runs of ours that failed in Dagster: a thread of the bridge. Several bridges may run one each.

A run is told once, also if it failed while no bridge was there, within the last three days. A run that Dagster executes
once more is told if its last execution fails. The first failure is told at once; what fails within the next quarter of
an hour is told together after it, so that a storm of failures is a message now and then, with a count. A run whose
events became dead letters is not told: the alert about dead letters tells of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine

from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.watch.alert_rows import add_messages
from strava_pipeline.warehouse.watch.failed_runs import known_runs, last_end, note_runs, was_told_within
from strava_pipeline.watch.failed_run_words import MOST_TOLD, RunFailure, message_about
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.failed_run_queries import Why, failed_since, may_be_told, why_failed
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

LOOK_SECONDS = 30.0
LOOK_BACK = timedelta(days=3)
# Runs are noted in the order in which bridges see them, not in that of their ends.
OVERLAP = timedelta(minutes=15)
BETWEEN_MESSAGES = timedelta(minutes=15)
# Of more runs of webhooks at once, none is asked whether its events are dead letters.
MOST_ASKED = 50
# Dagster may answer for all runs but one, whose events it cannot read, say: the others must not wait for its reason.
MOST_TRIES = 3


class FailedRuns(WorkerThread):
    """A thread that looks for failed runs each half minute, until stopped."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        super().__init__("failed-runs")
        self._settings = settings
        self._dagster = DagsterServer.from_settings(settings)
        self._engine = engine
        self._pause = BETWEEN_MESSAGES * settings.alert_time_scale
        # By run, how often its reason could not be had.
        self._unanswered: Counter[str] = Counter()

    def work(self) -> None:
        """Look for failed runs; what cannot be asked now is found by a later look."""
        while not self.stopping.is_set():
            self.attempt(self._look_if_dagster_answers, "failed runs are not looked for")
            self.rest(LOOK_SECONDS)

    def _look_if_dagster_answers(self) -> None:
        try:
            self.look()
        except DagsterUnavailable as error:
            # An alert tells of it, and the dispatcher's log.
            log.debug("%s", error)

    def look(self) -> int:
        """Tell of the runs that failed and were not told; returns how many. ``DagsterUnavailable``."""
        with autocommit(self._engine) as connection:
            if was_told_within(connection, self._pause):
                return 0
            moment, last = now(connection), last_end(connection)
        earliest = moment - LOOK_BACK
        found = failed_since(self._dagster, earliest if last is None else max(earliest, last - OVERLAP), moment)
        with autocommit(self._engine) as connection:
            known = known_runs(connection, [run.run_id for run in found])
        new = [run for run in found if run.run_id not in known]
        return self._tell(*self._with_reasons(new)) if new else 0

    def _with_reasons(self, runs: Sequence[RunFailure]) -> tuple[list[RunFailure], list[RunFailure]]:
        """The runs to tell, with the reasons of the last few; and those of which an alert tells."""
        asked = {run.run_id for run in [run for run in runs if may_be_told(run)][-MOST_ASKED:]}
        whys = {run_id: self._why(run_id) for run_id in sorted(asked)}
        told_elsewhere = [run for run in runs if run.run_id in whys and whys[run.run_id].is_told]
        left = [run for run in runs if run not in told_elsewhere]
        for run in left[-MOST_TOLD:]:
            if run.run_id not in whys:
                whys[run.run_id] = self._why(run.run_id)
        told = [replace(run, reason=whys[run.run_id].reason) if run.run_id in whys else run for run in left]
        return told, told_elsewhere

    def _why(self, run_id: str) -> Why:
        """Why a run failed; no reason after three looks without an answer. ``DagsterUnavailable`` before."""
        if self._unanswered[run_id] >= MOST_TRIES:
            return Why("")
        try:
            return why_failed(self._dagster, run_id)
        except DagsterUnavailable:
            self._unanswered[run_id] += 1
            raise

    def _tell(self, runs: Sequence[RunFailure], told_elsewhere: Sequence[RunFailure]) -> int:
        """Note runs, and make one message about those that no bridge has noted meanwhile."""
        with self._engine.begin() as connection:
            acquire(connection, Lock.ALERTS)
            note_runs(connection, {run.run_id: run.ended_at for run in told_elsewhere}, told=False)
            noted = note_runs(connection, {run.run_id: run.ended_at for run in runs}, told=True)
            new = [run for run in runs if run.run_id in noted]
            if new:
                add_messages(connection, [message_about(new, self._settings)])
        self._unanswered.clear()
        for run in new:
            log.warning("run %s failed: %s: %s", run.run_id, run.subject, run.reason or "its reason is in Dagster")
        return len(new)
