"""Counts and times that metrics show as they are now, each found by an index or in a table of few rows.

:func:`read_counts` is for every quarter of a minute; :func:`read_slow_counts` looks at each athlete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, and_, case, exists, func, or_, select, union_all

from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits, WindowUse, busy_day_profile
from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.strava.quota.windows import APP, Window, window_at
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.wishes import LONGEST_REST
from strava_pipeline.warehouse.inbox.overview import waiting_events
from strava_pipeline.warehouse.metric_totals import Labels, PeriodicJob, Total, read_successes, read_totals
from strava_pipeline.warehouse.progress.job_progress import backfill_progress
from strava_pipeline.warehouse.quota import api_calls
from strava_pipeline.warehouse.quota.app_status import AppStatus, load_status
from strava_pipeline.warehouse.quota.outages import load_outage
from strava_pipeline.warehouse.quota.windows import newest_limits, uses_of_all
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.check_tables import month_checks
from strava_pipeline.warehouse.schema.columns import has_come
from strava_pipeline.warehouse.schema.grant_tables import erasures, users
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import (
    OPEN_STATES,
    ErrorClass,
    EventState,
    GrantState,
    ImportState,
    ImportStep,
    MailState,
)
from strava_pipeline.warehouse.upkeep.load import UpkeepLoad, upkeep_load
from strava_pipeline.warehouse.watch.alerts import alert_counts

# States of an import beside those of its row.
RESTS, PAUSED = "rests", "paused"
IMPORT_STATES = (*ImportState, RESTS, PAUSED)
READ, OVERALL = "read", "overall"
WINDOWS = ("short", "long")
_events = webhook_events.c


@dataclass(frozen=True)
class QuotaUse:
    """Use of the current window of one length, summed over ``scopes`` where each athlete has limits of their own.

    ``limit``, ``used``: calls by kind, read and overall; the latter only where Strava names that limit. ``blocked``:
    scopes that a 429 has closed.
    """

    window: Window
    scopes: int
    limit: Mapping[str, int]
    used: Mapping[str, int]
    blocked: int


@dataclass(frozen=True)
class Counts:
    """What the tables hold at one moment; times in UTC, ``None`` where there is no such thing.

    ``totals``: sums by labels. ``succeeded``: when each job was last done. ``quota``: by the window's name.
    ``athletes``, ``inbox``, ``imports``: by state. ``waiting``: events that are not due yet, by what they wait for.
    ``dead_letters``: those that are there, by class. ``mails``: pending ones by kind. ``away``: since when by service;
    ``None``: it answers. ``oldest_open_at``: when the first open event arrived. ``imports_end_at``: when the last of
    the imports under way may be complete. ``alerts``: those that are on, by rule.
    """

    totals: Mapping[Total, Mapping[Labels, float]]
    succeeded: Mapping[PeriodicJob, datetime]
    quota: Mapping[str, QuotaUse]
    athletes: Mapping[str, int]
    erasures: int
    inbox: Mapping[str, int]
    waiting: Mapping[str, int]
    dead_letters: Mapping[str, int]
    oldest_open_at: datetime | None
    last_event_at: datetime | None
    imports: Mapping[str, int]
    imports_end_at: datetime | None
    mails: Mapping[str, int]
    last_mail_at: datetime | None
    alert_messages: int
    away: Mapping[Service, datetime | None]
    app_inactive_since: datetime | None
    alerts: Mapping[str, int]


@dataclass(frozen=True)
class SlowCounts:
    """What takes longer to read: calls kept for the live lane by window, upkeep, months, and what is put aside by kind.

    ``months_left``: months of athletes that lacked, at their last check, details or samples that an import wants.
    """

    reserve: Mapping[str, int]
    upkeep: UpkeepLoad
    months_left: int
    put_aside: Mapping[str, int]


def read_counts(connection: Connection, settings: Settings) -> Counts:
    """Read what metrics show of the tables, by a bounded number of short queries."""
    moment = now(connection)
    app = load_status(connection)
    inbox, dead_letters = _inbox(connection)
    return Counts(
        totals=read_totals(connection),
        succeeded=read_successes(connection),
        quota=_quota(connection, RateLimits.from_settings(settings), app.clock, moment),
        athletes=_by_state(connection, users.c.state),
        erasures=connection.execute(select(func.count()).select_from(erasures)).scalar_one(),
        inbox=inbox,
        waiting={each.waiting_for: each.events for each in waiting_events(connection)},
        dead_letters=dead_letters,
        oldest_open_at=_oldest_open(connection),
        last_event_at=_last_event(connection),
        imports=_imports(connection, moment),
        imports_end_at=_imports_end(connection),
        mails=_by_state(connection, notifications.c.kind, notifications.c.state == MailState.PENDING),
        last_mail_at=_last_mail(connection),
        alert_messages=_count(connection, alert_messages.c.finished_at.is_(None)),
        away=_away(connection, app),
        app_inactive_since=app.inactive_since,
        alerts=alert_counts(connection),
    )


def read_slow_counts(connection: Connection, settings: Settings) -> SlowCounts:
    """Read what looks at each athlete, or at the calls of two weeks."""
    moment = now(connection)
    limits = RateLimits.from_settings(settings)
    lacks = or_(
        and_(
            month_checks.c.lacks_detail > 0,
            month_checks.c.lacks_detail > month_checks.c.detail_aside,
            _is_wanted(ImportStep.DETAIL),
        ),
        and_(
            month_checks.c.lacks_samples > 0,
            month_checks.c.lacks_samples > month_checks.c.samples_aside,
            _is_wanted(ImportStep.STREAMS),
        ),
    )
    return SlowCounts(
        reserve=_reserve(connection, limits, moment),
        upkeep=upkeep_load(connection, settings, moment),
        months_left=_count(connection, lacks),
        put_aside=_by_state(connection, put_aside.c.kind),
    )


def _is_wanted(step: ImportStep) -> ColumnElement[bool]:
    """Whether an import wants this step of a checked month."""
    return exists().where(
        imports.c.athlete_id == month_checks.c.athlete_id,
        imports.c.steps.contains([step]),
        or_(imports.c.first_month.is_(None), imports.c.first_month <= month_checks.c.month),
        or_(imports.c.last_month.is_(None), imports.c.last_month >= month_checks.c.month),
    )


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).where(condition)).scalar_one())


def _by_state(connection: Connection, state: Column[str], *conditions: ColumnElement[bool]) -> dict[str, int]:
    rows = connection.execute(select(state, func.count()).where(*conditions).group_by(state))
    return {row[0]: row[1] for row in rows}


def _inbox(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Events by state, but for those that are done, and dead ones by class."""
    # Each part is in an index of its own.
    parts = (
        _events.state.in_(OPEN_STATES),
        _events.state.in_((EventState.DEAD, EventState.PARKED)),
        _events.state == EventState.DISCARDED,
    )
    counts = (select(_events.state, _events.error_class, func.count()).where(part) for part in parts)
    states: dict[str, int] = {}
    classes: dict[str, int] = {}
    grouped = union_all(*(count.group_by(_events.state, _events.error_class) for count in counts))
    for state, error_class, count in connection.execute(grouped):
        states[state] = states.get(state, 0) + count
        if state == EventState.DEAD:
            # Of which class an old one is, may not be known.
            known = error_class or ErrorClass.PERMANENT
            classes[known] = classes.get(known, 0) + count
    return states, classes


def _oldest_open(connection: Connection) -> datetime | None:
    # Events are numbered as they arrive.
    is_open = _events.state.in_(OPEN_STATES)
    return connection.execute(select(_events.received_at).where(is_open).order_by(_events.id).limit(1)).scalar()


def _last_event(connection: Connection) -> datetime | None:
    return connection.execute(select(_events.received_at).order_by(_events.id.desc()).limit(1)).scalar()


def _imports(connection: Connection, moment: datetime) -> dict[str, int]:
    c = imports.c
    is_connected = exists().where(users.c.athlete_id == c.athlete_id, users.c.state == GrantState.ACTIVE)
    state = case(
        (c.paused_at.is_not(None), PAUSED),
        (and_(c.state == ImportState.DUE, or_(~is_connected, ~has_come(c.next_at, moment, LONGEST_REST))), RESTS),
        else_=c.state,
    )
    rows = connection.execute(select(state.label("course"), func.count()).group_by("course"))
    return {row[0]: row[1] for row in rows}


def _imports_end(connection: Connection) -> datetime | None:
    ends = (run.estimated_end for run in backfill_progress(connection))
    return max(filter(None, ends), default=None)


def _last_mail(connection: Connection) -> datetime | None:
    n = notifications.c
    is_sent = and_(n.state == MailState.SENT, n.finished_at.is_not(None))
    return connection.execute(select(n.finished_at).where(is_sent).order_by(n.finished_at.desc()).limit(1)).scalar()


def _away(connection: Connection, app: AppStatus) -> dict[Service, datetime | None]:
    return {Service.API: app.outage.away_since, Service.OAUTH: load_outage(connection, Service.OAUTH).away_since}


def _names(limits: RateLimits) -> dict[int, str]:
    return dict(zip(limits.lengths, WINDOWS, strict=True))


def _uses(
    connection: Connection, limits: RateLimits, clock: StravaClock, moment: datetime
) -> dict[Window, dict[str, WindowUse]]:
    """The current windows, each with its use by scope."""
    current = [window_at(clock.now(moment), length) for length in limits.lengths]
    uses: dict[Window, dict[str, WindowUse]] = {window: {} for window in current}
    for scope, use in uses_of_all(connection, current):
        if (scope == APP) == (limits.scope is QuotaScope.APP):
            uses[use.window][scope] = use
    if limits.scope is QuotaScope.APP:
        for window, by_scope in uses.items():
            if not by_scope:
                read, overall = newest_limits(connection, [APP], window).get(APP, (None, None))
                by_scope[APP] = WindowUse(window, read_limit=read, overall_limit=overall)
    return uses


def _quota(connection: Connection, limits: RateLimits, clock: StravaClock, moment: datetime) -> dict[str, QuotaUse]:
    names, there = _names(limits), clock.now(moment)
    found = {}
    for window, by_scope in _uses(connection, limits, clock, moment).items():
        uses = by_scope.values()
        found[names[window.length_s]] = QuotaUse(
            window,
            len(uses),
            limit={READ: sum(map(limits.limit, uses))} | _overall(uses, lambda use: use.overall_limit or 0),
            used={READ: sum(use.booked + use.read_foreign for use in uses)}
            | _overall(uses, lambda use: use.booked + use.overall_foreign),
            blocked=sum(use.blocked_until is not None and use.blocked_until > there for use in uses),
        )
    return found


def _overall(uses: Collection[WindowUse], count: Callable[[WindowUse], int]) -> dict[str, int]:
    """The sum over the windows of which Strava names the limit of all calls, if there are any."""
    known = [count(use) for use in uses if use.overall_limit is not None]
    return {OVERALL: sum(known)} if known else {}


def _reserve(connection: Connection, limits: RateLimits, moment: datetime) -> dict[str, int]:
    clock, day_s = load_status(connection).clock, limits.long_window_s
    uses = _uses(connection, limits, clock, moment)
    if limits.scope is QuotaScope.APP:
        calls = {APP: api_calls.live_calls(connection, None, day_s, moment)}
    else:
        ids = {scope: int(scope.partition(":")[2]) for by_scope in uses.values() for scope in by_scope}
        by_athlete = api_calls.live_calls_by_athlete(connection, list(ids.values()), day_s, moment)
        calls = {scope: by_athlete[athlete_id] for scope, athlete_id in ids.items()}
    busy_days = {scope: busy_day_profile(days) for scope, days in calls.items()}
    return {
        _names(limits)[window.length_s]: sum(
            math.ceil(limits.reserve(use, busy_days[scope]).at(use.share_left(clock.now(moment))))
            for scope, use in by_scope.items()
        )
        for window, by_scope in uses.items()
    }
