"""What the operator's page says of health: the alerts that are on, and the last 24 hours as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection

from strava_pipeline.warehouse.athletes.athlete_status import athlete_names
from strava_pipeline.warehouse.states import Severity
from strava_pipeline.warehouse.watch.alerts import NOBODY, StandingAlert, pending_alerts, standing_alerts, why_unwatched
from strava_pipeline.watch.rules import DOCS, RULES_BY_NAME
from webhook_bridge.last_day import LastDay, read_last_day

ATHLETES_SHOWN = 5


@dataclass(frozen=True)
class Subject:
    """Whom an alert concerns, ``None`` if nobody in particular, and what was found."""

    athlete_id: int | None
    name: str | None
    detail: str


@dataclass(frozen=True)
class ShownAlert:
    """One rule that is on.

    ``since``: since when its condition holds (UTC), that of the oldest. ``subjects``: whom it concerns, at most
    ``ATHLETES_SHOWN``; ``more``: how many others. ``section``: where the docs explain it.
    """

    rule: str
    severity: Severity
    summary: str
    what_to_do: str
    section: str
    since: datetime
    silenced_until: datetime | None
    subjects: Sequence[Subject]
    more: int


@dataclass(frozen=True)
class Health:
    """The section: alerts, critical ones first; what may become one, as its summary with the time (UTC); charts.

    ``unwatched``: that nobody has looked for alerts for minutes, in words, if that is so.
    """

    alerts: Sequence[ShownAlert]
    pending: Mapping[str, datetime]
    last_day: LastDay
    unwatched: str


def read_health(connection: Connection, moment: datetime) -> Health:
    """Read all that the section shows; ``moment``: the database's time (UTC)."""
    found = standing_alerts(connection)
    names = athlete_names(connection, {alert.athlete_id for alert in found} - {NOBODY})
    return Health(
        alerts=shown_alerts(found, names),
        pending={_summary(rule): since for rule, since in pending_alerts(connection).items()},
        last_day=read_last_day(connection, moment),
        unwatched=why_unwatched(connection),
    )


def shown_alerts(alerts: Sequence[StandingAlert], names: Mapping[int, str]) -> list[ShownAlert]:
    """Put the alerts of each rule together, critical rules first, then by time; ``alerts`` come by rule."""
    shown = [_shown(rule, list(each), names) for rule, each in groupby(alerts, lambda alert: alert.rule)]
    return sorted(shown, key=lambda alert: (alert.severity is not Severity.CRITICAL, alert.since))


def _shown(name: str, alerts: Sequence[StandingAlert], names: Mapping[int, str]) -> ShownAlert:
    rule = RULES_BY_NAME.get(name)
    return ShownAlert(
        rule=name,
        # A rule that another version of the bridge has written.
        severity=rule.severity if rule else Severity.WARNING,
        summary=_summary(name),
        what_to_do=rule.what_to_do if rule else "Another version of the bridge knows this rule: see its page.",
        section=f"{DOCS}#{rule.anchor}" if rule else DOCS,
        since=min(alert.since for alert in alerts),
        silenced_until=alerts[0].silenced_until,
        subjects=[_subject(alert, names) for alert in alerts[:ATHLETES_SHOWN]],
        more=max(len(alerts) - ATHLETES_SHOWN, 0),
    )


def _subject(alert: StandingAlert, names: Mapping[int, str]) -> Subject:
    athlete_id = None if alert.athlete_id == NOBODY else alert.athlete_id
    return Subject(athlete_id, names.get(alert.athlete_id), alert.detail)


def _summary(name: str) -> str:
    rule = RULES_BY_NAME.get(name)
    return rule.summary if rule else name
