"""Launches the run that sends mails, for those that nobody has taken: a mail server was away, or an address was given.

A ride's own run sends its mail; what it could not send falls due again. The schedule looks less often than the bridge.
"""

from __future__ import annotations

import time
from datetime import timedelta

from sqlalchemy import Engine

from strava_pipeline.log_context import log_ids
from strava_pipeline.names import Job
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.mail.mail_queue import any_due
from webhook_bridge.dagster_api import launch_run, runs_to_come
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer

log = get_logger(__name__)

# A run that has just stored a ride takes its mail within this time.
LEFT_TO_ITS_RUN = timedelta(seconds=20)
# A run that ends without having taken a mail shows in Dagster as failed: not more often than this.
BETWEEN_LAUNCHES_SECONDS = 60.0


class MailRuns:
    """Launches ``send_notifications`` if a mail is due; of one bridge's launches, only one is to come at a time."""

    def __init__(self, dagster: DagsterServer, engine: Engine) -> None:
        self._dagster = dagster
        self._engine = engine
        self._last_run: str | None = None
        self._launched_at = float("-inf")

    def launch_if_due(self) -> bool:
        """Launch a run if a mail has been due for a while; returns whether it did. ``DagsterUnavailable``."""
        if time.monotonic() - self._launched_at < BETWEEN_LAUNCHES_SECONDS or not any_due(
            self._engine, LEFT_TO_ITS_RUN
        ):
            return False
        if self._last_run is not None and runs_to_come(self._dagster, [self._last_run]):
            return False
        self._last_run = launch_run(self._dagster, find_place(self._dagster), Job.SEND_NOTIFICATIONS, {}, {})
        self._launched_at = time.monotonic()
        with log_ids(run_id=self._last_run):
            log.info("run %s sends mails that are due", self._last_run)
        return True
