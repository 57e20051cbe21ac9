"""When Strava counts as *away*, and who may then send the one call that finds out whether it answers again.

Pure: the row that all processes share is in the warehouse. All times are by the database's clock (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# A service is away after so many calls in a row without an answer, of which the first was sent so long ago.
CALLS = 5
SILENCE = timedelta(seconds=30)
# From a probe that failed to the next one: doubled after each, within these bounds.
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
# An app that is switched off is tried so often.
APP_PROBE_EVERY = timedelta(hours=1)
# Longer than any call takes: a probe without an answer by then was sent by a process that died.
LONGEST_CALL = timedelta(seconds=35)
# So many machines may look for themselves whether it is only another one's network that is broken.
MOST_HOSTS = 20


class Service(StrEnum):
    """The two parts of Strava that can be away without the other."""

    API = "api"
    OAUTH = "oauth"


@dataclass(frozen=True)
class Outage:
    """The calls to one service since its last answer, and since when it is away, if it is.

    ``unanswered``: how many calls got no answer, one after the other; ``first_sent_at``: when the first of them was
    sent. ``only_activity``: the activity that all are about; ``several``: they are not all about one activity.
    ``hosts``: machines that tried. While it is away: ``away_since``; ``probe_at``: when the next call may try;
    ``probe_began_at``: when the last of these was sent; ``pause_s``: from its failure to the next one, s; ``reason``:
    why the last call had no answer.
    """

    unanswered: int = 0
    first_sent_at: datetime | None = None
    only_activity: int | None = None
    several: bool = False
    hosts: tuple[str, ...] = ()
    away_since: datetime | None = None
    probe_at: datetime | None = None
    probe_began_at: datetime | None = None
    pause_s: float = FIRST_PAUSE_S
    reason: str | None = None

    @property
    def is_away(self) -> bool:
        return self.away_since is not None

    def may_probe(self, moment: datetime, host: str) -> bool:
        """Whether a call of this machine may be sent now, although the service is away.

        A machine that has not tried yet need not wait, since the network of another one may be all that is broken.
        """
        if self.probe_at is None or (host not in self.hosts and len(self.hosts) < MOST_HOSTS):
            return True
        # A time further away than any pause was written before the clock was set back.
        return moment >= self.probe_at or self.probe_at > moment + timedelta(seconds=LONGEST_PAUSE_S)

    def probe_begun(self, moment: datetime, host: str) -> Outage:
        """Return the state after a probe was booked: the others wait for its answer, as long as a call can take."""
        return replace(self, hosts=self._with(host), probe_began_at=moment, probe_at=moment + LONGEST_CALL)

    def probe_released(self, began_at: datetime, moment: datetime) -> Outage:
        """Return the state after the probe begun at ``began_at`` was not sent: the next call may try at once."""
        return replace(self, probe_at=moment) if began_at == self.probe_began_at else self

    def after_unanswered(
        self, sent: datetime, moment: datetime, activity: int | None, host: str, reason: str
    ) -> Outage:
        """Return the state after a call that got no answer; ``activity``: the one that it is about, if it is.

        Only the failure of the last probe moves the time of the next one; other calls were sent before.
        """
        begun = min(sent, self.first_sent_at or sent)
        state = replace(
            self,
            unanswered=self.unanswered + 1,
            first_sent_at=begun,
            only_activity=activity,
            several=self.several or activity is None or (self.unanswered > 0 and activity != self.only_activity),
            hosts=self._with(host),
            reason=reason,
        )
        if not self.is_away:
            return _away_after_silence(state, begun, moment)
        if sent != self.probe_began_at:
            return state
        pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
        return replace(state, pause_s=pause_s, probe_at=moment + timedelta(seconds=pause_s))

    def _with(self, host: str) -> tuple[str, ...]:
        if host in self.hosts or len(self.hosts) == MOST_HOSTS:
            return self.hosts
        return (*self.hosts, host)


@dataclass
class Patience:
    """How long a call still waits, s: the pauses of all its attempts together."""

    left_s: float = 0.0

    def allows(self, until: datetime, moment: datetime) -> bool:
        """Whether a wait from ``moment`` until ``until`` is not too long."""
        return (until - moment).total_seconds() <= self.left_s


# Any answer, to whomever and however late, is enough.
ANSWERED = Outage()


def _away_after_silence(state: Outage, since: datetime, moment: datetime) -> Outage:
    if state.unanswered < CALLS or not state.several or moment - since < SILENCE:
        return state
    probe_at = moment + timedelta(seconds=FIRST_PAUSE_S)
    return replace(state, away_since=since, probe_at=probe_at, pause_s=FIRST_PAUSE_S)
