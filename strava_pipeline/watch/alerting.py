"""The course of alerts: what fires, what clears, and what is told of it.

::

    (nothing) --condition holds--> pending --for fires_after--> firing --condition ended--> clearing --> (nothing)
       ^                              |                            ^                           |
       +------condition ended---------+                            +----condition holds--------+

A message is made when an alert fires and when it is cleared, in the transaction that stores the change: whoever dies
before the commit changed and told nothing, and whoever comes second finds the change made. A critical alert that stays
is told again each day. A rule that is silenced tells nothing; what is still on when the silence ends is told then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from strava_pipeline.warehouse.states import AlertChange, AlertState, Severity
from strava_pipeline.warehouse.watch.alert_rows import Alert
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.watch.rules import RULES_BY_NAME, Rule

AGAIN_AFTER = timedelta(days=1)
# Bridges of two versions work side by side while they are replaced: a row of theirs that went would be told anew.
UNKNOWN_STAY = timedelta(days=1)


@dataclass(frozen=True)
class News:
    """A change of one or several alerts of a rule, to be told in one message."""

    rule: Rule
    change: AlertChange
    alerts: tuple[Alert, ...]


@dataclass
class Course:
    """What becomes of all alerts: rows to ``store``, rows that are ``gone``, and what is to be told."""

    store: list[Alert] = field(default_factory=list)
    gone: list[Alert] = field(default_factory=list)
    told: list[tuple[AlertChange, Alert]] = field(default_factory=list)

    @property
    def news(self) -> list[News]:
        """What is to be told, the alerts of one rule and change together, critical ones first."""
        grouped: dict[tuple[str, AlertChange], list[Alert]] = {}
        for change, alert in self.told:
            grouped.setdefault((alert.rule, change), []).append(alert)
        found = [News(RULES_BY_NAME[rule], change, tuple(alerts)) for (rule, change), alerts in grouped.items()]
        return sorted(found, key=lambda news: news.rule.severity != Severity.CRITICAL)


@dataclass(frozen=True)
class Times:
    """The moment (UTC) at which alerts are looked at, and the factor of all times to fire and to clear."""

    moment: datetime
    scale: float = 1.0

    def has_lasted(self, since: datetime, long: timedelta) -> bool:
        """Whether so long has passed since then, by the scaled time."""
        return self.moment - since >= long * self.scale


def advance(
    alerts: Iterable[Alert], findings: Sequence[Finding], times: Times, silenced: frozenset[str] = frozenset()
) -> Course:
    """Return what becomes of the alerts, given what is found now; findings of unknown rules count for nothing.

    ``silenced``: rules that tell nothing.
    """
    known = {alert.key: alert for alert in alerts}
    found = {(each.rule, each.athlete_id): each for each in findings if each.rule in RULES_BY_NAME}
    course = Course()
    for key in sorted(known.keys() | found.keys()):
        alert = known.get(key)
        if key[0] not in RULES_BY_NAME:
            if times.moment - known[key].changed_at >= UNKNOWN_STAY:
                course.gone.append(known[key])
        elif key in found:
            _hold(course, alert, found[key], times, silenced)
        elif alert is not None:
            _end(course, alert, times, silenced)
    return course


def _hold(course: Course, alert: Alert | None, finding: Finding, times: Times, silenced: frozenset[str]) -> None:
    """The rule's condition holds."""
    before = alert
    moment = times.moment
    since = min(moment, finding.since or (moment if alert is None else alert.since))
    if alert is None:
        alert = Alert(finding.rule, finding.athlete_id, AlertState.PENDING, since, moment, None, None, finding.detail)
    if alert.state is AlertState.PENDING:
        alert = replace(alert, since=since)
        if finding.is_told:
            alert = _fired(replace(alert, told_at=moment), moment)
        elif times.has_lasted(since, RULES_BY_NAME[alert.rule].fires_after):
            alert = _fired(alert, moment)
    elif alert.state is AlertState.CLEARING:
        alert = replace(alert, state=AlertState.FIRING, changed_at=moment)
    alert = replace(alert, detail=finding.detail)
    change = _to_tell(alert, moment)
    if change is not None and alert.rule not in silenced:
        alert = replace(alert, told_at=moment)
        course.told.append((change, alert))
    if alert != before:
        course.store.append(alert)


def _fired(alert: Alert, moment: datetime) -> Alert:
    return replace(alert, state=AlertState.FIRING, changed_at=moment, fired_at=moment)


def _to_tell(alert: Alert, moment: datetime) -> AlertChange | None:
    if alert.state is not AlertState.FIRING:
        return None
    if alert.told_at is None:
        return AlertChange.FIRED
    is_critical = RULES_BY_NAME[alert.rule].severity is Severity.CRITICAL
    return AlertChange.AGAIN if is_critical and moment - alert.told_at >= AGAIN_AFTER else None


def _end(course: Course, alert: Alert, times: Times, silenced: frozenset[str]) -> None:
    """The rule's condition does not hold."""
    if alert.state is AlertState.PENDING:
        course.gone.append(alert)
        return
    before = alert
    if alert.state is AlertState.FIRING:
        alert = replace(alert, state=AlertState.CLEARING, changed_at=times.moment)
    if times.has_lasted(alert.changed_at, RULES_BY_NAME[alert.rule].clears_after):
        course.gone.append(alert)
        # The end of what nobody was told of is no news.
        if alert.told_at is not None and alert.rule not in silenced:
            course.told.append((AlertChange.CLEARED, alert))
    elif alert != before:
        course.store.append(alert)
