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


def _has_id(body: Any) -> bool:
    """Whether a body is an object whose id is a whole number; gateways name their requests ``id``, too."""
    return isinstance(body, dict) and type(body.get("id")) is int


def _all_have_ids(body: Any) -> bool:
    """Whether a body is a list, which may be empty, of objects with an id."""
    return isinstance(body, list) and all(map(_has_id, body))


def _is_revocation(body: Any) -> bool:
    """Whether a body is the empty object of ``/revoke``, or names the token that ``/deauthorize`` ended."""
    return body == {} or (isinstance(body, dict) and "access_token" in body)


def _are_streams(body: Any) -> bool:
    """Whether a body is an object of streams, or the list of older answers; without samples, both are empty."""
    if isinstance(body, dict):
        body = list(body.values())
    return isinstance(body, list) and (not body or any(isinstance(entry, dict) and "data" in entry for entry in body))


def _are_subscriptions(body: Any) -> bool:
    return _all_have_ids(body) and all(isinstance(entry.get("callback_url"), str) for entry in body)


_PERIODS = ("recent", "ytd", "all")
_SPORTS = ("ride", "run", "swim")

ANYTHING = Shape("JSON", lambda _: True)
REVOCATION = Shape("a revocation", _is_revocation)
ATHLETE = Shape("an athlete", _has_id)
ACTIVITY = Shape("an activity", _has_id)
GEAR = Shape("a bike or a pair of shoes", lambda body: isinstance(body, dict) and isinstance(body.get("id"), str))
TOTALS = Shape("totals", _object_with(*(f"{period}_{sport}_totals" for period in _PERIODS for sport in _SPORTS)))
ZONES = Shape("zones", _object_with("heart_rate", "power"))
ACTIVITIES = Shape("a list of activities", _all_have_ids)
STREAMS = Shape("streams", _are_streams)
SUBSCRIPTIONS = Shape("a list of subscriptions", _are_subscriptions)
NEW_SUBSCRIPTION = Shape("a subscription", _has_id)


def activity(activity_id: int) -> Shape:
    """The shape of the answer to a question for one activity: another activity is no answer to it."""
    return Shape(f"activity {activity_id}", lambda body: ACTIVITY.fits(body) and body["id"] == activity_id)
