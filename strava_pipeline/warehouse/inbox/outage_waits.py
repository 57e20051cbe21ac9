"""Events and runs while Strava is away or has the app switched off: what is launched meanwhile, and what after it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, union_all, update

from strava_pipeline.strava.quota.outage import APP_PROBE_EVERY, LONGEST_PAUSE_S, Service
from strava_pipeline.warehouse.inbox.claims import is_leased, lock_in_order
from strava_pipeline.warehouse.restored import are_calls_held
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import app_status, outages
from strava_pipeline.warehouse.states import EventState, WaitingFor

# A probe is left so long to runs that wait anyway. These look every 20 s.
LEFT_TO_RUNS = timedelta(seconds=30)
_events = webhook_events.c


class LaunchGate(Enum):
    """Whether runs may be launched for events: OPEN, for one object that tries whether Strava answers, or CLOSED."""

    OPEN = auto()
    PROBE = auto()
    CLOSED = auto()


def launch_gate(connection: Connection) -> LaunchGate:
    """Return whether launching runs for events makes sense now: never while a restored database is not checked.

    While Strava's API is away or the app is switched off, the runs that wait find out about its end. Only if none does
    so, one object is launched for that. An OAuth that is away holds nobody: most tokens are still good.
    """
    if are_calls_held(connection):
        return LaunchGate.CLOSED
    closed_by = union_all(
        select(_may_probe(outages.c.probe_at, timedelta(seconds=LONGEST_PAUSE_S)).label("may_probe")).where(
            outages.c.service == Service.API, outages.c.away_since.is_not(None)
        ),
        select(_may_probe(app_status.c.probe_at, APP_PROBE_EVERY)).where(app_status.c.inactive_since.is_not(None)),
    ).subquery()
    under_way = select(_events.id).where(_events.state == EventState.LAUNCHED, is_leased()).exists()
    found = connection.execute(select(closed_by.c.may_probe, under_way).select_from(closed_by)).all()
    if not found:
        return LaunchGate.OPEN
    return LaunchGate.PROBE if all(due and not busy for due, busy in found) else LaunchGate.CLOSED


def release_after_outage(connection: Connection) -> int:
    """Make events due that wait for Strava to answer again, once it does; return how many.

    They are not left to their old time, which may be five minutes away, or an hour if the app was switched off.
    """
    done = connection.execute(
        update(webhook_events)
        .where(
            lock_in_order(
                and_(
                    _events.state == EventState.WAITING,
                    _events.not_before > database_time(),
                    or_(
                        and_(_events.waiting_for == WaitingFor.OUTAGE, ~_some(outages.c.away_since)),
                        # An OAuth that is away as well shows only at the next refresh.
                        and_(
                            _events.waiting_for == WaitingFor.APP,
                            ~_some(app_status.c.inactive_since),
                            ~_some(outages.c.away_since, outages.c.service == Service.API),
                        ),
                    ),
                ),
                skip_locked=True,
            )
        )
        .values(not_before=database_time())
    )
    return done.rowcount


def _may_probe(probe_at: ColumnElement[datetime], longest_pause: timedelta) -> ColumnElement[bool]:
    """Whether a probe is due that no run has made; also if its time was written before the clock was set back."""
    moment = database_time()
    return or_(probe_at <= moment - LEFT_TO_RUNS, probe_at > moment + longest_pause)


def _some(since: ColumnElement[object], *where: ColumnElement[bool]) -> ColumnElement[bool]:
    rows: Select[object] = select(since).where(since.is_not(None), *where)
    return rows.exists()
