"""What the tables say about the health of the whole, for every half minute: by a bounded number of queries by index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from sqlalchemy import Connection, and_, func, literal, or_, select, true
from sqlalchemy.dialects.postgresql import INTERVAL

from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.strava.quota.windows import window_at
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.app_status import AppStatus, load_status
from strava_pipeline.warehouse.quota.outages import load_outage
from strava_pipeline.warehouse.quota.strava_clock import load_clock
from strava_pipeline.warehouse.quota.windows import uses_of_all
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.schema.wish_tables import STUCK_AFTER, imports
from strava_pipeline.warehouse.states import (
    OPEN_STATES,
    WITHOUT_GRANT,
    ErrorClass,
    EventSource,
    EventState,
    GrantState,
    MailState,
    RejectReason,
    SendState,
    WaitingFor,
)
from strava_pipeline.warehouse.watch.deliveries import RecentDeliveries, recent_deliveries
from strava_pipeline.warehouse.watch.heartbeats import Heartbeat, heartbeats_of

# The last so many refreshes tell whether tokens can be refreshed; older ones tell nothing of now.
REFRESHES = 3
REFRESHED_WITHIN = timedelta(hours=6)
# The last so many events tell how long one takes.
PROCESSED = 20
PROCESSED_WITHIN = timedelta(hours=1)
CALLS_WITHIN = timedelta(minutes=15)
# A call without an answer by then gets none.
ANSWERED_WITHIN = timedelta(minutes=1)
DELIVERED_WITHIN = timedelta(minutes=15)
FOREIGN_WITHIN = timedelta(hours=1)
MAILS_WITHIN = timedelta(hours=1)
# A mail that was tried so often meets more than a moment's fault.
OFTEN_TRIED = 3
_events = webhook_events.c
_WAITS_FOR_OPERATOR = (_events.state == EventState.DEAD, _events.redrive_at.is_(None))


@dataclass(frozen=True)
class Refresh:
    """One refresh of an athlete's tokens: when (UTC), and why it failed; ``error`` is ``None`` if it did not."""

    at: datetime
    error: str | None


@dataclass(frozen=True)
class LostGrant:
    """An athlete who must connect again, since when (UTC; ``None``: that is not known), and Strava's words."""

    athlete_id: int
    since: datetime | None
    reason: str | None


@dataclass(frozen=True)
class Due:
    """Events that wait for nothing but us: how many, and since when the first of them is due (UTC)."""

    events: int = 0
    since: datetime | None = None


@dataclass(frozen=True)
class Processing:
    """How long the last events took from receipt to their end: how many were looked at, and the median, s."""

    events: int = 0
    median_s: float = 0.0


@dataclass(frozen=True)
class Calls:
    """The last calls to Strava: how many ended, and how many of these had no answer, or one that is Strava's fault."""

    ended: int = 0
    failed: int = 0


@dataclass(frozen=True)
class FullestWindow:
    """The window of Strava's that is used most: whose it is, its length (s), and which share of it is used."""

    scope: str
    length_s: int
    used: float


@dataclass(frozen=True)
class StuckImport:
    """An import whose runs make no progress: how many in a row, why the last one ended, and its id, if one began."""

    athlete_id: int
    attempts: int
    error: str | None
    run_id: str | None = None


@dataclass(frozen=True)
class FailingMails:
    """Mails that were given up lately, those that wait after several tries, and why the last of either failed."""

    given_up: int = 0
    waiting: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Situation:
    """What the tables say at a ``moment`` (the database's clock, UTC).

    ``refreshes``: the last ones, newest first, but those that failed by the athlete's doing. ``granted``: how many
    athletes are connected or must connect again; 0 where nobody asks, because fewer than two must.
    ``dead_letters``: those that wait for the operator, by class, and the run that had the last of them.
    ``live_waiting``: events that wait for quota. ``foreign_deliveries``: those of another subscription.
    """

    moment: datetime
    outages: Mapping[Service, Outage]
    app: AppStatus
    refreshes: tuple[Refresh, ...] = ()
    lost_grants: tuple[LostGrant, ...] = ()
    granted: int = 0
    due: Due = Due()
    dead_letters: Mapping[ErrorClass, int] | None = None
    dead_letter_run: str | None = None
    heartbeats: tuple[Heartbeat, ...] = ()
    fullest: FullestWindow | None = None
    live_waiting: int = 0
    processing: Processing = Processing()
    calls: Calls = Calls()
    stuck_imports: tuple[StuckImport, ...] = ()
    mails: FailingMails = FailingMails()
    deliveries: tuple[RecentDeliveries, ...] = ()
    foreign_deliveries: tuple[RecentDeliveries, ...] = ()


def read_situation(connection: Connection, settings: Settings) -> Situation:
    """Read what is looked at every half minute."""
    moment = now(connection)
    lost = _lost_grants(connection)
    app = load_status(connection)
    return Situation(
        moment=moment,
        outages={Service.API: app.outage, Service.OAUTH: load_outage(connection, Service.OAUTH)},
        app=app,
        refreshes=_refreshes(connection, moment),
        lost_grants=lost,
        granted=_granted(connection) if len(lost) > 1 else 0,
        due=_due(connection, moment),
        dead_letters=_dead_letters(connection),
        dead_letter_run=_dead_letter_run(connection),
        heartbeats=tuple(heartbeats_of(connection, moment - timedelta(days=1))),
        fullest=_fullest_window(connection, RateLimits.from_settings(settings), moment),
        live_waiting=_live_waiting(connection, moment),
        processing=_processing(connection, moment),
        calls=_calls(connection, moment),
        stuck_imports=_stuck_imports(connection),
        mails=_failing_mails(connection, moment),
        deliveries=tuple(recent_deliveries(connection, moment - DELIVERED_WITHIN)),
        foreign_deliveries=_foreign_deliveries(connection, moment, settings.webhook_subscription_id),
    )


def _refreshes(connection: Connection, moment: datetime) -> tuple[Refresh, ...]:
    c = token_audit.c
    # An athlete who has connected again since had lost the grant before, perhaps.
    has_ended = or_(users.c.state != GrantState.ACTIVE, users.c.granted_at > c.at)
    theirs = select(users.c.athlete_id).where(users.c.athlete_id == c.athlete_id, has_ended)
    rows = connection.execute(
        select(c.at, c.outcome, c.detail)
        .where(c.at > moment - REFRESHED_WITHIN, c.operation == "refresh")
        .where(or_(c.outcome != "failed", ~theirs.exists()))
        .order_by(c.at.desc())
        .limit(REFRESHES)
    )
    return tuple(Refresh(row.at, (row.detail or "unknown") if row.outcome == "failed" else None) for row in rows)


def _lost_grants(connection: Connection) -> tuple[LostGrant, ...]:
    c = token_audit.c
    last = (
        select(c.at, c.detail)
        .where(c.athlete_id == users.c.athlete_id, c.operation == "refresh", c.outcome == "failed")
        .order_by(c.at.desc())
        .limit(1)
        .lateral("last")
    )
    rows = connection.execute(
        select(users.c.athlete_id, last.c.at, last.c.detail)
        .select_from(users.outerjoin(last, true()))
        .where(users.c.state == GrantState.NEEDS_REAUTH)
        .order_by(users.c.athlete_id)
    )
    return tuple(LostGrant(*row) for row in rows)


def _granted(connection: Connection) -> int:
    count = select(func.count()).select_from(users).where(users.c.state.not_in(WITHOUT_GRANT))
    return int(connection.execute(count).scalar_one())


def _due(connection: Connection, moment: datetime) -> Due:
    """Deliveries that should be at work by now; upkeep's findings and replayed events may wait for their turn."""
    since = func.coalesce(_events.not_before, _events.received_at)
    is_due = and_(
        _events.state.in_(OPEN_STATES),
        _events.source == EventSource.WEBHOOK,
        since <= moment,
        func.coalesce(_events.waiting_for, "") != WaitingFor.REPLAY,
    )
    row = connection.execute(select(func.count(), func.min(since)).where(is_due)).one()
    return Due(*row)


def _dead_letters(connection: Connection) -> dict[ErrorClass, int]:
    # Of which class an old one is, may not be known.
    known = func.coalesce(_events.error_class, ErrorClass.PERMANENT)
    rows = connection.execute(
        select(known.label("known"), func.count().label("events")).where(*_WAITS_FOR_OPERATOR).group_by("known")
    )
    return {ErrorClass(row.known): row.events for row in rows}


def _dead_letter_run(connection: Connection) -> str | None:
    last = select(_events.run_id).where(*_WAITS_FOR_OPERATOR).order_by(_events.finished_at.desc()).limit(1)
    run_id: str | None = connection.execute(last).scalar()
    return run_id


def _fullest_window(connection: Connection, limits: RateLimits, moment: datetime) -> FullestWindow | None:
    now_there = load_clock(connection).now(moment)
    found = [
        FullestWindow(scope, use.window.length_s, 1 - limits.room(use) / max(1, limits.limit(use)))
        for scope, use in uses_of_all(connection, [window_at(now_there, length) for length in limits.lengths])
    ]
    return max(found, key=lambda window: window.used, default=None)


def _live_waiting(connection: Connection, moment: datetime) -> int:
    waits = and_(
        _events.state == EventState.WAITING,
        _events.waiting_for == WaitingFor.QUOTA,
        _events.not_before > moment,
        _events.source == EventSource.WEBHOOK,
    )
    return int(connection.execute(select(func.count()).select_from(webhook_events).where(waits)).scalar_one())


def _processing(connection: Connection, moment: datetime) -> Processing:
    """The last deliveries that took effect at the first try, without waiting for Strava."""
    last = (
        select((_events.finished_at - _events.received_at).label("took"))
        .where(
            _events.state == EventState.DONE,
            _events.finished_at > moment - PROCESSED_WITHIN,
            _events.source == EventSource.WEBHOOK,
            _events.waits == 0,
            _events.attempts == 0,
        )
        .order_by(_events.finished_at.desc())
        .limit(PROCESSED)
        .subquery()
    )
    median = func.percentile_cont(0.5, type_=INTERVAL).within_group(last.c.took)
    events, took = connection.execute(select(func.count(), func.extract("epoch", median)).select_from(last)).one()
    return Processing(events, float(took or 0.0))


def _calls(connection: Connection, moment: datetime) -> Calls:
    c = api_calls.c
    unanswered = and_(c.status.is_(None), or_(c.settled_at.is_not(None), c.reserved_at < moment - ANSWERED_WITHIN))
    failed = or_(unanswered, c.status >= HTTPStatus.INTERNAL_SERVER_ERROR.value)
    row = connection.execute(
        select(func.count().filter(or_(unanswered, c.status.is_not(None))), func.count().filter(failed)).where(
            c.reserved_at > moment - CALLS_WITHIN
        )
    ).one()
    return Calls(*row)


def _stuck_imports(connection: Connection) -> tuple[StuckImport, ...]:
    c = imports.c
    is_connected = select(users.c.athlete_id).where(
        users.c.athlete_id == c.athlete_id, users.c.state == GrantState.ACTIVE
    )
    rows = connection.execute(
        # The number stands in the query, as in the index.
        select(c.athlete_id, func.max(c.attempts), func.max(c.error), func.max(c.run_id))
        .where(c.attempts >= literal(STUCK_AFTER, literal_execute=True), c.paused_at.is_(None), is_connected.exists())
        .group_by(c.athlete_id)
        .order_by(c.athlete_id)
    )
    return tuple(StuckImport(*row) for row in rows)


def _failing_mails(connection: Connection, moment: datetime) -> FailingMails:
    """Mails to athletes, and mails of alerts."""
    since = moment - MAILS_WITHIN
    n, m = notifications.c, alert_messages.c
    given_up = and_(n.finished_at > since, n.state == MailState.FAILED)
    tried = and_(n.state == MailState.PENDING, n.next_try_at.is_not(None), n.attempts >= OFTEN_TRIED)
    own_given_up = and_(m.finished_at > since, m.mail_state == SendState.FAILED)
    own_tried = and_(m.finished_at.is_(None), m.mail_state == SendState.PENDING, m.attempts >= OFTEN_TRIED)
    counts = [
        connection.execute(select(func.count(), func.max(reason)).where(condition)).one()
        for condition, reason in (
            (given_up, n.reason),
            (own_given_up, m.mail_error),
            (tried, n.reason),
            (own_tried, m.mail_error),
        )
    ]
    reasons = [reason for _, reason in counts if reason]
    return FailingMails(counts[0][0] + counts[1][0], counts[2][0] + counts[3][0], reasons[0] if reasons else None)


def _foreign_deliveries(connection: Connection, moment: datetime, ours: int | None) -> tuple[RecentDeliveries, ...]:
    """Deliveries that were rejected as of another subscription, and would be now."""
    recent = recent_deliveries(connection, moment - FOREIGN_WITHIN)
    return tuple(
        each for each in recent if each.reason == RejectReason.SUBSCRIPTION and each.subscription_id != ours is not None
    )
