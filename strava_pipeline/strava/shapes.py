"""The shape of each of Strava's answers: a success of another shape is not Strava's, but a proxy's or gateway's.

A shape asks for no more than tells one kind of answer from others; the values are checked when they are mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What a success holds, in words, and whether a parsed body ``fits``."""

    name: str
    fits: Callable[[Any], bool]


def _object_with(*members: str) -> Callable[[Any], bool]:
    """Whether a body is an object with at least one of these members."""
    return lambda body: isinstance(body, dict) and not body.keys().isdisjoint(members)


def _are_objects(body: Any) -> bool:
    return isinstance(body, list) and all(isinstance(entry, dict) for entry in body)


def _are_streams(body: Any) -> bool:
    """Whether a body is an object of streams, or the list of older answers; without samples, both are empty."""
    if isinstance(body, dict):
        body = list(body.values())
    return isinstance(body, list) and (not body or any(isinstance(entry, dict) and "data" in entry for entry in body))


def _are_subscriptions(body: Any) -> bool:
    return _are_objects(body) and all(
        type(entry.get("id")) is int and isinstance(entry.get("callback_url"), str) for entry in body
    )


_PERIODS = ("recent", "ytd", "all")
_SPORTS = ("ride", "run", "swim")

ANYTHING = Shape("JSON", lambda _: True)
OBJECT = Shape("an object", lambda body: isinstance(body, dict))
ATHLETE = Shape("an athlete", _object_with("id"))
ACTIVITY = Shape("an activity", _object_with("id"))
GEAR = Shape("a bike or a pair of shoes", _object_with("id"))
TOTALS = Shape("totals", _object_with(*(f"{period}_{sport}_totals" for period in _PERIODS for sport in _SPORTS)))
ZONES = Shape("zones", _object_with("heart_rate", "power"))
ACTIVITIES = Shape("a list of activities", _are_objects)
STREAMS = Shape("streams", _are_streams)
SUBSCRIPTIONS = Shape("a list of subscriptions", _are_subscriptions)
NEW_SUBSCRIPTION = Shape("a subscription", lambda body: isinstance(body, dict) and type(body.get("id")) is int)
