"""What the tables say about athletes of whom nothing is heard, missed deliveries and upkeep, for every ten minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, literal, select, true
from sqlalchemy.dialects.postgresql import INTERVAL

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.overview import last_delivery
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import EventSource, EventState, GrantState
from strava_pipeline.warehouse.upkeep.load import UpkeepLoad, upkeep_load

FOUND_WITHIN = timedelta(days=1)
# A week off is nothing unusual. Who did nothing for two months has stopped.
SHORTEST_SILENCE, LONGEST_SILENCE = timedelta(days=7), timedelta(days=60)
TIMES_USUAL = 3
USUAL_WITHIN = timedelta(days=60)
# Two months with fewer activities have no usual gap.
FEWEST_ACTIVITIES = 5
_events = webhook_events.c


@dataclass(frozen=True)
class SilentAthlete:
    """An athlete of whom nothing was heard for long: since when (UTC), and the longest gap that is usual."""

    athlete_id: int
    since: datetime
    usual: timedelta


@dataclass(frozen=True)
class Found:
    """Events of the last day that took effect: how many Strava delivered, and how many only upkeep found."""

    delivered: int = 0
    missed: int = 0


@dataclass(frozen=True)
class SlowSituation:
    """What takes longer to read: it looks at every athlete, or at a day's events."""

    silent: tuple[SilentAthlete, ...]
    found: Found
    upkeep: UpkeepLoad


def read_slow_situation(connection: Connection, settings: Settings) -> SlowSituation:
    """Read what is looked at every ten minutes."""
    moment = now(connection)
    return SlowSituation(
        silent=_silent_athletes(connection, moment),
        found=_found(connection, moment),
        upkeep=upkeep_load(connection, settings, moment),
    )


def _silent_athletes(connection: Connection, moment: datetime) -> tuple[SilentAthlete, ...]:
    """Connected athletes whose last event is longer ago than three of their usual gaps, and a week."""
    a = activities.c
    newest = (
        select(a.start_date)
        .where(a.athlete_id == users.c.athlete_id, a.start_date <= moment)
        .order_by(a.start_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = func.coalesce(last_delivery(users.c.athlete_id), newest)
    quiet = (
        select(users.c.athlete_id, last.label("last"))
        .where(users.c.state == GrantState.ACTIVE)
        .where(last.between(moment - LONGEST_SILENCE, moment - SHORTEST_SILENCE))
        .cte("quiet")
        .prefix_with("MATERIALIZED")
    )
    gaps = (
        select((a.start_date - func.lag(a.start_date).over(order_by=a.start_date)).label("gap"))
        .where(
            a.athlete_id == quiet.c.athlete_id,
            a.start_date > quiet.c.last - USUAL_WITHIN,
            a.start_date <= quiet.c.last + timedelta(days=1),
        )
        .lateral("gaps")
    )
    longest = func.max(gaps.c.gap, type_=INTERVAL)
    rows = connection.execute(
        select(quiet.c.athlete_id, quiet.c.last, longest)
        .select_from(quiet.join(gaps, true()))
        .group_by(quiet.c.athlete_id, quiet.c.last)
        .having(func.count() >= FEWEST_ACTIVITIES, quiet.c.last + literal(TIMES_USUAL) * longest < moment)
        .order_by(quiet.c.athlete_id)
    )
    return tuple(SilentAthlete(*row) for row in rows)


def _found(connection: Connection, moment: datetime) -> Found:
    rows = connection.execute(
        select(_events.source, func.count().label("events"))
        .where(_events.state == EventState.DONE, _events.finished_at > moment - FOUND_WITHIN)
        .group_by(_events.source)
    )
    counts = {row.source: row.events for row in rows}
    return Found(counts.get(EventSource.WEBHOOK, 0), counts.get(EventSource.RECONCILE, 0))
