"""From a delivery's bytes to an event: strict JSON, exact types; pure functions.

Not by pydantic, whose parser takes the last of two equal keys.

Source: https://developers.strava.com/docs/webhooks/
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NoReturn

from strava_pipeline.errors import WebhookRejected
from strava_pipeline.warehouse.inbox.events import NewEvent

LARGEST_ID = 2**63
# Year 9999; what is later cannot be stored as a time.
LATEST_EPOCH = 253_402_300_799
OBJECT_TYPES = ("activity", "athlete")
ASPECT_TYPES = ("create", "update", "delete")


def parse_event(body: bytes, *, signed: bool) -> NewEvent:
    """The event in a delivery. ``WebhookRejected`` with reason ``malformed`` if it is not exactly one."""
    fields = _strict_object(body)
    event_time = _whole(fields, "event_time", at_most=LATEST_EPOCH)
    # The parts of the event's key, in this order.
    parts: dict[str, Any] = {
        "subscription_id": _whole(fields, "subscription_id"),
        "object_type": _one_of(fields, "object_type", OBJECT_TYPES),
        "object_id": _whole(fields, "object_id"),
        "aspect_type": _one_of(fields, "aspect_type", ASPECT_TYPES),
        "owner_id": _whole(fields, "owner_id"),
        "event_time": event_time,
        "updates": _updates(fields),
    }
    return NewEvent(
        **parts | {"event_time": datetime.fromtimestamp(event_time, UTC)}, event_key=_event_key(parts), signed=signed
    )


def _event_key(parts: dict[str, Any]) -> str:
    """The same for every delivery of one event, and for nothing else."""
    return hashlib.sha256(_CANONICAL.encode([*parts.values()]).encode()).hexdigest()


def _strict_object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        parsed = _STRICT.decode(text)
        if "\\u" in text:
            # A lone surrogate is legal in JSON text, where only an escape can write it, but no text to be stored.
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        _malformed()
    if not isinstance(parsed, dict):
        _malformed()
    return parsed


def _whole(fields: dict[str, Any], name: str, at_most: int = LARGEST_ID - 1) -> int:
    value = fields.get(name)
    # Exactly int: bool is one by inheritance. Zero stands in one of Strava's own examples.
    if type(value) is not int or not 0 <= value <= at_most:
        _malformed()
    return value


def _one_of(fields: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in allowed:
        _malformed()
    return value


def _updates(fields: dict[str, Any]) -> dict[str, str]:
    updates = fields.get("updates")
    if updates is None:
        return {}
    if not isinstance(updates, dict) or not all(
        isinstance(value, str) and "\x00" not in key + value for key, value in updates.items()
    ):
        _malformed()
    return updates


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _int(text: str) -> int:
    # Python refuses texts of thousands of digits by itself, but only after reading them.
    if len(text) > len(str(LARGEST_ID)) + 1:
        raise ValueError
    return int(text)


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _malformed() -> NoReturn:
    raise WebhookRejected("malformed", status=HTTPStatus.BAD_REQUEST) from None


# Made once: json.loads and json.dumps would make one for each delivery.
_STRICT = json.JSONDecoder(parse_constant=_refuse, parse_float=_refuse, parse_int=_int, object_pairs_hook=_unique)
_CANONICAL = json.JSONEncoder(sort_keys=True)
