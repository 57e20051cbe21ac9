"""An installation: the functions that bridge, schedules and runs call, called when these would call them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any
from unittest import mock

import stamina
from sqlalchemy import Connection, Engine, and_, case, func, select
from stamina.instrumentation import set_on_retry_hooks

from strava_pipeline.defs.assets.lake import write_lake_month
from strava_pipeline.defs.attempts import MAX_RETRIES, Attempts
from strava_pipeline.defs.jobs.upkeep import why_no_run
from strava_pipeline.defs.resources import MAX_WAIT
from strava_pipeline.errors import DatabaseUnavailable, FencedOut, ImportStopped
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.months import Span
from strava_pipeline.names import Job
from strava_pipeline.settings import Settings
from strava_pipeline.strava.mapping.athlete import athlete_row
from strava_pipeline.strava.oauth import exchange_code
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.claims_at_work import work_on_claim
from strava_pipeline.sync.context import SpanResult, SyncContext, open_sync
from strava_pipeline.sync.erasing import finish_erasures
from strava_pipeline.sync.failed_claims import FailedClaim, Outcome
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.sync.months_at_work import FailedMonth, each_month, raise_failed
from strava_pipeline.sync.upkeep import Contexts, work_off
from strava_pipeline.warehouse import work_leases
from strava_pipeline.warehouse.activities.lake_months import outdated_months
from strava_pipeline.warehouse.athletes.dagster_tasks import set_task
from strava_pipeline.warehouse.athletes.profiles import store_athlete
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.imports import launches, runs, wishes
from strava_pipeline.warehouse.imports.launches import Launch
from strava_pipeline.warehouse.imports.wishes import make_import
from strava_pipeline.warehouse.inbox import claims as inbox_claims
from strava_pipeline.warehouse.inbox.claims import begin_run, refresh_claim
from strava_pipeline.warehouse.inbox.events import Stored, store_events
from strava_pipeline.warehouse.quota import waiting
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.retention import earliest_month
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import (
    DagsterTask,
    EventState,
    ImportState,
    ImportStep,
    MadeBy,
    PausedBy,
    UpkeepKind,
)
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline_tests.defs.own_definitions import NAMES, PLAN
from strava_pipeline_tests.simulated.crew import Crew
from strava_pipeline_tests.simulated.dagster import SimulatedDagster
from strava_pipeline_tests.simulated.wsgi_session import SimulatedStrava
from webhook_bridge import dagster_tasks, dispatcher
from webhook_bridge import imports as bridge_imports
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.dispatcher import Dispatcher
from webhook_bridge.event_body import parse_event
from webhook_bridge.imports import launch_imports

# Longer than in operation, and so are leases: many short waits would take most of the simulation's time.
SLICE_SECONDS = 900.0
LEASE = timedelta(hours=1)
UPKEEP_EVERY_S = 3 * 3600.0
UPKEEP_WORKS_FOR_S = 600.0
RETENTION_EVERY_S = 86_400.0
LOOK_AT_LEAST_EVERY_S = 3600.0
# Whether details are to be fetched anew; what else upkeep does has its moment.
LOOK_FOR_DETAILS_EVERY_S = 12 * 3600.0
UPKEEP, RETENTION, LAKE = "upkeep", "retention", "update_lake"
BACKOFF_S = 600.0


class Due(StrEnum):
    """What may be due."""

    EVENTS = "events"
    IMPORTS = "imports"
    UPKEEP = "upkeep"
    RETENTION = "retention"


@dataclass
class Installation:
    """The bridge's threads, the schedules, and what their runs do."""

    settings: Settings
    engine: Engine
    crew: Crew
    strava: SimulatedStrava
    dagster: SimulatedDagster
    has_upkeep: bool = True
    _dispatcher: Dispatcher = field(init=False)
    _dagster_tasks: DagsterTasks = field(init=False)
    _looked_at: float = 0.0
    _retention_at: float = 0.0

    def __post_init__(self) -> None:
        self._dispatcher = Dispatcher(self.settings, self.engine)
        self._dagster_tasks = DagsterTasks(self.settings, self.engine)
        self.dagster.jobs = {
            Job.WEBHOOK_SYNC: self._webhook_sync,
            Job.NEWEST_MONTH: self._import,
            Job.IMPORT_HISTORY: self._import,
            UPKEEP: self._upkeep,
            RETENTION: lambda *_: remove_old_records(self.engine),
            LAKE: self._update_lake,
        }

    def live(self) -> None:
        """Look after everything that is due, for ever: the bridge's threads and the schedules."""
        while True:
            try:
                self.dagster.start_queued()
                self._do_due()
                due_s = self._until_due()
            except (DagsterUnavailable, DatabaseUnavailable):
                due_s = BACKOFF_S
            self.crew.time.nap(max(1.0, due_s))

    def connect(self, code: str, scopes: tuple[str, ...]) -> None:
        """Connect an athlete, as the bridge does, and ask for the whole history, with the lake."""
        tokens = open_tokens(self.settings, self.engine)
        exchange = partial(exchange_code, self.settings, self.strava.session(), code)
        _, grant = tokens.store_exchange(exchange, scopes, also=_ask_for_import)
        with self.engine.begin() as connection:
            store_athlete(connection, athlete_row(grant.athlete or {}), now(connection))
        self.crew.time.wake()

    def pause(self, athlete_id: int) -> None:
        """Pause an athlete's imports, as the operator does on the page."""
        with self.engine.begin() as connection:
            wishes.pause(connection, athlete_id, PausedBy.OPERATOR)

    def resume(self, athlete_id: int) -> None:
        """Resume an athlete's imports, as the operator does on the page."""
        with self.engine.begin() as connection:
            wishes.resume(connection, athlete_id)
        self.crew.time.wake()

    def deliver(self, event: JsonObject, *, signed: bool) -> Stored:
        """Store a delivery; ``DatabaseUnavailable`` if the bridge answers 503."""
        with autocommit(self.engine) as connection:
            (stored,) = store_events(connection, [parse_event(json.dumps(event).encode(), signed=signed)])
        self.crew.time.wake()
        return stored.outcome

    def _do_due(self) -> None:
        """Do what bridge and schedules do, as far as the tables show that there is something to do."""
        moment = self.crew.time.now
        due_kinds = {kind for kind, at in self._moments() if at <= moment}
        if due_kinds & {Due.IMPORTS, Due.RETENTION}:
            self._dagster_tasks.run_once()
        if Due.EVENTS in due_kinds:
            self._dispatcher.look_after_launches()
            while self._dispatcher.dispatch_once():
                pass
        if Due.IMPORTS in due_kinds:
            dagster = DagsterServer.from_settings(self.settings)
            launch_imports(dagster, self.engine, earliest_month(self.settings))
        if Due.RETENTION in due_kinds:
            for job in (RETENTION, LAKE):
                self.dagster.launch_run(None, None, job, {}, {})
            self._retention_at = moment + RETENTION_EVERY_S
        if Due.UPKEEP in due_kinds:
            self._launch_upkeep()

    def _launch_upkeep(self) -> None:
        """What the schedule of upkeep does."""
        if why_no_run(self.dagster.instance, self.engine, PLAN) is None:
            self.dagster.launch_run(None, None, UPKEEP, {}, NAMES.lane_tags(Lane.RECONCILE))
        self._looked_at = self.crew.time.now

    def _moments(self) -> list[tuple[Due, float]]:
        """By kind, when something is due (epoch s), as far as the tables tell; what is past may be under way."""
        c, i = webhook_events.c, imports.c
        is_due = and_(i.state == ImportState.DUE, i.paused_at.is_(None))
        events = select(
            func.least(
                func.min(case((c.state == EventState.RECEIVED, c.received_at), else_=c.not_before)),
                func.min(c.lease_until),
                func.min(c.redrive_at),
            )
        ).where(c.state != EventState.DONE)
        wanted = select(func.min(case((is_due, i.next_at), else_=i.lease_until)))
        # Details are looked for now and then, and when there is something else to do.
        tasks = select(func.min(upkeep.c.due_at)).where(upkeep.c.kind != UpkeepKind.DETAILS)
        found = [(Due.RETENTION, self._retention_at)]
        kinds = {Due.EVENTS: events, Due.IMPORTS: wanted} | ({Due.UPKEEP: tasks} if self.has_upkeep else {})
        query = select(*[each.scalar_subquery() for each in kinds.values()])
        with autocommit(self.engine) as connection:
            moments = connection.execute(query).one()
        found += [(kind, at.timestamp()) for kind, at in zip(kinds, moments, strict=True) if at is not None]
        if self.has_upkeep:
            found.append((Due.UPKEEP, self._looked_at + LOOK_FOR_DETAILS_EVERY_S))
        next_look = self._looked_at + UPKEEP_EVERY_S
        return [(kind, max(at, next_look) if kind is Due.UPKEEP else at) for kind, at in found]

    def _until_due(self) -> float:
        """Seconds to the next moment at which something is due."""
        moment = self.crew.time.now
        # What is due and not taken waits for the end of a run, which wakes us.
        return min([LOOK_AT_LEAST_EVERY_S, *(at - moment for _, at in self._moments() if at > moment)])

    def _import(self, config: Mapping[str, Any], run_id: str) -> None:
        """What the op of an import's job does."""
        launch, floor = Launch(**config), earliest_month(self.settings)
        try:
            task = runs.begin(self.engine, launch, run_id, floor)
            if task is not None:
                hooks = ImportHooks(lambda _: None, lambda *_: None, self._write_lake)
                work_on_import(self._sync(Lane.BACKFILL), task, floor, hooks)
        except ImportStopped:
            return

    def _write_lake(self, span: Span) -> SpanResult:
        return SpanResult(span, stored=int(write_lake_month(self.engine, self.settings, span).written))

    def _update_lake(self, _: Mapping[str, Any], __: str) -> None:
        """What the op of the job update_lake does."""
        with autocommit(self.engine) as connection:
            outdated = outdated_months(connection, is_set=self.settings.lake_url is not None)
        written = list(each_month(self.engine, ImportStep.LAKE, outdated, self._write_lake))
        raise_failed([month for month in written if isinstance(month, FailedMonth)], len(written))

    def _upkeep(self, _: Mapping[str, Any], __: str) -> None:
        """What the op of the job upkeep does."""
        ends_at = self.crew.time.now + UPKEEP_WORKS_FOR_S

        def go_on() -> bool:
            return self.crew.time.now < ends_at

        contexts = Contexts(
            quick=self._sync(Lane.RECONCILE),
            spare=self._sync(Lane.BACKFILL, timedelta(0)),
        )
        finish_erasures(self.settings, self.engine, go_on)
        work_off(contexts, self.settings, go_on)

    def _sync(self, lane: Lane, max_wait: timedelta | None = None) -> SyncContext:
        wait = MAX_WAIT[lane] if max_wait is None else max_wait
        return open_sync(self.settings, self.engine, lane, wait, self.crew.pauses)

    def _webhook_sync(self, config: Mapping[str, Any], run_id: str) -> None:
        """What the ops of the job webhook_sync do."""
        for claim in begin_run(self.engine, config["fences"], run_id):
            self._sync_object(claim.fence, run_id)

    def _sync_object(self, fence: int, run_id: str) -> None:
        keep_data = not self.settings.purge_on_deauthorization
        for retry in range(MAX_RETRIES + 1):
            may_retry = Attempts(ended=2 * retry, outages=retry).may_retry
            try:
                claim = refresh_claim(self.engine, fence)
                if claim is None:
                    return
                sync = self._sync(claim.lane)
                ended = work_on_claim(sync, claim, run_id, may_retry=may_retry, keep_data=keep_data)
            except FencedOut:
                return
            except DatabaseUnavailable as error:
                if not may_retry(error):
                    raise
            else:
                if not isinstance(ended, FailedClaim) or ended.outcome is not Outcome.RETRY:
                    return
            self.crew.sleep(2.0**retry)


def _ask_for_import(connection: Connection, athlete_id: int) -> None:
    set_task(connection, athlete_id, DagsterTask.REGISTER)
    make_import(connection, athlete_id, None, None, ImportStep, profile=True, by=MadeBy.CONNECT)


def simulated_services(strava: SimulatedStrava, dagster: SimulatedDagster) -> ExitStack:
    """Return a context in which Strava and Dagster are the simulated ones, and waits and leases are long."""
    stack = ExitStack()
    for target, name, value in (
        (waiting, "SLICE_SECONDS", SLICE_SECONDS),
        (work_leases, "LEASE", LEASE),
        (launches, "LEASE", LEASE),
        (runs, "LEASE", LEASE),
        (due, "LEASE", LEASE),
        (dispatcher, "find_place", dagster.find_place),
        (dispatcher, "launch_run", dagster.launch_run),
        (dispatcher, "runs_to_come", dagster.runs_to_come),
        (dagster_tasks, "add_athlete", dagster.change_partitions),
        (dagster_tasks, "remove_athlete", dagster.change_partitions),
        (dagster_tasks, "delete_runs", dagster.change_partitions),
        (dagster_tasks, "cover_last_materializations", dagster.change_partitions),
        (bridge_imports, "find_place", dagster.find_place),
        (bridge_imports, "launch_run", dagster.launch_run),
        (bridge_imports, "fate_of", dagster.fate_of),
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
