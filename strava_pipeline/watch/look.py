"""One look at everything: what is found is compared with the alerts that are on, and what changed is told.

It happens in one transaction under a lock. So of several bridges that look at once, one after the other does, and the
second finds nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success_within
from strava_pipeline.warehouse.watch.alert_rows import (
    Alert,
    Silence,
    add_messages,
    delete_alerts,
    load_alerts,
    lock_alerts,
    silences,
    store_alerts,
)
from strava_pipeline.warehouse.watch.situation import read_situation
from strava_pipeline.warehouse.watch.slow_situation import SlowSituation
from strava_pipeline.watch.alerting import News, Times, advance
from strava_pipeline.watch.evaluation import Evaluated, find
from strava_pipeline.watch.wording import message_of


@dataclass(frozen=True)
class Looked:
    """What a look left: the alerts and silences as they are now, and what was told."""

    alerts: list[Alert]
    silences: list[Silence]
    news: list[News]


def look(engine: Engine, settings: Settings, slow: SlowSituation) -> Looked:
    """Look at everything, and store and tell what changed.

    ``slow``: what was read of all athletes some minutes ago. ``DatabaseUnavailable``, and then nothing was stored or
    told.
    """
    with engine.begin() as connection:
        lock_alerts(connection)
        # Read after the lock is held: what an earlier moment showed may have been overtaken.
        situation = read_situation(connection, settings)
        known = load_alerts(connection)
        findings = find(Evaluated.of(settings, situation, slow))
        times = Times(situation.moment, settings.alert_time_scale)
        silenced = silences(connection)
        course = advance(known, findings, times, frozenset(each.rule for each in silenced))
        store_alerts(connection, course.store)
        delete_alerts(connection, [alert.key for alert in course.gone])
        add_messages(connection, [message_of(news, settings) for news in course.news])
        note_success_within(connection, PeriodicJob.ALERTS)
    gone = {alert.key for alert in course.gone}
    after = {alert.key: alert for alert in [*known, *course.store] if alert.key not in gone}
    return Looked(list(after.values()), silenced, course.news)
