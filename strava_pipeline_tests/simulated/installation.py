"""An installation without Dagster: the same functions, called when the bridge and the schedules would call them."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock
from uuid import uuid4

import stamina
from sqlalchemy import Engine, func, select, union_all
from stamina.instrumentation import set_on_retry_hooks

from strava_pipeline.defs.resources import MAX_WAIT
from strava_pipeline.defs.steps import MAX_RETRIES
from strava_pipeline.errors import (
    DatabaseUnavailable,
    FencedOut,
    QuotaExhausted,
    RetriableStravaError,
    StravaPipelineError,
)
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.months import month_span, months_between
from strava_pipeline.names import ALL_ASSETS
from strava_pipeline.planned_runs import plan_side_by_side
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import exchange_code
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import (
    SyncContext,
    analyse_span,
    import_details,
    import_streams,
    import_summaries,
    open_sync,
)
from strava_pipeline.sync.claims_at_work import work_on_claim
from strava_pipeline.sync.failed_claims import FailedClaim, Outcome
from strava_pipeline.sync.reconcile import reconcile_athlete
from strava_pipeline.warehouse import work_leases
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox import claims as inbox_claims
from strava_pipeline.warehouse.inbox.claims import begin_run, claim_objects, has_due_events, refresh_claim
from strava_pipeline.warehouse.inbox.dead_letters import redrive_due
from strava_pipeline.warehouse.inbox.events import Stored, store_events
from strava_pipeline.warehouse.inbox.launches import end_launches, overdue_runs, record_run, release_claims
from strava_pipeline.warehouse.quota import waiting
from strava_pipeline.warehouse.retention import remove_old_records
from strava_pipeline.warehouse.schema.ops_tables import webhook_events
from strava_pipeline.warehouse.states import EventState
from strava_pipeline.warehouse.tokens.grants import active_athletes
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.wsgi_session import SimulatedStrava
from webhook_bridge.dispatcher import OBJECTS_PER_RUN
from webhook_bridge.event_body import parse_event

log = get_logger(__name__)

# Runs at work at a time, by pool; webhooks have what the pools leave.
SLOTS = {"webhooks": 3, "strava_api": 4, "upkeep": 1}
# Longer than in operation, and so are leases: many short waits would take most of the simulation's time.
SLICE_SECONDS = 900.0
LEASE = timedelta(hours=1)
UPKEEP_EVERY_S = 6 * 3600.0
RETENTION_EVERY_S = 86_400.0
LOOK_AT_LEAST_EVERY_S = 3600.0
DAGSTER_BACKOFF = timedelta(minutes=10)


@dataclass
class Installation:
    """Bridge, schedules and runs; ``is_dagster_away``: no run is launched."""

    settings: Settings
    engine: Engine
    crew: Crew
    strava: SimulatedStrava
    has_upkeep: bool = True
    is_dagster_away: bool = False
    failures: Counter[str] = field(default_factory=Counter)
    _queued: dict[str, deque[tuple[str, Callable[[], object]]]] = field(default_factory=dict)
    _at_work: Counter[str] = field(default_factory=Counter)
    _upkeep_at: float = 0.0
    _retention_at: float = 0.0

    def __post_init__(self) -> None:
        self._queued = {pool: deque() for pool in SLOTS}

    def live(self) -> None:
        """Look after everything that is due, for ever: the bridge's threads and the schedules."""
        while True:
            try:
                self._look()
                due_s = self._until_due()
            except DatabaseUnavailable:
                due_s = DAGSTER_BACKOFF.total_seconds()
            self.crew.time.nap(max(1.0, due_s))

    def connect(self, code: str, scopes: tuple[str, ...]) -> None:
        """Connect an athlete, as the bridge does, and import the whole history."""
        tokens = open_tokens(self.settings, self.engine)
        exchange = partial(exchange_code, self.settings, self.strava.session(), code)
        athlete_id, _ = tokens.store_exchange(exchange, scopes)
        first = datetime.combine(self.settings.history_start, datetime.min.time(), UTC)
        for run in plan_side_by_side(first, self.crew.time.moment, ALL_ASSETS):
            self._launch(
                "strava_api", f"backfill {athlete_id} {run}", partial(self._backfill, athlete_id, run.first, run.last)
            )

    def deliver(self, event: JsonObject, *, signed: bool) -> Stored:
        """Store a delivery; ``DatabaseUnavailable`` if the bridge answers 503."""
        with autocommit(self.engine) as connection:
            (stored,) = store_events(connection, [parse_event(json.dumps(event).encode(), signed=signed)])
        self.crew.time.wake()
        return stored

    def _look(self) -> None:
        now = self.crew.time.now
        if overdue := overdue_runs(self.engine):
            # A run begins when it is launched here, so one that has not begun was killed.
            end_launches(self.engine, overdue, wait=timedelta(0))
        self._dispatch()
        if now >= self._upkeep_at and not self.is_dagster_away:
            self._upkeep_at = now + UPKEEP_EVERY_S
            if self.has_upkeep:
                self._launch("upkeep", "reconcile", self._reconcile)
        if now >= self._retention_at and not self.is_dagster_away:
            self._retention_at = now + RETENTION_EVERY_S
            self._launch("webhooks", "retention", partial(remove_old_records, self.engine))
        self._start_queued()

    def _dispatch(self) -> None:
        with self.engine.begin() as connection:
            redrive_due(connection)
        while has_due_events(self.engine):
            claims = claim_objects(self.engine, OBJECTS_PER_RUN)
            if not claims:
                return
            fences = [claim.fence for claim in claims]
            if self.is_dagster_away:
                release_claims(self.engine, fences, wait=DAGSTER_BACKOFF, reason="Dagster cannot be reached")
                return
            run_id = str(uuid4())
            record_run(self.engine, fences, run_id)
            self._launch("webhooks", f"webhook_sync {run_id}", partial(self._webhook_sync, fences, run_id))

    def _until_due(self) -> float:
        """Seconds to the next moment at which something is due."""
        c = webhook_events.c
        times = [
            select(func.min(c.not_before).label("at")).where(c.state == EventState.WAITING),
            select(func.min(c.lease_until)).where(c.state == EventState.LAUNCHED),
            select(func.min(c.redrive_at)).where(c.state == EventState.DEAD),
        ]
        with autocommit(self.engine) as connection:
            found = connection.execute(union_all(*times)).scalars()
            moments: list[float] = [moment.timestamp() for moment in found if moment is not None]
        now = self.crew.time.now
        # What is due and not claimed waits for the end of another run, which wakes us.
        ahead = [moment for moment in (*moments, self._upkeep_at, self._retention_at) if moment > now]
        return min([LOOK_AT_LEAST_EVERY_S, *(moment - now for moment in ahead)])

    def _launch(self, pool: str, name: str, work: Callable[[], object]) -> None:
        self._queued[pool].append((name, work))
        self._start_queued()

    def _start_queued(self) -> None:
        for pool, queue in self._queued.items():
            while queue and self._at_work[pool] < SLOTS[pool] and not self.is_dagster_away:
                name, work = queue.popleft()
                self._at_work[pool] += 1
                self.crew.start(name, partial(self._run, name, work), partial(self._ended, pool))

    def _ended(self, pool: str) -> None:
        self._at_work[pool] -= 1
        self.crew.time.wake()

    def _run(self, name: str, work: Callable[[], object]) -> None:
        """One Dagster run: an error of ours fails it, an error nobody thought of ends the simulation."""
        try:
            work()
        except StravaPipelineError as error:
            log.warning("run %s failed: %s", name, error)
            self.failures[f"{name.split(maxsplit=1)[0]}: {type(error).__name__}"] += 1

    def _step(self, work: Callable[[], Any]) -> Any:
        """One step with its retries, as defs.steps.translate_faults has Dagster make them."""
        for retry in range(MAX_RETRIES):
            try:
                return work()
            except QuotaExhausted:
                raise
            except (RetriableStravaError, DatabaseUnavailable):
                self.crew.sleep(2.0**retry)
        return work()

    def _sync(self, lane: Lane) -> SyncContext:
        return open_sync(self.settings, self.engine, lane, MAX_WAIT[lane], self.crew.pauses)

    def _webhook_sync(self, fences: list[int], run_id: str) -> None:
        for claim in self._step(partial(begin_run, self.engine, fences, run_id)):
            self._step_of_claim(claim.fence, run_id)

    def _step_of_claim(self, fence: int, run_id: str) -> None:
        """What the op sync_object of the job webhook_sync does."""
        keep_data = not self.settings.purge_on_deauthorization
        for retry in range(MAX_RETRIES + 1):
            may_retry = retry < MAX_RETRIES
            try:
                claim = refresh_claim(self.engine, fence)
                if claim is None:
                    return
                ended = work_on_claim(self._sync(Lane.LIVE), claim, run_id, may_retry=may_retry, keep_data=keep_data)
            except FencedOut:
                return
            except DatabaseUnavailable:
                if not may_retry:
                    raise
            else:
                if not isinstance(ended, FailedClaim) or ended.outcome is not Outcome.RETRY:
                    return
            self.crew.sleep(2.0**retry)

    def _reconcile(self) -> None:
        with self.engine.connect() as connection:
            athletes = active_athletes(connection)
        for athlete_id in athletes:
            step = partial(reconcile_athlete, self._sync(Lane.RECONCILE), athlete_id, 1)
            self._run("reconcile", partial(self._step, step))
            self.crew.time.wake()

    def _backfill(self, athlete_id: int, first: datetime | None, last: datetime | None) -> None:
        sync = self._sync(Lane.BACKFILL)
        if first is None or last is None:
            self._step(partial(import_athlete, sync, athlete_id))
            return
        spans = [month_span(athlete_id, month) for month in months_between(first, last)]
        self._step(lambda: list(import_summaries(sync, spans)))
        for import_more in (import_details, import_streams):
            for span in spans:
                self._step(partial(import_more, sync, span))
        for span in spans:
            self._step(partial(analyse_span, self.engine, span))


def simulated_pace(strava: SimulatedStrava) -> ExitStack:
    """Return a context in which sessions lead to the simulated Strava, and waits and leases are long."""
    stack = ExitStack()
    for target, name, value in (
        (waiting, "SLICE_SECONDS", SLICE_SECONDS),
        (work_leases, "LEASE", LEASE),
        (inbox_claims, "WORK_LEASE", LEASE),
        (inbox_claims, "LAUNCH_LEASE", LEASE),
    ):
        stack.enter_context(mock.patch.object(target, name, value))
    stack.enter_context(mock.patch("strava_pipeline.sync.access.new_session", strava.session))
    # Waits of stamina would be real ones, and a year has many thousands.
    stack.enter_context(stamina.set_testing(True, attempts=4, cap=True))
    set_on_retry_hooks(())
    stack.callback(set_on_retry_hooks, None)
    return stack
