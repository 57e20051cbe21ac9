"""Ledgers on a clock that stands until it is moved, and what one asks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, select

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Reservation
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.strava_clock import store_clock
from strava_pipeline.warehouse.schema.quota_tables import quota_windows

QUARTER, DAY = 900, 86400
NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)
EDGE = NOON + timedelta(minutes=15)
TODAY, MIDNIGHT = NOON.replace(hour=0), datetime(2025, 6, 11, tzinfo=UTC)
CALL = timedelta(seconds=30)


@dataclass
class Clock:
    """The database's clock: it stands until it is moved, and sleeping moves it."""

    engine: Engine
    moment: datetime = NOON + timedelta(minutes=5)
    slept: list[float] = field(default_factory=list)

    def __call__(self, _: object) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)

    def agree(self, error_s: float = 0.25) -> None:
        """An answer has just shown that Strava's clock is the same; the margin is half a second more."""
        with self.engine.begin() as connection:
            store_clock(connection, StravaClock(0.0, error_s, self.moment))

    def jump(self, moment: datetime) -> None:
        """Time has passed, and calls with it."""
        self.moment = moment
        self.agree()


def open_ledger(
    engine: Engine,
    clock: Clock,
    short: int = 100,
    long: int = 1000,
    *,
    sleep: Callable[[float], None] | None = None,
    host: str | None = None,
    goes_first: bool = False,
    **more: Any,
) -> PostgresLedger:
    return PostgresLedger(
        engine,
        RateLimits(short, long, QUARTER, DAY, **more),
        clock=clock,
        sleep=sleep or clock.sleep,
        spread=lambda: 0.0,
        host=host,
        goes_first=goes_first,
    )


def book(
    ledger: PostgresLedger, lane: Lane = Lane.LIVE, wait: timedelta = timedelta(0), athlete_id: int = 7
) -> Reservation:
    return ledger.reserve(lane, "/activities/{id}", athlete_id, longest=CALL, max_wait=wait)


def book_all(ledger: PostgresLedger, lane: Lane = Lane.LIVE, athlete_id: int = 7) -> int:
    """Book until there is no room; how many calls that were."""
    booked = 0
    try:
        while True:
            book(ledger, lane, athlete_id=athlete_id)
            booked += 1
    except QuotaExhausted:
        return booked


def refused(ledger: PostgresLedger, lane: Lane = Lane.LIVE, athlete_id: int = 7) -> datetime:
    """When the ledger wants us back."""
    with pytest.raises(QuotaExhausted, match="no request to Strava before") as caught:
        book(ledger, lane, athlete_id=athlete_id)
    return caught.value.retry_at


def just_after(edge: datetime) -> Any:
    """A time after an edge, by the margin: three quarters of a second, and more as the clock's last answer ages."""
    return pytest.approx(edge + timedelta(seconds=0.85), abs=timedelta(seconds=0.1))


def answered(clock: Clock, status: int = 200, **more: Any) -> CallOutcome:
    """Strava's answer; a 429 says that a limit is reached."""
    told: dict[str, Any] = {
        "answered": True,
        "limit_reached": status == 429,
        "server_time": clock.moment.replace(microsecond=0),
    }
    return CallOutcome(status, duration_ms=12.5, **(told | more))


def windows(engine: Engine, length: int = QUARTER, scope: str = "app") -> dict[datetime, Row[Any]]:
    query = select(quota_windows).where(quota_windows.c.length_s == length, quota_windows.c.scope == scope)
    with engine.connect() as connection:
        return {row.starts_at: row for row in connection.execute(query)}


def booked(engine: Engine, *starts: datetime, length: int = QUARTER) -> tuple[int, ...]:
    rows = windows(engine, length)
    return tuple(int(rows[start].booked) for start in starts)
