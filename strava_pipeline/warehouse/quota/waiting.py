"""How a process waits for the ledger: in pauses, after each of which it looks whether the wait is still wanted."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.monitor import RequestMonitor
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.warehouse.revoked import refuse_waiting_for_revoked

log = get_logger(__name__)

# A wait is cut into pauses this short, so that a disconnect of the athlete, or the end of an outage, is noticed within
# half a minute.
SLICE_SECONDS = 20.0
SHORTEST_WAIT_SECONDS = 0.01
# Waiting processes try again up to this much after room is expected, so that not all come at once; never before.
SPREAD_SECONDS = 0.5


def random_spread() -> float:
    """Return a time to add to a wait, s."""
    return random.uniform(0.0, SPREAD_SECONDS)  # noqa: S311  no secret


@dataclass
class Throttle:
    """Lets a line into the log at once, and then whenever ``every_s`` more seconds were waited."""

    every_s: float
    _left_s: float = 0.0

    def lets_through(self, pause_s: float) -> bool:
        """Whether the line of a pause of this length is logged."""
        is_due = self._left_s <= 0
        self._left_s = (self.every_s if is_due else self._left_s) - pause_s
        return is_due


@dataclass(frozen=True)
class Waiter:
    """Waits on behalf of one process; ``spread`` returns the seconds that are added to a wait."""

    engine: Engine
    sleep: Callable[[float], None]
    spread: Callable[[], float]
    monitor: RequestMonitor

    def pause(
        self,
        why: str,
        moment: datetime,
        until: datetime,
        patience: Patience,
        *,
        athlete_id: int | None,
        about: str,
        throttle: Throttle,
        of: str = "",
    ) -> None:
        """Wait for ``until``, but no longer than a slice, and take the time from ``patience``.

        ``moment`` and ``until`` are by the database's clock. ``why``, ``of`` (whose lack it is) and ``about``
        (the call) are told in words.
        ``NeedsReauthorization`` if the athlete was disconnected meanwhile.
        """
        wait = max(SHORTEST_WAIT_SECONDS, (until - moment).total_seconds())
        pause = SLICE_SECONDS if wait > SLICE_SECONDS else wait + self.spread()
        if throttle.lets_through(pause):
            log.info("waiting %.0f s%s: %s (%s)", wait, of, why, about)
        self.monitor.wait_begins(why, until, pause)
        self.sleep(pause)
        patience.left_s -= pause
        if athlete_id is not None:
            refuse_waiting_for_revoked(self.engine, athlete_id)
