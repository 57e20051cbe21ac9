"""Strava's clock as seen from the database's, which is the clock of all our processes; pure.

An answer's ``Date`` was written after its call was reserved and before it was settled, so every answer bounds
the offset between both clocks, and answers together narrow it: no trip need be short for that, none even.
One answer that contradicts what is known only raises doubt; the next one decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# Before anything is known, the clocks are taken to differ by no more than this.
UNKNOWN_MARGIN = timedelta(seconds=2)
# On top of what is known: Strava's machines among themselves, and a Date rounded instead of cut.
SLACK = timedelta(seconds=0.5)
_FLEET_S = 0.25
_DATE_S = 1.0
# An offset grows stale by this much per second; a crystal that nobody disciplines drifts so.
_DRIFT = 1e-4
# A clock that was stepped, or a database that moved, is noticed by one call, not by all at once.
TRUSTED_FOR = timedelta(minutes=10)
CONFIRMED_EVERY = timedelta(minutes=2)
_MUCH_NARROWER = 0.8


@dataclass(frozen=True)
class StravaClock:
    """Strava's clock minus the database's: ``offset_s`` +- ``error_s``, as of ``checked_at`` (database's clock).

    Without ``offset_s`` it is unknown: nothing was heard yet or, with ``checked_at``, answers tell no time.
    With an offset but without ``checked_at`` it is in doubt.
    """

    offset_s: float | None = None
    error_s: float = 0.0
    checked_at: datetime | None = None

    def since_set_back(self, moment: datetime) -> StravaClock:
        """What is left of it if the database's clock went backwards: Strava's time is not before the last answer's."""
        if self.checked_at is None or moment >= self.checked_at - SLACK:
            return self
        if self.offset_s is None:
            return StravaClock()
        back = self.checked_at - moment
        return StravaClock(
            self.offset_s + back.total_seconds(), self.error_s + CONFIRMED_EVERY.total_seconds(), checked_at=None
        )

    def now(self, moment: datetime) -> datetime:
        """Strava's time at this moment of the database's clock."""
        return moment + timedelta(seconds=self.offset_s or 0.0)

    def in_our_time(self, instant: datetime) -> datetime:
        """The database's time at this instant of Strava's clock."""
        return instant - timedelta(seconds=self.offset_s or 0.0)

    def margin(self, moment: datetime) -> timedelta:
        """By how much :meth:`now` may be wrong, either way."""
        if self.offset_s is None:
            return UNKNOWN_MARGIN
        return timedelta(seconds=self._error_at(moment)) + SLACK

    def is_trusted(self, moment: datetime) -> bool:
        """Whether an answer confirmed it lately; if not, one call goes alone and brings news."""
        return self.checked_at is not None and -SLACK <= moment - self.checked_at <= TRUSTED_FOR

    def heard(self, sent: datetime, received: datetime, told: datetime | None, *, refused: bool) -> StravaClock:
        """What is known after an answer with the ``Date`` ``told`` to a call sent and received at these times.

        ``refused``: the answer was a 429, which sides with its own ``Date``: by our clock there was room.
        """
        if told is None:
            return replace(self, checked_at=received) if self.offset_s is None else self
        low = (told - received).total_seconds() - _FLEET_S
        high = (told - sent).total_seconds() + _DATE_S + _FLEET_S
        if low > high:  # our own clock went backwards while the call was under way
            return replace(self, checked_at=None)
        if self.offset_s is None:
            return _between(low, high, received)
        error = self._error_at(received)
        common_low, common_high = max(low, self.offset_s - error), min(high, self.offset_s + error)
        if common_low <= common_high:
            return _between(common_low, common_high, received)
        if refused or self.checked_at is None:
            return _between(low, high, received)
        return replace(self, checked_at=None)

    @property
    def is_in_doubt(self) -> bool:
        return self.offset_s is not None and self.checked_at is None

    def is_news_to(self, stored: StravaClock, moment: datetime) -> bool:
        """Whether this is worth a write in place of what is ``stored``; most answers bring nothing new."""
        if stored.checked_at is None or self.checked_at is None or (stored.offset_s is None) != (self.offset_s is None):
            return self != stored
        age = moment - stored.checked_at
        return not (timedelta(0) <= age <= CONFIRMED_EVERY) or self.error_s < _MUCH_NARROWER * stored._error_at(moment)

    def _error_at(self, moment: datetime) -> float:
        age = abs((moment - self.checked_at).total_seconds()) if self.checked_at else 0.0
        return self.error_s + _DRIFT * age


def _between(low: float, high: float, moment: datetime) -> StravaClock:
    return StravaClock((low + high) / 2, (high - low) / 2, moment)
