"""Inbox -> Dagster runs: a thread of the bridge that claims due events and has them worked on."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.webhook_events import ClaimedEvent, claim_events, give_back, note_run
from webhook_bridge.dagster_api import DagsterUnavailable, launch_run

log = logging.getLogger(__name__)

JOB = "webhook_sync"
EVENTS_PER_RUN = 50
# The net under the wake-ups: events that wait, and those stored by another bridge.
POLL_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0


class Dispatcher:
    """Claims events as they arrive and launches ``webhook_sync`` for them, until stopped."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._backoff = 1.0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to work through the inbox."""
        self._thread.start()

    def wake(self) -> None:
        """An event has been stored: look now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the launch that is under way."""
        self._stop.set()
        self._wake.set()
        if self.is_running:
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether events are being worked through."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:
            log.critical("the dispatcher ends: restart the bridge", exc_info=True)
            raise

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                drained = self.dispatch_once() == 0
                pause = POLL_SECONDS if drained else 0.0
                self._backoff = 1.0
            except (StravaPipelineError, SQLAlchemyError) as error:
                # SQLAlchemy adds its statement, line by line.
                log.warning("%s: trying again in %.0f s", str(error).partition("\n")[0], self._backoff)
                pause = self._backoff
                self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)
                # A new event must not shorten the pause that spares a Dagster or database in trouble.
                self._stop.wait(pause)
                continue
            self._wake.wait(pause)

    def dispatch_once(self) -> int:
        """Claim what is due and launch one run for it; returns how many events that were."""
        events = claim_events(self._engine, EVENTS_PER_RUN)
        if not events:
            return 0
        claims = [event.claim for event in events]
        try:
            run_id = launch_run(self._settings.dagster_webserver_url, JOB, _run_config(events), _tags(events))
        except DagsterUnavailable as error:
            give_back(self._engine, claims, wait=timedelta(seconds=self._backoff), reason=str(error))
            raise
        note_run(self._engine, claims, run_id)
        log.info("run %s has %d event(s)", run_id, len(events))
        return len(events)


def _run_config(events: list[ClaimedEvent]) -> dict[str, object]:
    claims = [{"event_id": event.claim.event_id, "fence": event.claim.fence} for event in events]
    return {"ops": {"claimed_events": {"config": {"claims": claims}}}}


def _tags(events: list[ClaimedEvent]) -> dict[str, str]:
    tags = {"strava/lane": "live", "dagster/priority": "10"}
    athletes = {event.owner_id for event in events}
    if len(athletes) == 1:
        tags["strava/athlete"] = str(athletes.pop())
    return tags
