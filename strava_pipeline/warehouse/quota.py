"""The quota ledger: one booking for every request, shared by all processes through the database.

Each reservation is one short transaction under an advisory lock and is committed before the request is
sent. A call that could count on either side of a window's edge is booked on both sides, and the answer's
``Date`` settles which one keeps it. A reservation whose process died stays booked until its windows end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota import (
    MARGIN,
    Lane,
    Outcome,
    Reservation,
    Window,
    blocked_until,
    counted_window,
    window_at,
    windows_touched,
)
from strava_pipeline.warehouse import app_status
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.ops_tables import api_calls, quota_windows

log = logging.getLogger(__name__)

# Any fixed number: it names the lock under which windows are read and booked.
_LOCK = 7_283_002
SLICE_SECONDS = 30.0
LOG_EVERY_SECONDS = 60.0
OK = 200
TOO_MANY_REQUESTS = 429
EDGE = timedelta(seconds=1)


@dataclass(frozen=True)
class Ceilings:
    """The configured limits; ``capped`` where the operator set one, so that Strava's may not exceed it."""

    short: int
    long: int
    short_window_s: int
    long_window_s: int
    short_capped: bool
    long_capped: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> Ceilings:
        given = settings.model_fields_set
        return cls(
            short=settings.quota_short_limit,
            long=settings.quota_long_limit,
            short_window_s=settings.quota_short_window_seconds,
            long_window_s=settings.quota_long_window_seconds,
            short_capped="quota_short_limit" in given,
            long_capped="quota_long_limit" in given,
        )

    def room(self, window: Row[Any]) -> int:
        """How many more calls fit into a window."""
        if window.length_s == self.long_window_s:
            assumed, capped = self.long, self.long_capped
        else:
            assumed, capped = self.short, self.short_capped
        read = assumed if window.read_limit is None else window.read_limit
        if capped:
            read = min(read, assumed)
        free = int(read - window.read_foreign - window.booked)
        if window.overall_limit is None:
            return free
        return min(free, int(window.overall_limit - window.overall_foreign - window.booked))


class PostgresLedger:
    """The ledger in ``ops.api_calls`` and ``ops.quota_windows``."""

    def __init__(self, engine: Engine, ceilings: Ceilings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._engine = engine
        self._ceilings = ceilings
        self._sleep = sleep

    def reserve(
        self, lane: Lane, endpoint: str, athlete_id: int | None, *, longest: timedelta, max_wait: timedelta
    ) -> Reservation:
        """Wait for room, at most ``max_wait``, and book it; ``QuotaExhausted`` says when to come back."""
        deadline = time.monotonic() + max_wait.total_seconds()
        logged = -LOG_EVERY_SECONDS
        while True:
            with self._engine.begin() as connection:
                moment, answer = self._book(connection, lane, endpoint, athlete_id, longest)
            if isinstance(answer, Reservation):
                return answer
            wait = max(0.0, (answer - moment).total_seconds())
            if time.monotonic() + wait > deadline:
                raise QuotaExhausted(f"Strava's quota is used up until {answer:%Y-%m-%d %H:%M:%S} UTC", retry_at=answer)
            if time.monotonic() - logged >= LOG_EVERY_SECONDS:
                log.info("waiting %.0f s for Strava's quota (%s, lane %s)", wait, endpoint, lane)
                logged = time.monotonic()
            self._sleep(min(SLICE_SECONDS, wait))

    def settle(self, reservation: Reservation, outcome: Outcome) -> None:
        """Record the answer; free the windows it did not count in; take over what the headers say."""
        with self._engine.begin() as connection:
            moment = _lock(connection)
            connection.execute(
                update(api_calls)
                .where(api_calls.c.id == reservation.call_id)
                .values(settled_at=moment, status=outcome.status, duration_ms=outcome.duration_ms)
            )
            self._free_uncounted(connection, reservation, outcome)
            self._adopt_headers(connection, outcome, moment)
            if outcome.status == TOO_MANY_REQUESTS:
                self._block(connection, reservation, outcome, moment)
            if outcome.app_inactive is not None:
                app_status.note_inactive(connection, outcome.app_inactive, moment)
            elif reservation.is_probe and outcome.status == OK:
                app_status.note_active(connection)

    def release(self, reservation: Reservation) -> None:
        """Give back room for a call that was never sent, as if it had not been asked for."""
        with self._engine.begin() as connection:
            _lock(connection)
            connection.execute(delete(api_calls).where(api_calls.c.id == reservation.call_id))
            connection.execute(
                update(quota_windows).where(_is_one_of(reservation.windows)).values(booked=quota_windows.c.booked - 1)
            )

    def _book(
        self, connection: Connection, lane: Lane, endpoint: str, athlete_id: int | None, longest: timedelta
    ) -> tuple[datetime, Reservation | datetime]:
        """The database's time, and a reservation or the time from which to try again."""
        moment = _lock(connection)
        is_probe = app_status.admit(connection, moment)
        wanted = tuple(
            window
            for length in self._lengths
            for window in windows_touched(moment - MARGIN, moment + longest + MARGIN, length)
        )
        stored = self._stored(connection, wanted, moment)
        blocks = [row.blocked_until for row in stored if row.blocked_until and row.blocked_until > moment]
        if blocks:
            return moment, max(blocks)
        full = [row for row in stored if self._ceilings.room(row) < 1 and _key(row) in map(_key, wanted)]
        if full:
            return moment, _reopens_at(full, moment) + MARGIN
        if is_probe:
            app_status.begin_probe(connection, moment)
        connection.execute(update(quota_windows).where(_is_one_of(wanted)).values(booked=quota_windows.c.booked + 1))
        call_id = connection.execute(
            insert(api_calls)
            .values(lane=lane, endpoint=endpoint, athlete_id=athlete_id, reserved_at=moment)
            .returning(api_calls.c.id)
        ).scalar_one()
        return moment, Reservation(call_id=call_id, reserved_at=moment, windows=wanted, is_probe=is_probe)

    @property
    def _lengths(self) -> tuple[int, int]:
        return self._ceilings.short_window_s, self._ceilings.long_window_s

    def _stored(self, connection: Connection, wanted: tuple[Window, ...], moment: datetime) -> list[Row[Any]]:
        query = select(quota_windows).where(or_(_is_one_of(wanted), quota_windows.c.blocked_until > moment))
        rows = list(connection.execute(query))
        missing = set(map(_key, wanted)) - set(map(_key, rows))
        if not missing:
            return rows
        for length, start in sorted(missing):
            connection.execute(self._new_window(connection, length, start))
        return list(connection.execute(query))

    def _new_window(self, connection: Connection, length: int, start: datetime) -> Any:
        """A fresh window starts with the limits that Strava named last."""
        last = connection.execute(
            select(quota_windows.c.read_limit, quota_windows.c.overall_limit)
            .where(quota_windows.c.length_s == length, quota_windows.c.starts_at < start)
            .order_by(quota_windows.c.starts_at.desc())
            .limit(1)
        ).first()
        read, overall = last or (None, None)
        return (
            insert_or_skip(quota_windows)
            .values(
                scope="app",
                length_s=length,
                starts_at=start,
                booked=0,
                read_limit=read,
                read_foreign=0,
                overall_limit=overall,
                overall_foreign=0,
            )
            .on_conflict_do_nothing()
        )

    def _free_uncounted(self, connection: Connection, reservation: Reservation, outcome: Outcome) -> None:
        for length in self._lengths:
            counted = counted_window(reservation.windows, length, outcome.server_time)
            if counted is None:
                continue
            others = [w for w in reservation.windows if w.length_s == length and w != counted]
            if others:
                connection.execute(
                    update(quota_windows).where(_is_one_of(others)).values(booked=quota_windows.c.booked - 1)
                )

    def _adopt_headers(self, connection: Connection, outcome: Outcome, moment: datetime) -> None:
        """Strava's limits hold; its usage only raises ours, by what it counted beyond our bookings."""
        rates, at = outcome.rates, outcome.server_time or moment
        for length, which in zip(self._lengths, ("short", "long"), strict=True):
            window = window_at(at, length)
            if window != window_at(at - EDGE, length) or window != window_at(at + EDGE, length):
                continue  # Date has whole seconds: the count may be the neighbouring window's
            values: dict[str, Any] = {}
            for bucket in ("read", "overall"):
                limit, usage = getattr(rates, f"{bucket}_limit"), getattr(rates, f"{bucket}_usage")
                foreign = quota_windows.c[f"{bucket}_foreign"]
                if limit is not None:
                    values[f"{bucket}_limit"] = getattr(limit, which)
                if usage is not None:
                    beyond = getattr(usage, which) - quota_windows.c.booked
                    values[f"{bucket}_foreign"] = func.greatest(foreign, beyond)
            if values:
                connection.execute(update(quota_windows).where(_is_one_of([window])).values(**values))

    def _block(self, connection: Connection, reservation: Reservation, outcome: Outcome, moment: datetime) -> None:
        short, long = (window_at(outcome.server_time or moment, length) for length in self._lengths)
        until = blocked_until(outcome, moment, short, long)
        log.warning("Strava answered 429: no request before %s UTC", f"{until:%Y-%m-%d %H:%M:%S}")
        # Any row will do, and the booked ones are there for certain, whatever the answer's Date says.
        connection.execute(
            update(quota_windows)
            .where(_is_one_of(reservation.windows))
            .values(blocked_until=func.greatest(quota_windows.c.blocked_until, until))
        )


def _lock(connection: Connection) -> datetime:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    return now(connection)


def _reopens_at(full: list[Row[Any]], moment: datetime) -> datetime:
    """When the last full window that has begun ends; or, if only coming ones are full, when they begin."""
    begun = [Window(row.length_s, row.starts_at).ends_at for row in full if row.starts_at <= moment]
    return max(begun) if begun else min(row.starts_at for row in full)


def _key(window: Window | Row[Any]) -> tuple[int, datetime]:
    return window.length_s, window.starts_at


def _is_one_of(windows: tuple[Window, ...] | list[Window]) -> ColumnElement[bool]:
    return tuple_(quota_windows.c.length_s, quota_windows.c.starts_at).in_([_key(w) for w in windows])
