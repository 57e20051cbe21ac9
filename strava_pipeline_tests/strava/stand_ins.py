"""What the transport is given besides Strava, in memory: a ledger and a store of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Reservation

NOW = datetime(2026, 11, 3, 10, 20, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Booking:
    lane: Lane
    endpoint: str
    athlete_id: int | None
    longest: timedelta
    max_wait: timedelta


@dataclass
class MemoryLedger:
    """Has room for everything but after a 429; remembers what was booked and how it was settled.

    ``waits_out``: a 429's block is over by the time of the next booking, as after a wait.
    """

    booked: list[Booking] = field(default_factory=list)
    settled: list[tuple[int, CallOutcome]] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    refusal: Exception | None = None
    waits_out: bool = False
    paused: list[tuple[str, float]] = field(default_factory=list)

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
        if self.refusal is not None:
            raise self.refusal
        self.booked.append(Booking(lane, endpoint, athlete_id, longest, max_wait))
        return Reservation(call_id=len(self.booked), lane=lane, reserved_at=NOW, windows=())

    def settle(self, reservation: Reservation, outcome: CallOutcome) -> None:
        self.settled.append((reservation.call_id, outcome))
        if outcome.limit_reached and not self.waits_out:
            self.refusal = QuotaExhausted("blocked", retry_at=NOW)

    def pause(
        self, why: str, seconds: float, patience: Patience, *, athlete_id: int | None, until: datetime | None = None
    ) -> bool:
        wait = seconds if until is None else max(seconds, (until - NOW).total_seconds())
        if wait > patience.left_s:
            return False
        patience.left_s -= wait
        self.paused.append((why, wait))
        return True

    def release(self, reservation: Reservation) -> None:
        self.released.append(reservation.call_id)

    @property
    def statuses(self) -> list[int | None]:
        """How each booking ended, in order; fails where one was not settled exactly once."""
        assert [call_id for call_id, _ in self.settled] == list(range(1, len(self.booked) + 1))
        return [outcome.status for _, outcome in self.settled]


@dataclass
class MemoryTokens:
    """One athlete's tokens: ``token-1``, and after each refresh the next one."""

    generation: int = 1
    refreshes: list[str] = field(default_factory=list)

    def access_token(self, athlete_id: int) -> Secret:
        return Secret(f"token-{self.generation}")

    def refresh_once(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        if rejected == self.access_token(athlete_id):
            refresh(Secret(f"canary-refresh-{self.generation}"))
        return self.access_token(athlete_id)

    def issue(self, refresh_token: Secret) -> TokenGrant:
        self.refreshes.append(refresh_token.reveal())
        self.generation += 1
        return TokenGrant(self.access_token(0), Secret(f"canary-refresh-{self.generation}"), NOW + timedelta(hours=6))
