"""Parses a delivery's bytes into an event: strict JSON, exact types; pure functions.

pydantic is not used, since its parser accepts two equal keys and takes the last.

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
# The end of the year 9999; later times cannot be stored.
LATEST_EPOCH = 253_402_300_799
OBJECT_TYPES = ("activity", "athlete")
ASPECT_TYPES = ("create", "update", "delete")


def parse_event(body: bytes, *, signed: bool) -> NewEvent:
    """Parse a delivery's event. ``WebhookRejected`` with reason ``malformed`` if the body is not exactly one event."""
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
    """A key that all deliveries of one event share, and no other event has."""
    return hashlib.sha256(_CANONICAL.encode([*parts.values()]).encode()).hexdigest()


def _strict_object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode("utf-8")
        parsed = _STRICT.decode(text)
        if "\\u" in text:
            # JSON allows a lone surrogate, written as an escape, but such a text cannot be stored.
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        _malformed()
    if not isinstance(parsed, dict):
        _malformed()
    return parsed


def _whole(fields: dict[str, Any], name: str, at_most: int = LARGEST_ID - 1) -> int:
    value = fields.get(name)
    # Exactly int, since bool is a subclass of int. Zero is allowed: one of Strava's own examples has it.
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


# Made once: json.loads and json.dumps would make a decoder and an encoder for each delivery.
_STRICT = json.JSONDecoder(parse_constant=_refuse, parse_float=_refuse, parse_int=_int, object_pairs_hook=_unique)
_CANONICAL = json.JSONEncoder(sort_keys=True)
