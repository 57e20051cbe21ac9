"""Inbox -> Dagster runs: a thread of the bridge that claims objects with due events and has them worked on.

Several bridges may run one each. Being unable to reach Dagster costs no event an attempt: it waits, with back-off.
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
from strava_pipeline.warehouse.states import ErrorClass
from webhook_bridge.dagster_api import DagsterServer, DagsterUnavailable, launch_run, runs_to_come

log = get_logger(__name__)

OBJECTS_PER_RUN = 25
# What falls due, or was put into the inbox by another process, is seen this soon. Postgres' NOTIFY would tell at once,
# but any login of the database may hold up all transactions that notify, and even have them fail.
LOOK_SECONDS = 0.5
# A whole round is due by then, whatever there is.
POLL_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0
# Runs that end before they begin mostly have a fault that all share, such as tables of an earlier release: the first
# is replaced at once, further ones with growing pauses, since each is a failed run in Dagster's list.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=10)


class Dispatcher:
    """Claims what is due and launches ``webhook_sync`` for it, until stopped."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._dagster = DagsterServer.from_settings(settings)
        self._engine = engine
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._backoff = 1.0
        self._pause = timedelta()
        self._lost_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to work through the inbox."""
        self._thread.start()

    def wake(self) -> None:
        """Something is in the inbox: look now."""
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
                self.look_after_launches()
                drained = self.dispatch_once() == 0
                self._backoff = 1.0
                if drained:
                    self._await_news()
            except (StravaPipelineError, SQLAlchemyError) as error:
                # SQLAlchemy adds its statement, line by line.
                log.warning("%s: trying again in %.0f s", str(error).partition("\n")[0], self._backoff)
                # A new event must not shorten the pause that spares a Dagster or database in trouble; the bridge's end
                # must, for which stamina has no way.
                self._stop.wait(self._backoff)
                self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)

    def _await_news(self) -> None:
        ends_at = time.monotonic() + POLL_SECONDS
        while not self._wake.wait(min(LOOK_SECONDS, POLL_SECONDS)) and time.monotonic() < ends_at:
            if has_due_events(self._engine):
                return

    def dispatch_once(self) -> int:
        """Claim what is due and launch one run for it; returns how many objects that were."""
        with self._engine.begin() as connection:
            if revived := redrive_due(connection):
                log.info("%d dead letter(s) are tried again", len(revived))
        claims = claim_objects(self._engine, OBJECTS_PER_RUN)
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
        """What takes down whatever works on it becomes a dead letter, tried again now and then."""
        for claim in claims:
            reason = f"{claim.lost_runs} runs ended without a word while they had it: see the last one in Dagster"
            log.error("%s %d of athlete %d: %s", claim.object_type, claim.object_id, claim.athlete_id, reason)
            with self._engine.begin() as connection:
                mark_dead(connection, claim.fence, reason, kind="RunLost", error_class=ErrorClass.TRANSIENT)

    def look_after_launches(self) -> None:
        """Runs that wait in Dagster's queue keep their claims; those that ended before they began lose them."""
        overdue = overdue_runs(self._engine)
        if not overdue:
            return
        to_come = runs_to_come(self._dagster, overdue)
        extend_launches(self._engine, sorted(to_come))
        if lost := sorted(set(overdue) - to_come):
            pause = self._next_pause()
            again = f"again in {pause.total_seconds():.0f} s"
            log.warning("%d run(s) ended before they began: their events are launched %s", len(lost), again)
            end_launches(self._engine, lost, wait=pause)

    def _next_pause(self) -> timedelta:
        """Until the events of a run that never began are launched again."""
        now = time.monotonic()
        if now - self._lost_at > 2 * LONGEST_PAUSE.total_seconds():
            self._pause = timedelta()
        pause, self._lost_at = self._pause, now
        self._pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        return pause


def _by_run(claims: Sequence[Claim]) -> list[list[Claim]]:
    """One run for all, but for objects whose runs got lost: those get one each."""
    together = [claim for claim in claims if claim.lost_runs < ALONE_AFTER_LOST_RUNS]
    alone = [[claim] for claim in claims if claim.lost_runs >= ALONE_AFTER_LOST_RUNS]
    return [together, *alone] if together else alone


def _run_config(fences: Sequence[int]) -> dict[str, object]:
    return {"ops": {"claimed_objects": {"config": {"fences": list(fences)}}}}


def _tags(claims: Sequence[Claim]) -> Mapping[str, str]:
    """What the run is about, as far as all of its objects agree."""
    tags = NAMES.lane_tags(Lane.LIVE)
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
