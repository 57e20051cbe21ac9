"""Launches Dagster runs for the inbox: a thread of the bridge that claims objects with due events.

Several bridges may run one each. While Dagster cannot be reached, events wait with back-off, and lose no attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import DatabaseUnavailable, StravaPipelineError
from strava_pipeline.log_context import add_log_ids, begin_log_ids, log_ids
from strava_pipeline.names import Job, Names
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
from strava_pipeline.warehouse.watch.heartbeats import Role, beat
from webhook_bridge.counters import Counters
from webhook_bridge.dagster_api import launch_run, runs_to_come
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.worker_thread import WorkerThread, first_line

log = get_logger(__name__)

OBJECTS_PER_RUN = 25
# Events that fall due, or that another process stored, are seen within this time. Postgres' NOTIFY would be faster, but
# any login of the database can delay all transactions that notify, and even make them fail.
LOOK_SECONDS = 0.5
# A whole round is made at least this often, even if no event is due.
POLL_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0
# An alert fires when no dispatcher has given a sign of life for some minutes, by the scaled time of alerts.
BEAT_SECONDS = 15.0
SHORTEST_BEAT_SECONDS = 1.0
# Runs that end before they begin mostly share one fault, such as tables of an earlier release. The events of the first
# are launched again at once, those of further ones after growing pauses, since each shows as a failed run in Dagster.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=10)


class Dispatcher(WorkerThread):
    """A thread that claims objects with due events and launches ``webhook_sync`` for them, until stopped."""

    def __init__(self, settings: Settings, engine: Engine, counters: Counters | None = None) -> None:
        super().__init__("dispatcher")
        self._dagster = DagsterServer.from_settings(settings, (counters or Counters()).launched)
        self._engine = engine
        self._backoff = 1.0
        self._gate = LaunchGate.OPEN
        self._pause = timedelta()
        self._lost_at = float("-inf")
        self._beat_at = float("-inf")
        self._beat_every_s = min(BEAT_SECONDS, max(SHORTEST_BEAT_SECONDS, BEAT_SECONDS * settings.alert_time_scale))

    def work(self) -> None:
        """Work through the inbox; an event that has just come wakes."""
        while not self.stopping.is_set():
            begin_log_ids()
            self.woken.clear()
            try:
                self._beat_if_due()
                self.look_after_launches()
                drained = self.dispatch_once() == 0
                self._backoff = 1.0
                if drained:
                    self._await_news()
            except (StravaPipelineError, SQLAlchemyError) as error:
                self.errors += 1
                log.warning("%s: trying again in %.0f s", first_line(error), self._backoff)
                self.pause(self._backoff)
                self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)

    def pause(self, seconds: float) -> None:
        """Give Dagster or the database time to recover. A new event must not shorten this, but the bridge's end must.

        stamina cannot do that.
        """
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0 and not self.stopping.wait(min(left, self._beat_every_s)):
            # A database that is away meets the next round.
            with suppress(DatabaseUnavailable):
                self._beat_if_due()

    def _beat_if_due(self) -> None:
        if time.monotonic() - self._beat_at < self._beat_every_s:
            return
        with self._engine.begin() as connection:
            beat(connection, Role.DISPATCHER)
        self._beat_at = time.monotonic()

    def _await_news(self) -> None:
        ends_at = time.monotonic() + POLL_SECONDS
        while not self.woken.wait(min(LOOK_SECONDS, POLL_SECONDS)) and time.monotonic() < ends_at:
            if self._gate is LaunchGate.OPEN and has_due_events(self._engine):
                return

    def dispatch_once(self) -> int:
        """Claim objects with due events and launch runs for them; returns how many objects were claimed.

        While Strava is away, nothing is claimed but one object that tries whether it answers.
        """
        with self._engine.begin() as connection:
            if revived := redrive_due(connection):
                with log_ids(event_id=revived):
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
                add_log_ids(event_id=[event.event_id for group in left for claim in group for event in claim.events])
                release_claims(self._engine, fences, wait=timedelta(seconds=self._backoff), reason=str(error))
                raise
            del left[0]
        return len(claims)

    def _launch(self, claims: Sequence[Claim]) -> None:
        fences = [claim.fence for claim in claims]
        place = find_place(self._dagster)
        config, tags = sync_config(place.names, fences), _tags(place.names, claims)
        run_id = launch_run(self._dagster, place, Job.WEBHOOK_SYNC, config, tags)
        record_run(self._engine, fences, run_id)
        for claim in claims:
            with log_ids(run_id=run_id), log_ids(**claim.log_ids):
                log.info("run %s has %s", run_id, claim.name)

    def _give_up(self, claims: Sequence[Claim]) -> None:
        """Make dead letters of events whose runs ended repeatedly without an outcome; they are redriven later."""
        for claim in claims:
            reason = f"{claim.lost_runs} runs ended without an outcome for it: see the last one in Dagster"
            with log_ids(**claim.log_ids):
                log.error("%s: %s", claim.name, reason)
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
            for run_id in lost:
                with log_ids(run_id=run_id):
                    log.warning(
                        "run %s ended or stood still before it began: its events are launched %s", run_id, again
                    )
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


def sync_config(names: Names, fences: Sequence[int]) -> dict[str, object]:
    """Return the config of a run of ``webhook_sync`` for claims."""
    return {"ops": {names.op("claimed_objects"): {"config": {"fences": list(fences)}}}}


def _tags(names: Names, claims: Sequence[Claim]) -> Mapping[str, str]:
    """The run's tags; athlete, object and aspect are tagged only where all claims have the same one.

    All claims have one lane. An object becomes live all the same if an event of Strava's arrives before its run begins.
    """
    tags = names.lane_tags(claims[0].lane)
    told: dict[str, Callable[[Claim], set[str]]] = {
        names.athlete_tag: lambda claim: {str(claim.athlete_id)},
        names.tag("object"): lambda claim: {f"{claim.object_type}:{claim.object_id}"},
        names.tag("aspect"): lambda claim: claim.aspect_types,
    }
    for name, values in told.items():
        found = set().union(*map(values, claims))
        if len(found) == 1:
            tags[name] = found.pop()
    return tags
