"""What was true at Strava, and what the app could see of it, with times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline_tests.simulated.timeline import Timeline, pairs_between

Scopes = tuple[str, ...]
Sees = Callable[[Scopes, JsonObject], bool]
Body = JsonObject | None


@dataclass(frozen=True)
class Granted:
    """What an athlete's grant allows; ``None``: there is none. ``is_less``: an earlier one showed more activities."""

    scopes: Scopes | None
    is_less: bool = False


@dataclass(frozen=True)
class Seen:
    """What the app could see of one thing during some time: each of its ``states``.

    ``absent``: for some of the time there was nothing to see. ``stale``: because the app saw less than before, so that
    what is stored may be anything.
    """

    states: tuple[JsonObject, ...] = ()
    absent: bool = False
    stale: bool = False


def _of(first: Body | Granted) -> Callable[[], Timeline]:  # type: ignore[type-arg]
    return partial(Timeline, first)


@dataclass
class Truth:
    """Activities and profiles by id, gear by id, and each athlete's grant."""

    activities: dict[int, Timeline[Body]] = field(default_factory=lambda: defaultdict(_of(None)))
    profiles: dict[int, Timeline[Body]] = field(default_factory=lambda: defaultdict(_of(None)))
    gear: dict[str, Timeline[Body]] = field(default_factory=lambda: defaultdict(_of(None)))
    grants: dict[int, Timeline[Granted]] = field(default_factory=lambda: defaultdict(_of(Granted(None))))

    def grant(self, athlete_id: int, at: float, scopes: Scopes | None) -> None:
        """Note what the app may see from now on."""
        grants = self.grants[athlete_id]
        most = max((shown(granted.scopes) for granted in grants.values), default=-1)
        grants.set(at, Granted(scopes, shown(scopes) < most))

    def seen_activity(self, athlete_id: int, number: int, since: float, until: float = inf) -> Seen:
        """What the app could see of an activity since then, or between two times (epoch s)."""
        return self._seen(self.activities[number], athlete_id, since, sees, until)

    def seen_profile(self, athlete_id: int, since: float) -> Seen:
        """What the app could see of a profile since then."""
        return self._seen(self.profiles[athlete_id], athlete_id, since, lambda *_: True)

    def seen_gear(self, athlete_id: int, gear_id: str, since: float) -> Seen:
        """What the app could see of a bike since then."""
        return self._seen(self.gear[gear_id], athlete_id, since, lambda *_: True)

    def _seen(self, timeline: Timeline[Body], athlete_id: int, since: float, may_see: Sees, until: float = inf) -> Seen:
        states: list[JsonObject] = []
        absent = stale = False
        for body, granted in pairs_between(timeline, self.grants[athlete_id], since, until):
            if body is not None and granted.scopes is not None and may_see(granted.scopes, body):
                states.append(body)
            else:
                absent = True
                stale = stale or granted.is_less
        return Seen(tuple(states), absent, stale)


def shown(scopes: Scopes | None) -> int:
    """How much of the activities a grant shows: 0: none, 1: those that others see, 2: all; -1: there is no grant."""
    if scopes is None:
        return -1
    return 2 if "activity:read_all" in scopes else 1 if "activity:read" in scopes else 0


def sees(scopes: Scopes, body: JsonObject) -> bool:
    """Whether an app with these scopes sees an activity."""
    return shown(scopes) > (1 if body["private"] else 0)
