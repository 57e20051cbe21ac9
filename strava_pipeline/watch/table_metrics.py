"""The metrics that are read from the tables; several bridges tell the same, so Prometheus joins them by ``max``.

Counters and histograms are sums over all that has ended (:mod:`strava_pipeline.warehouse.metric_totals`), so they never
fall, whatever retention deletes. Times are moments in unix seconds, and left out where there is no such thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import Metric
from sqlalchemy import Connection

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.metric_totals import Labels, Total
from strava_pipeline.warehouse.watch.counts import Counts, SlowCounts, read_counts, read_slow_counts
from strava_pipeline.watch.families import Family, Kind
from strava_pipeline.watch.rules import RULES_BY_NAME
from strava_pipeline.watch.table_families import (
    ALERT_MESSAGES,
    ALERTS,
    ATHLETES,
    AWAY,
    AWAY_SINCE,
    CALL_SECONDS,
    CALLS,
    DEAD,
    DEATHS,
    ERASURES,
    EVENT_SECONDS,
    EVENTS,
    IMPORTS,
    IMPORTS_END,
    INACTIVE,
    INACTIVE_SINCE,
    INBOX,
    LAST_EVENT,
    MAILS,
    MAILS_ENDED,
    MAILS_PENDING,
    MONTHS_LEFT,
    OLDEST_OPEN,
    PUT_ASIDE,
    QUOTA_BLOCKED,
    QUOTA_END,
    QUOTA_LIMIT,
    QUOTA_SCOPES,
    QUOTA_USED,
    RECEIPT_SECONDS,
    RESERVE,
    SUCCEEDED,
    TOKENS,
    UPKEEP_DUE,
    UPKEEP_FAILING,
    UPKEEP_NEED,
    UPKEEP_SHARE,
    UPKEEP_SINCE,
    WAITING,
)

_OF_TOTALS: Final = {
    CALLS: Total.CALLS,
    CALL_SECONDS: Total.CALL_SECONDS,
    TOKENS: Total.TOKENS,
    EVENTS: Total.EVENTS,
    EVENT_SECONDS: Total.EVENT_SECONDS,
    RECEIPT_SECONDS: Total.RECEIPT_SECONDS,
    DEATHS: Total.DEAD_LETTERS,
    MAILS_ENDED: Total.MAILS,
}


def table_metrics(connection: Connection, settings: Settings) -> list[Metric]:
    """Read the metrics of the tables; for every quarter of a minute."""
    counts = read_counts(connection, settings)
    return [*_totals(counts), *_made({**_quota(counts), **_inbox(counts), **_rest(counts)})]


def slow_table_metrics(connection: Connection, settings: Settings) -> list[Metric]:
    """Read the metrics for which each athlete is looked at; for every minute or so."""
    return list(_made(_slow(read_slow_counts(connection, settings))))


def _made(found: Mapping[Family, Mapping[Labels, float]]) -> Iterable[Metric]:
    return (family.metric(values) for family, values in found.items())


def _totals(counts: Counts) -> Iterable[Metric]:
    for family, total in _OF_TOTALS.items():
        make: Callable[[Mapping[Labels, float]], Metric]
        make = family.histogram if family.kind is Kind.HISTOGRAM else family.metric
        yield make(counts.totals[total])


def _quota(counts: Counts) -> dict[Family, Mapping[Labels, float]]:
    quota = counts.quota.items()
    return {
        QUOTA_LIMIT: {(name, kind): limit for name, use in quota for kind, limit in use.limit.items()},
        QUOTA_USED: {(name, kind): used for name, use in quota for kind, used in use.used.items()},
        QUOTA_SCOPES: {(name,): use.scopes for name, use in quota},
        QUOTA_BLOCKED: {(name,): use.blocked for name, use in quota},
        QUOTA_END: {(name,): use.window.ends_at.timestamp() for name, use in quota},
    }


def _inbox(counts: Counts) -> dict[Family, Mapping[Labels, float]]:
    return {
        ATHLETES: _by(counts.athletes),
        ERASURES: {(): counts.erasures},
        INBOX: _by(counts.inbox),
        WAITING: _by(counts.waiting),
        DEAD: _by(counts.dead_letters),
        OLDEST_OPEN: _moment(counts.oldest_open_at),
        LAST_EVENT: _moment(counts.last_event_at),
    }


def _rest(counts: Counts) -> dict[Family, Mapping[Labels, float]]:
    succeeded: dict[str, datetime | None] = {str(job): at for job, at in counts.succeeded.items()}
    succeeded[MAILS] = counts.last_mail_at
    since = {(service,): at for service, at in counts.away.items()}
    return {
        IMPORTS: _by(counts.imports),
        IMPORTS_END: _moment(counts.imports_end_at),
        MAILS_PENDING: _by(counts.mails),
        ALERT_MESSAGES: {(): counts.alert_messages},
        SUCCEEDED: {(job,): at.timestamp() for job, at in succeeded.items() if at is not None},
        AWAY: {service: float(at is not None) for service, at in since.items()},
        AWAY_SINCE: {service: at.timestamp() for service, at in since.items() if at is not None},
        INACTIVE: {(): float(counts.app_inactive_since is not None)},
        INACTIVE_SINCE: _moment(counts.app_inactive_since),
        ALERTS: {
            (name, RULES_BY_NAME[name].severity.value): subjects
            for name, subjects in counts.alerts.items()
            if name in RULES_BY_NAME
        },
    }


def _slow(counts: SlowCounts) -> dict[Family, Mapping[Labels, float]]:
    lag = counts.upkeep.lag
    return {
        RESERVE: _by(counts.reserve),
        MONTHS_LEFT: {(): counts.months_left},
        PUT_ASIDE: _by(counts.put_aside),
        UPKEEP_DUE: {(): lag.due},
        UPKEEP_FAILING: {(): lag.failing},
        UPKEEP_SINCE: _moment(lag.due_since),
        UPKEEP_NEED: {(): lag.requests_a_day},
        UPKEEP_SHARE: {(): counts.upkeep.share_a_day},
    }


def _by(counts: Mapping[str, int]) -> Mapping[Labels, float]:
    return {(name,): count for name, count in counts.items()}


def _moment(at: datetime | None) -> Mapping[Labels, float]:
    return {} if at is None else {(): at.timestamp()}
