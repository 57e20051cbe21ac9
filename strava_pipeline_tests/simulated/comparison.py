"""Compares what is stored of one thing with what the app could see of it, and tells what differs for too long.

What is stored must equal a state that was to be seen within the time of patience. If nothing has changed since, that is
the newest one. Nothing may be missing for as long, either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline_tests.simulated.stored import MISSING, Parts
from strava_pipeline_tests.simulated.truth import Seen


@dataclass(frozen=True)
class Difference:
    """How a thing differs from Strava now; ``is_late``: it has done so for longer than it may."""

    thing: Thing
    what: str
    is_late: bool

    def __str__(self) -> str:
        return f"athlete {self.thing.athlete_id}, {self.thing.about}: {self.what}"


@dataclass(frozen=True)
class Thing:
    """One thing to compare: what is ``stored`` of it, what the app could see of it, and the parts of such a state.

    ``since``: when the time of patience began (epoch s); ``subject``: what the world's history of it is kept under.
    """

    athlete_id: int
    about: str
    subject: int
    stored: Parts | None
    seen: Callable[[float], Seen]
    parts: Callable[[JsonObject], Parts]
    since: float


@dataclass
class Comparison:
    """Remembers since when (epoch s) which part of what thing has been missing at each look."""

    _missing: dict[tuple[int, str, str], float] = field(default_factory=dict)

    def difference(self, thing: Thing, now: float) -> Difference | None:
        """Return how a thing differs now; ``None`` if it does not."""
        what = _wrong(thing, thing.seen(now))
        is_missing = self._is_missing_for_long(thing, what, now)
        if what is None:
            return None
        is_late = is_missing or _wrong(thing, thing.seen(thing.since), may_lack=True) is not None
        return Difference(thing, what, is_late)

    def _is_missing_for_long(self, thing: Thing, what: str | None, now: float) -> bool:
        """Whether a part has been missing at each look for longer than the time of patience."""
        is_late = False
        for name, value in (thing.stored or {}).items():
            key = (thing.athlete_id, thing.about, name)
            if value is MISSING and what:
                is_late |= self._missing.setdefault(key, now) < thing.since
            else:
                self._missing.pop(key, None)
        return is_late


def _wrong(thing: Thing, seen: Seen, *, may_lack: bool = False) -> str | None:
    """How what is stored differs from all that was seen; ``may_lack``: parts may be missing."""
    if seen.stale:
        return None
    if thing.stored is None:
        return None if seen.absent else "is not stored"
    if not seen.states:
        return "is stored, but Strava does not show it"
    if thing.stored == thing.parts(seen.states[-1]):
        return None
    states = [thing.parts(state) for state in seen.states]
    told = [
        f"{name} {value, states[-1].get(name)}"
        for name, value in thing.stored.items()
        if not (value is MISSING and may_lack) and all(value != state.get(name) for state in states)
    ]
    return f"differs (ours, Strava's): {', '.join(told)}" if told else None
