"""Launches Dagster runs for the inbox: a thread of the bridge that claims objects with due events.

Several bridges may run one each. While Dagster cannot be reached, events wait with back-off, and lose no attempt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.names import NAMES, Job
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.inbox.claims import (
    ALONE_AFTER_LOST_RUNS,
    MOST_LOST_RUNS,
    Claim,
    claim_objects,
    has_due_events,
    mark_dead,
)
from strava_pipeline.warehouse.inbox.dead_letters import redrive_due
from strava_pipeline.warehouse.inbox.launches import (
    end_launches,
    extend_launches,
    overdue_runs,
    record_run,
    release_claims,
)
from strava_pipeline.warehouse.inbox.outage_waits import LaunchGate, launch_gate, release_after_outage
from strava_pipeline.warehouse.states import ErrorClass
from webhook_bridge.dagster_api import DagsterServer, DagsterUnavailable, launch_run, runs_to_come

log = get_logger(__name__)

OBJECTS_PER_RUN = 25
# Events that fall due, or that another process stored, are seen within this time. Postgres' NOTIFY would be faster, but
# any login of the database can delay all transactions that notify, and even make them fail.
LOOK_SECONDS = 0.5
# A whole round is made at least this often, even if no event is due.
POLL_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0
# Runs that end before they begin mostly share one fault, such as tables of an earlier release. The events of the first
# are launched again at once, those of further ones after growing pauses, since each shows as a failed run in Dagster.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=10)


class Dispatcher:
    """A thread that claims objects with due events and launches ``webhook_sync`` for them, until stopped."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._dagster = DagsterServer.from_settings(settings)
        self._engine = engine
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._backoff = 1.0
        self._gate = LaunchGate.OPEN
        self._pause = timedelta()
        self._lost_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to work through the inbox."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the inbox now: a new event is there."""
        self._wake.set()

    def stop(self) -> None:
        """End after the launch that is under way."""
        self._stop.set()
        self._wake.set()
        if self.is_running:
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive, and so works through the inbox."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:
            log.critical("the dispatcher ended by an error: restart the bridge", exc_info=True)
            raise

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.look_after_launches()
                drained = self.dispatch_once() == 0
                self._backoff = 1.0
                if drained:
                    self._await_news()
            except (StravaPipelineError, SQLAlchemyError) as error:
                # The first line only: SQLAlchemy adds its statement in further ones.
                log.warning("%s: trying again in %.0f s", str(error).partition("\n")[0], self._backoff)
                # Waits for `_stop` alone: a new event must not shorten this pause, which gives Dagster or the database
                # time to recover, but the bridge's end must. stamina cannot do that.
                self._stop.wait(self._backoff)
                self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)

    def _await_news(self) -> None:
        ends_at = time.monotonic() + POLL_SECONDS
        while not self._wake.wait(min(LOOK_SECONDS, POLL_SECONDS)) and time.monotonic() < ends_at:
            if self._gate is LaunchGate.OPEN and has_due_events(self._engine):
                return

    def dispatch_once(self) -> int:
        """Claim objects with due events and launch runs for them; returns how many objects were claimed.

        While Strava is away, nothing is claimed but one object that tries whether it answers.
        """
        with self._engine.begin() as connection:
            if revived := redrive_due(connection):
                log.info("%d dead letter(s) redriven", len(revived))
            if released := release_after_outage(connection):
                log.info("%d event(s) go on after Strava's outage", released)
            self._gate = launch_gate(connection)
        if self._gate is LaunchGate.CLOSED:
            return 0
        claims = claim_objects(self._engine, OBJECTS_PER_RUN if self._gate is LaunchGate.OPEN else 1)
        self._give_up([claim for claim in claims if claim.lost_runs >= MOST_LOST_RUNS])
        left = _by_run([claim for claim in claims if claim.lost_runs < MOST_LOST_RUNS])
        while left:
            try:
                self._launch(left[0])
            except DagsterUnavailable as error:
                fences = [claim.fence for group in left for claim in group]
                release_claims(self._engine, fences, wait=timedelta(seconds=self._backoff), reason=str(error))
                raise
            del left[0]
        return len(claims)

    def _launch(self, claims: Sequence[Claim]) -> None:
        fences = [claim.fence for claim in claims]
        run_id = launch_run(self._dagster, Job.WEBHOOK_SYNC, _run_config(fences), _tags(claims))
        record_run(self._engine, fences, run_id)
        log.info("run %s has %d object(s)", run_id, len(claims))

    def _give_up(self, claims: Sequence[Claim]) -> None:
        """Make dead letters of events whose runs ended repeatedly without an outcome; they are redriven later."""
        for claim in claims:
            reason = f"{claim.lost_runs} runs ended without an outcome for it: see the last one in Dagster"
            log.error("%s %d of athlete %d: %s", claim.object_type, claim.object_id, claim.athlete_id, reason)
            with self._engine.begin() as connection:
                mark_dead(connection, claim.fence, reason, kind="RunLost", error_class=ErrorClass.TRANSIENT)

    def look_after_launches(self) -> None:
        """Extend the claims of overdue runs that are still to come; end those of runs that do not take theirs up."""
        overdue = overdue_runs(self._engine)
        if not overdue:
            return
        to_come = runs_to_come(self._dagster, overdue)
        extend_launches(self._engine, sorted(to_come))
        if lost := sorted(set(overdue) - to_come):
            pause = self._next_pause()
            again = f"again in {pause.total_seconds():.0f} s"
            log.warning("%d run(s) ended or stood still before they began: events are launched %s", len(lost), again)
            end_launches(self._engine, lost, wait=pause)

    def _next_pause(self) -> timedelta:
        """The pause before the events of a run that never began are launched again."""
        now = time.monotonic()
        if now - self._lost_at > 2 * LONGEST_PAUSE.total_seconds():
            self._pause = timedelta()
        pause, self._lost_at = self._pause, now
        self._pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        return pause


def _by_run(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Group claims into runs: one for each lane, live first; each object whose runs were lost gets its own."""
    together = [claim for claim in claims if claim.lost_runs < ALONE_AFTER_LOST_RUNS]
    by_lane = ([claim for claim in together if claim.lane is lane] for lane in Lane)
    alone = [[claim] for claim in claims if claim.lost_runs >= ALONE_AFTER_LOST_RUNS]
    return [*filter(None, by_lane), *alone]


def _run_config(fences: Sequence[int]) -> dict[str, object]:
    return {"ops": {"claimed_objects": {"config": {"fences": list(fences)}}}}


def _tags(claims: Sequence[Claim]) -> Mapping[str, str]:
    """The run's tags; athlete, object and aspect are tagged only where all claims have the same one.

    All claims have one lane. An object becomes live all the same if an event of Strava's arrives before its run begins.
    """
    tags = NAMES.lane_tags(claims[0].lane)
    told: dict[str, Callable[[Claim], set[str]]] = {
        NAMES.athlete_tag: lambda claim: {str(claim.athlete_id)},
        NAMES.tag("object"): lambda claim: {f"{claim.object_type}:{claim.object_id}"},
        NAMES.tag("aspect"): lambda claim: claim.aspect_types,
    }
    for name, values in told.items():
        found = set().union(*map(values, claims))
        if len(found) == 1:
            tags[name] = found.pop()
    return tags
