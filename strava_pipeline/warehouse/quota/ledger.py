"""The quota ledger: one booking for every request, shared by all processes through the database.

Each reservation is one short transaction under a lock and is committed before the request is
sent. A call that could count on either side of a window's edge is booked on both sides, and its answer
settles which side keeps the booking. A reservation whose process died stays booked until its windows end.

As long as no other program uses the app's quota, Strava never answers 429. Calls of other programs are known only from
the headers of our answers, which are older than the next request: a 429 is then possible, and stops every process.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

from sqlalchemy import Connection, Engine, text

from strava_pipeline.errors import AppInactive, QuotaExhausted, RestoreUnchecked, StravaAway
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.monitor import RequestMonitor
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.lanes import BusyDay, RateLimits, busy_day_profile, refusal
from strava_pipeline.strava.quota.outage import Patience, Service
from strava_pipeline.strava.quota.windows import (
    APP,
    CallOutcome,
    Lane,
    Reservation,
    window_at,
    window_to_block,
    windows_counted,
    windows_to_book,
)
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.locks import Lock, acquire_with_time
from strava_pipeline.warehouse.quota import api_calls, app_status, outages
from strava_pipeline.warehouse.quota.app_status import AppStatus
from strava_pipeline.warehouse.quota.strava_clock import store_clock
from strava_pipeline.warehouse.quota.waiting import Throttle, Waiter, random_spread
from strava_pipeline.warehouse.quota.windows import adopt, announce_newest, block_until, book_late, booking, load_uses
from strava_pipeline.warehouse.restored import settle_here

log = get_logger(__name__)

# How often a process logs that it waits, s. An outage may last a day.
LOG_EVERY_SECONDS = 60.0
LOG_OUTAGE_EVERY_SECONDS = 600.0
# A wait for quota that is longer is logged as it begins; of shorter ones, which each request may have, one a minute.
LONG_WAIT = timedelta(seconds=30)
PROVE_ACTIVE = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
# While the answer to one call is awaited because it tells Strava's time, the other calls try again this often.
ASKING = timedelta(seconds=1)
# How long other backfills leave their room to a newest month after its last call was tried: longer than the pause
# between two tries, so that they wait until it is complete, or until a minute after its process died.
ANNOUNCED = timedelta(seconds=45)
BUSY_DAY_KEPT = timedelta(minutes=5)
_WAIT_FOR_DISK = text("SELECT set_config('synchronous_commit', 'on', true)")


@dataclass(frozen=True)
class _Closed:
    """Why no call may be sent before ``until`` (database's clock), and the error for a caller who does not wait."""

    until: datetime
    why: str
    error: QuotaExhausted | StravaAway | AppInactive


class PostgresLedger:
    """The ledger in ``ops.api_calls`` and ``ops.quota_windows``.

    ``clock`` replaces the database's own clock, ``sleep`` and ``spread`` go with it; ``spread`` returns the seconds
    that are added to a wait. ``monitor`` is told of each wait, booking and release. ``host`` names this machine.
    ``goes_first``: its calls are for a new athlete's newest month, to which other backfills leave their room.
    """

    def __init__(
        self,
        engine: Engine,
        rate_limits: RateLimits,
        *,
        clock: Callable[[Connection], datetime] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        spread: Callable[[], float] = random_spread,
        monitor: RequestMonitor | None = None,
        host: str | None = None,
        goes_first: bool = False,
    ) -> None:
        self._engine = engine
        self._rate_limits = rate_limits
        self._clock = clock
        self._monitor = monitor or RequestMonitor()
        self._waiter = Waiter(engine, sleep, spread, self._monitor)
        self._host = host or socket.gethostname()
        self._goes_first = goes_first
        self._pause_log, self._outage_log = Throttle(LOG_OUTAGE_EVERY_SECONDS), Throttle(LOG_OUTAGE_EVERY_SECONDS)
        self._short_waits_log = Throttle(LOG_EVERY_SECONDS)
        self._busy_days: dict[str, tuple[datetime, BusyDay | None]] = {}

    def reserve(
        self,
        lane: Lane,
        endpoint: str,
        athlete_id: int | None,
        *,
        longest: timedelta,
        max_wait: timedelta,
        activity_id: int | None = None,
        patience: Patience | None = None,
    ) -> Reservation:
        """Wait for room, at most ``max_wait``, and book it. ``longest``: how long a call may take.

        ``QuotaExhausted`` with ``retry_at`` if the wait would exceed ``max_wait``. While Strava is away, the app is
        switched off, or a restored database is not checked yet, the call waits as long as ``patience`` lasts, which is
        counted apart; then ``StravaAway``, ``AppInactive`` or ``RestoreUnchecked``. ``NeedsReauthorization`` if the
        athlete disconnects during the wait.
        """
        about = f"lane {lane}, {endpoint}"
        quota, quota_log = Patience(max_wait.total_seconds()), None
        outage = patience or Patience()
        while True:
            moment, answer = self._try(lane, endpoint, athlete_id, longest, activity_id)
            if isinstance(answer, Reservation):
                self._monitor.request_booked()
                return answer
            is_quota = isinstance(answer.error, QuotaExhausted)
            left = quota if is_quota else outage
            if not left.allows(answer.until, moment):
                raise answer.error
            if is_quota and quota_log is None:
                is_long = answer.until - moment > LONG_WAIT
                quota_log = Throttle(LOG_EVERY_SECONDS) if is_long else self._short_waits_log
            self._waiter.pause(
                answer.why,
                moment,
                answer.until,
                left,
                athlete_id=athlete_id,
                about=about,
                throttle=quota_log if is_quota and quota_log else self._outage_log,
                of=" for Strava's quota" if is_quota else "",
            )

    def pause(
        self, why: str, seconds: float, patience: Patience, *, athlete_id: int | None, until: datetime | None = None
    ) -> bool:
        """Wait as long as that, or until a later ``until`` (database's clock), and take the time from ``patience``.

        Returns ``False``, without a wait, if the patience does not last so long. ``why`` is told, in words.
        ``NeedsReauthorization`` if the athlete disconnects during the wait.
        """
        moment = self._now()
        ends_at = max(moment + timedelta(seconds=seconds), until or moment)
        if not patience.allows(ends_at, moment):
            return False
        while moment < ends_at:
            about, throttle = "between two tries", self._pause_log
            self._waiter.pause(why, moment, ends_at, patience, athlete_id=athlete_id, about=about, throttle=throttle)
            moment = self._now()
        return True

    def settle(self, reservation: Reservation, outcome: CallOutcome) -> None:
        """Record the answer, free the windows in which the call did not count, and store what the headers say."""
        # Retried, because the caller gets Strava's answer only afterwards: a database that is unavailable for a
        # moment must not lose the answer.
        retry_transaction(self._engine, partial(self._settle, reservation=reservation, outcome=outcome))

    def _settle(self, connection: Connection, reservation: Reservation, outcome: CallOutcome) -> None:
        # Most answers only free room. Their commits need not wait for the disk: if a crash of the server loses one,
        # its call stays booked, which is safe.
        moment = self._lock(connection, waits_for_disk=False)
        if not api_calls.close(connection, reservation.call_id, outcome, moment):
            return
        status = app_status.load_status(connection)
        is_news = self._note_answer(connection, status, reservation, outcome, moment)
        # A call without an answer may have counted, or may count later: it stays booked.
        if outcome.status is not None:
            is_news |= self._take_over(connection, status, reservation, outcome, moment)
        if is_news:
            connection.execute(_WAIT_FOR_DISK)

    def _note_answer(
        self,
        connection: Connection,
        status: AppStatus,
        reservation: Reservation,
        outcome: CallOutcome,
        moment: datetime,
    ) -> bool:
        """Store whether Strava answered; return whether it is away, or is not any more."""
        if outcome.answered:
            self._pause_log, self._outage_log = Throttle(LOG_OUTAGE_EVERY_SECONDS), Throttle(LOG_OUTAGE_EVERY_SECONDS)
            return outages.note_answered(connection, Service.API, status.outage, moment)
        return outcome.answered is False and outages.note_unanswered(
            connection,
            Service.API,
            status.outage,
            sent=reservation.reserved_at,
            moment=moment,
            host=self._host,
            reason=outcome.reason,
            activity_id=reservation.activity_id,
        )

    def _take_over(
        self,
        connection: Connection,
        status: AppStatus,
        reservation: Reservation,
        outcome: CallOutcome,
        moment: datetime,
    ) -> bool:
        """Store what an answer says; return whether its commit must wait for the disk."""
        clock = self._hear(connection, status.clock, reservation, outcome, moment)
        is_news = self._take_account(connection, reservation, outcome, moment, clock)
        if outcome.limit_reached:
            self._block(connection, reservation.scope, outcome, moment, clock)
        if outcome.app_inactive is not None:
            app_status.note_inactive(connection, outcome.app_inactive, moment)
        elif status.inactive_since is not None and reservation.is_probe and _proves_active(outcome):
            app_status.note_active(connection)
        is_known = outcome.status == HTTPStatus.OK and not clock.is_news_to(status.clock, moment)
        return is_news or reservation.is_probe or not is_known

    def release(self, reservation: Reservation) -> None:
        """Delete the booking of a call that was never sent."""
        with self._engine.begin() as connection:
            moment = self._lock(connection)
            if api_calls.delete_call(connection, reservation.call_id):
                connection.execute(booking(reservation.scope, reservation.windows, -1, reservation.lane))
                if reservation.is_probe:
                    app_status.release_probe(connection, reservation.reserved_at, moment)
                    outages.release_probe(connection, Service.API, reservation.reserved_at, moment)
        self._monitor.request_released()

    def _try(
        self, lane: Lane, endpoint: str, athlete_id: int | None, longest: timedelta, activity_id: int | None
    ) -> tuple[datetime, Reservation | _Closed]:
        """Book the call if it may be sent now; return the database's time, and a reservation or when to try again."""
        with self._engine.begin() as connection:
            moment = self._lock(connection)
            status = app_status.load_status(connection)
            if status.belonging is not None and status.belonging.told is None:
                settle_here(connection)
            if (shut := self._shut(status, moment)) is not None:
                return moment, shut
            clock = self._checked(connection, status.clock, moment)
            scope = self._rate_limits.scope_of(athlete_id)
            windows = tuple(
                window
                for length in self._rate_limits.lengths
                for window in windows_to_book(clock, moment, longest, length)
            )
            if self._goes_first:
                announce_newest(connection, scope, windows, clock.now(moment) + ANNOUNCED)
            uses = load_uses(connection, scope, windows, clock.now(moment))
            busy_day = self._busy_day(connection, lane, athlete_id, moment)
            # The knowledge of Strava's clock ages during a wait for the end of the first window.
            margin = clock.margin(clock.in_our_time(windows[0].ends_at))
            goes_first, now = self._goes_first, clock.now(moment)
            refused = refusal(uses, self._rate_limits, lane, busy_day, now, margin, goes_first=goes_first)
            if refused is not None:
                return moment, _used_up(clock.in_our_time(refused.until), refused.why, lane)
            if not clock.is_trusted(moment) and api_calls.one_is_under_way(connection, moment, longest):
                return moment, _used_up(moment + ASKING, "a call is under way that tells Strava's time", lane)
            is_probe = self._begin_probe(connection, status, moment)
            booked = booking(scope, windows, 1, lane)
            call_id = api_calls.record(connection, lane, endpoint, athlete_id, moment, booked)
            return moment, Reservation(call_id, lane, moment, windows, is_probe, scope, activity_id)

    def _shut(self, status: AppStatus, moment: datetime) -> _Closed | None:
        """Why nothing is sent at all, be there room or not; ``None`` if this call may go, if only as a probe."""
        error = (
            self._unchecked_error(status, moment)
            or app_status.inactive_error(status, moment)
            or outages.away_error(Service.API, status.outage, moment, self._host)
        )
        return None if error is None or error.retry_at is None else _Closed(error.retry_at, str(error), error)

    def _unchecked_error(self, status: AppStatus, moment: datetime) -> RestoreUnchecked | None:
        return None if status.belonging is None else status.belonging.refusal(moment)

    def _begin_probe(self, connection: Connection, status: AppStatus, moment: datetime) -> bool:
        """Note that the call is a probe, if it is one; return whether it is."""
        if status.inactive_since is not None:
            app_status.begin_probe(connection, moment)
        if status.outage.is_away:
            begun = status.outage.probe_begun(moment, self._host)
            outages.store_outage(connection, Service.API, begun)
        return status.inactive_since is not None or status.outage.is_away

    def _lock(self, connection: Connection, *, waits_for_disk: bool = True) -> datetime:
        """Take the ledger's lock and return the time; ``waits_for_disk``: whether the commit waits for the disk."""
        moment = acquire_with_time(connection, Lock.QUOTA, waits_for_disk=waits_for_disk)
        return moment if self._clock is None else self._clock(connection)

    def _now(self) -> datetime:
        with autocommit(self._engine) as connection:
            return now(connection) if self._clock is None else self._clock(connection)

    def _checked(self, connection: Connection, stored: StravaClock, moment: datetime) -> StravaClock:
        clock = stored.since_set_back(moment)
        if clock != stored:
            log.warning("the database's clock went backwards: the next call tells Strava's time anew")
            store_clock(connection, clock)
        return clock

    def _hear(
        self,
        connection: Connection,
        before: StravaClock,
        reservation: Reservation,
        outcome: CallOutcome,
        moment: datetime,
    ) -> StravaClock:
        """Return Strava's clock as known after this answer, and store it if that is news; ``before``: as stored."""
        stored = self._checked(connection, before, moment)
        refused = outcome.limit_reached and bool(outcome.answered)
        clock = stored.heard(reservation.reserved_at, moment, outcome.server_time, refused=refused)
        if clock.is_in_doubt:
            log.warning("Strava's Date %s contradicts the clock: the next answer decides", outcome.server_time)
        if clock.is_news_to(stored, moment):
            store_clock(connection, clock)
        return clock

    def _take_account(
        self,
        connection: Connection,
        reservation: Reservation,
        outcome: CallOutcome,
        moment: datetime,
        clock: StravaClock,
    ) -> bool:
        """Settle in which windows the call counted, and store the headers' limits and usage.

        Returns whether a booking was added, or limits or others' usage changed.
        """
        scope, rates = reservation.scope, outcome.rates
        loaded = load_uses(connection, scope, reservation.windows, clock.now(moment))
        uses = {use.window: use for use in loaded}
        most = {window: use.booked + use.read_foreign for window, use in uses.items()}
        is_news = False
        for length in self._rate_limits.lengths:
            is_short = length == self._rate_limits.short_window_s
            counted = windows_counted(reservation, length, moment, outcome.server_time, clock)
            if rates.read_usage is not None and not clock.is_in_doubt:
                counted = counted.narrowed(rates.read_usage.short if is_short else rates.read_usage.long, most)
            if counted.freed:
                connection.execute(booking(scope, counted.freed, -1, reservation.lane))
            if counted.added:
                book_late(connection, scope, counted.added, reservation.lane)
                is_news = True
            if counted.told in uses:
                is_news |= adopt(connection, scope, uses[counted.told], rates, short=is_short)
        return is_news

    def _block(
        self, connection: Connection, scope: str, outcome: CallOutcome, moment: datetime, clock: StravaClock
    ) -> None:
        at = outcome.server_time or clock.now(moment)
        short, long = (window_at(at, length) for length in self._rate_limits.lengths)
        window, until = window_to_block(outcome, clock.now(moment), short, long, clock.margin(moment))
        told = f"{until:%Y-%m-%d %H:%M:%S}"
        log.warning("a limit is reached (status %s): %s is closed until %s UTC", outcome.status, window.name, told)
        block_until(connection, scope, window, until)

    def _busy_day(self, connection: Connection, lane: Lane, athlete_id: int | None, moment: datetime) -> BusyDay | None:
        """The :func:`busy_day_profile` of the last two weeks, cached for ``BUSY_DAY_KEPT``.

        ``None`` for the live lane, from which nothing is reserved, or without a day of history.
        """
        if lane is Lane.LIVE:
            return None
        scope = self._rate_limits.scope_of(athlete_id)
        known = self._busy_days.get(scope)
        if known is None or not timedelta(0) <= moment - known[0] < BUSY_DAY_KEPT:
            whose = None if scope == APP else athlete_id
            calls = api_calls.live_calls(connection, whose, self._rate_limits.long_window_s, moment)
            known = self._busy_days[scope] = moment, busy_day_profile(calls)
        return known[1]


class CheckingLedger(PostgresLedger):
    """The ledger of the calls that compare a restored database with Strava, before which there may be no others."""

    def _unchecked_error(self, status: AppStatus, moment: datetime) -> RestoreUnchecked | None:  # noqa: ARG002  see above
        return None


def _proves_active(outcome: CallOutcome) -> bool:
    """Whether Strava itself gave an answer that it gives only to an app that is switched on."""
    return bool(outcome.answered) and outcome.status in PROVE_ACTIVE


def _used_up(until: datetime, why: str, lane: Lane) -> _Closed:
    told = f"no request to Strava before {until:%Y-%m-%d %H:%M:%S} UTC: {why} (lane {lane})"
    return _Closed(until, why, QuotaExhausted(told, retry_at=until))
