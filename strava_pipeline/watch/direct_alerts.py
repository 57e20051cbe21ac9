"""Alerts that are told without the database, while it is away: that it is away, and that a disk is full.

Each bridge keeps them in memory; one of those that share a home sends what fires, and notes that in a file for the
others, and for its successor. What ends is told by the tables alone, once the database is back: what was told directly
is handed over to them first, so that nothing is told twice and every end is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from strava_pipeline.home import HomeEntry
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import AlertState
from strava_pipeline.warehouse.watch.alert_rows import Alert, NewMessage, Silence
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.watch.alerting import Times, advance
from strava_pipeline.watch.told_directly import ToldDirectly
from strava_pipeline.watch.wording import message_of

DATABASE_AWAY = "database_away"
RULES_TOLD_DIRECTLY = frozenset({DATABASE_AWAY, "disk_full"})

# Sends messages at once; returns whether they need not be sent again.
Tell = Callable[[Sequence[NewMessage]], bool]


class DirectAlerts:
    """The alerts of one bridge that it tells by itself; ``tell`` sends them."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self._settings = settings
        self._tell = tell
        self._alerts: dict[tuple[str, int], Alert] = {}
        self._told = ToldDirectly(settings.home / HomeEntry.DIRECTLY_TOLD)
        self._away_since: datetime | None = None
        self._silences: tuple[Silence, ...] = ()

    def note_away(self, reason: str, others: Iterable[Finding], moment: datetime | None = None) -> None:
        """Note that the database does not accept writes at this moment (UTC), why, and what else is found locally."""
        moment = moment or datetime.now(UTC)
        self._away_since = min(self._away_since or moment, moment)
        findings = [Finding(DATABASE_AWAY, reason, since=self._away_since)]
        findings += [each for each in others if each.rule in RULES_TOLD_DIRECTLY]
        self._learn(moment)
        found = {(each.rule, each.athlete_id): each for each in findings}
        known = [alert for key, alert in self._alerts.items() if key in found]
        silenced = frozenset(each.rule for each in self._silences if each.until > moment)
        course = advance(known, findings, Times(moment, self._settings.alert_time_scale), silenced)
        news = course.news
        if news and not self._tell([message_of(each, self._settings) for each in news]):
            return
        self._alerts |= {alert.key: alert for alert in course.store}
        if news:
            self._told.add(found[alert.key] for each in news for alert in each.alerts)

    def to_hand_over(self) -> list[Finding]:
        """What was told directly, by this bridge or another of its home, and is in no table yet."""
        return self._told.findings()

    def note_back(self, alerts: Iterable[Alert], silences: Iterable[Silence]) -> None:
        """Note that the tables hold these alerts, with all that was handed over, and these silences."""
        self._away_since = None
        self._told.forget()
        self._alerts = {alert.key: alert for alert in alerts if alert.rule in RULES_TOLD_DIRECTLY}
        self._silences = tuple(silences)

    def _learn(self, moment: datetime) -> None:
        """Take what another bridge of this home told, maybe before it ended, for told."""
        for each in self._told.findings():
            times = (moment, moment, moment, moment)
            alert = Alert(each.rule, each.athlete_id, AlertState.FIRING, *times, each.detail)
            known = self._alerts.get(alert.key)
            if known is None or known.told_at is None:
                self._alerts[alert.key] = alert
