"""The offset between Strava's clock and the database's, which is the clock of all our processes. Pure.

Strava writes an answer's ``Date`` after the call was reserved and before it is settled. So every answer bounds the
offset, and several answers narrow it, even if none of them was quick. An answer that contradicts the known offset only
puts it in doubt; the next answer decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# Before any answer, the clocks are assumed to differ by no more than this.
UNKNOWN_MARGIN = timedelta(seconds=2)
# Added to the known error: differences among Strava's machines, and a Date that is rounded instead of cut off.
SLACK = timedelta(seconds=0.5)
_FLEET_S = 0.25
_DATE_S = 1.0
# By so much the error grows per second: the drift of a clock that no time server corrects.
_DRIFT = 1e-4
# After this time a single call goes first: if a clock was stepped or the database moved, only that call is affected.
TRUSTED_FOR = timedelta(minutes=10)
# A confirmation of the stored offset is stored if the last one is older than this.
CONFIRMED_EVERY = timedelta(minutes=2)
_MUCH_NARROWER = 0.8


@dataclass(frozen=True)
class StravaClock:
    """Strava's clock minus the database's: ``offset_s`` +- ``error_s``, as of ``checked_at`` (database's clock).

    Without ``offset_s`` the offset is unknown: there was no answer yet or, if ``checked_at`` is set, answers have no
    usable ``Date``. An offset without ``checked_at`` is in doubt.
    """

    offset_s: float | None = None
    error_s: float = 0.0
    checked_at: datetime | None = None

    def since_set_back(self, moment: datetime) -> StravaClock:
        """Return what is known at ``moment``: nothing changes, unless the database's clock was set back meanwhile.

        Then Strava's time is taken to be no earlier than at the last answer, and the offset is in doubt.
        """
        if self.checked_at is None or moment >= self.checked_at - SLACK:
            return self
        if self.offset_s is None:
            return StravaClock()
        back = self.checked_at - moment
        return StravaClock(
            self.offset_s + back.total_seconds(), self.error_s + CONFIRMED_EVERY.total_seconds(), checked_at=None
        )

    def now(self, moment: datetime) -> datetime:
        """Return Strava's time at this moment of the database's clock."""
        return moment + timedelta(seconds=self.offset_s or 0.0)

    def in_our_time(self, instant: datetime) -> datetime:
        """Return the database's time at this instant of Strava's clock."""
        return instant - timedelta(seconds=self.offset_s or 0.0)

    def margin(self, moment: datetime) -> timedelta:
        """Return by how much :meth:`now` may be wrong, in either direction."""
        if self.offset_s is None:
            return UNKNOWN_MARGIN
        return timedelta(seconds=self._error_at(moment)) + SLACK

    def is_trusted(self, moment: datetime) -> bool:
        """Whether an answer confirmed the offset lately; if not, the ledger sends one call alone to find out."""
        return self.checked_at is not None and -SLACK <= moment - self.checked_at <= TRUSTED_FOR

    def heard(self, sent: datetime, received: datetime, told: datetime | None, *, refused: bool) -> StravaClock:
        """Return what is known after an answer with the ``Date`` ``told``; ``sent``, ``received``: database's clock.

        ``refused``: Strava says that a limit is reached. Its ``Date`` is believed at once, since by the known offset
        there was room.
        """
        if told is None:
            return replace(self, checked_at=received) if self.offset_s is None else self
        low = (told - received).total_seconds() - _FLEET_S
        high = (told - sent).total_seconds() + _DATE_S + _FLEET_S
        if low > high:  # the database's clock went backwards during the call
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
        """Whether this is worth storing in place of ``stored``; most answers bring nothing new."""
        if stored.checked_at is None or self.checked_at is None or (stored.offset_s is None) != (self.offset_s is None):
            return self != stored
        age = moment - stored.checked_at
        return not (timedelta(0) <= age <= CONFIRMED_EVERY) or self.error_s < _MUCH_NARROWER * stored._error_at(moment)

    def _error_at(self, moment: datetime) -> float:
        age = abs((moment - self.checked_at).total_seconds()) if self.checked_at else 0.0
        return self.error_s + _DRIFT * age


def _between(low: float, high: float, moment: datetime) -> StravaClock:
    return StravaClock((low + high) / 2, (high - low) / 2, moment)
