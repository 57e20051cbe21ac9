"""The alerts that are on, for all who show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.metric_totals import PeriodicJob, read_successes
from strava_pipeline.warehouse.schema.alert_tables import alert_silences, alerts
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.states import AlertState

# The athlete of an alert that concerns nobody in particular.
NOBODY = 0
# Bridges look each half minute, and tell nothing in the first two minutes after a start.
LOOKED_WITHIN = timedelta(minutes=5)
_IS_ON = alerts.c.state != AlertState.PENDING


@dataclass(frozen=True)
class StandingAlert:
    """An alert that has fired and is not cleared yet; ``athlete_id`` is 0 where it concerns nobody in particular.

    ``since``: since when its condition holds, ``fired_at``: when that was told, ``silenced_until``: until when its rule
    tells nothing, ``None`` if it does (all UTC). ``detail``: what was found, in one line.
    """

    rule: str
    athlete_id: int
    since: datetime
    fired_at: datetime
    detail: str
    silenced_until: datetime | None = None


def standing_alerts(connection: Connection) -> list[StandingAlert]:
    """The alerts that are on, by rule and athlete."""
    is_silenced = (alert_silences.c.rule == alerts.c.rule) & (alert_silences.c.until > database_time())
    shown = ("rule", "athlete_id", "since", "fired_at", "detail")
    rows = connection.execute(
        select(*(alerts.c[name] for name in shown), alert_silences.c.until.label("silenced_until"))
        .select_from(alerts.outerjoin(alert_silences, is_silenced))
        .where(_IS_ON)
        .order_by(alerts.c.rule, alerts.c.athlete_id)
    )
    return [StandingAlert(**row) for row in rows.mappings()]


def alert_counts(connection: Connection) -> dict[str, int]:
    """By rule, how many alerts are on; rules without any are left out."""
    rows = connection.execute(select(alerts.c.rule, func.count().label("alerts")).where(_IS_ON).group_by(alerts.c.rule))
    return {row.rule: row.alerts for row in rows}


def pending_alerts(connection: Connection) -> dict[str, datetime]:
    """By rule, since when the condition of alerts holds that have not fired yet (UTC): that of the oldest."""
    rows = connection.execute(
        select(alerts.c.rule, func.min(alerts.c.since).label("since"))
        .where(~_IS_ON)
        .group_by(alerts.c.rule)
        .order_by(alerts.c.rule)
    )
    return {row.rule: row.since for row in rows}


def why_unwatched(connection: Connection) -> str:
    """Since when no bridge has looked for alerts, in words; empty if one did within :data:`LOOKED_WITHIN`.

    Then what is on, and that nothing is, may be out of date.
    """
    last = read_successes(connection).get(PeriodicJob.ALERTS)
    if last is None:
        return "nobody has looked for alerts yet"
    is_late = now(connection) - last >= LOOKED_WITHIN
    return f"nobody has looked for alerts since {last:%Y-%m-%d %H:%M} UTC" if is_late else ""
