"""Converts JSON values to the Python values of columns; errors name the field.

A converter raises ``TypeError``, ``ValueError`` or ``OverflowError`` for a value that does not fit;
:func:`pick` turns that into ``RejectedRequest``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from strava_pipeline.errors import RejectedRequest

Converter = Callable[[Any], Any]
Fields = Mapping[str, Converter]
JsonObject = dict[str, Any]
# A float above this number cannot hold every whole number.
_LAST_EXACT = 2**53
_isfinite = math.isfinite


def pick(body: JsonObject, fields: Fields, what: str) -> JsonObject:
    """Return the named fields of an object, converted; absent fields and null are ``None``."""
    value_of = body.get
    row = {}
    name = ""
    try:
        for name, convert in fields.items():
            value = value_of(name)
            row[name] = None if value is None else convert(value)
    except (TypeError, ValueError, OverflowError):
        raise RejectedRequest(f"{what}: Strava's field {name} holds {told(body[name])}, which does not fit") from None
    return row


def told(value: Any) -> str:
    """Say what an odd value is, for a message: a number as it is; of a text only its length, as it may be anybody's.

    Messages are kept for longer than activities, in Dagster's log as well.
    """
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return f"{type(value).__name__} {value}"[:40] if isinstance(value, int | float) else type(value).__name__


# These converters see every field of years of activities: each checks the common case first, without a further call.


def integer(value: Any) -> int:
    """Return a whole number that fits into 32 bits; Strava writes some of these as 484126.0."""
    if type(value) is int and -0x80000000 <= value <= 0x7FFFFFFF:  # noqa: PLR2004  of 32 bits
        return value
    return _whole(value, 2**31)


def bigint(value: Any) -> int:
    """Return a whole number that fits into 64 bits, such as an id; refuse a float that may have lost digits."""
    if type(value) is float and abs(value) > _LAST_EXACT:
        raise ValueError
    return _whole(value, 2**63)


def _whole(value: Any, limit: int) -> int:
    if type(value) is int and -limit <= value < limit:
        return value
    if type(value) is not float or value != int(value) or not -limit <= value < limit:
        raise ValueError
    return int(value)


def number(value: Any) -> float:
    """Return a finite number, whole or not, as a float."""
    if type(value) is float and _isfinite(value):
        return value
    if type(value) is not int:
        raise ValueError
    return float(value)


def text(value: Any) -> str:
    """Return text without NUL, and with ? for lone surrogates: Postgres can hold neither."""
    if type(value) is not str:
        raise TypeError
    if value.isascii() and "\x00" not in value:
        return value
    return value.replace("\x00", "").encode("utf-8", "replace").decode()


def flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise TypeError


def instant(value: Any) -> datetime:
    """Return a point in time in UTC; ``ValueError`` for a text without a time zone."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def wall_time(value: Any) -> datetime:
    """Return local wall time, without the ``Z`` that Strava writes behind it: the time is not in UTC."""
    return datetime.fromisoformat(value).replace(tzinfo=None)


def position(value: Any) -> list[float] | None:
    """Return ``[latitude, longitude]`` in degrees; ``None`` for ``[]``, which means no GPS."""
    if not value:
        return None
    latitude, longitude = value
    return [number(latitude), number(longitude)]


def address_by_size(value: Any) -> dict[str, str]:
    """Return the addresses of a picture by its size in pixels."""
    if not isinstance(value, dict):
        raise TypeError
    return {text(size): text(address) for size, address in value.items()}


def nested(row: JsonObject, key: str, what: str) -> JsonObject:
    """Return an object within an object; an empty one if it is absent or null."""
    found = row.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RejectedRequest(f"{what}: Strava's field {key} is not an object")
    return found


def objects(row: JsonObject, key: str, what: str) -> list[JsonObject]:
    """Return a list of objects within an object; an empty one if it is absent or null."""
    found = row.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RejectedRequest(f"{what}: Strava's field {key} is not a list of objects")
    return found
