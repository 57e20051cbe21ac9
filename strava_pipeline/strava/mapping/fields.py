"""From a JSON value to the Python value of a column, or an error that names the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from strava_pipeline.errors import RejectedRequest

Converter = Callable[[Any], Any]
Fields = Mapping[str, Converter]
JsonObject = dict[str, Any]
# Beyond, a float does not hold every whole number.
_LAST_EXACT = 2**53
_isfinite = math.isfinite


def pick(body: JsonObject, fields: Fields, what: str) -> JsonObject:
    """The named fields of an object, converted; absent ones and null are ``None``."""
    value_of = body.get
    row = {}
    name = ""
    try:
        for name, convert in fields.items():
            value = value_of(name)
            row[name] = None if value is None else convert(value)
    except (TypeError, ValueError, OverflowError):
        held = body[name]
        raise RejectedRequest(
            f"{what}: Strava's field {name} holds {type(held).__name__} {str(held)[:40]!r}, which does not fit"
        ) from None
    return row


# A listing of years passes here field by field: the common case comes first and takes no further call.


def integer(value: Any) -> int:
    """A whole number that fits into 32 bits; Strava writes some as 484126.0."""
    if type(value) is int and -0x80000000 <= value <= 0x7FFFFFFF:  # noqa: PLR2004  of 32 bits
        return value
    return _whole(value, 2**31)


def bigint(value: Any) -> int:
    """A whole number that fits into 64 bits, such as an id; never a float that has lost its last digits."""
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
    """A finite number, whole or not."""
    if type(value) is float and _isfinite(value):
        return value
    if type(value) is not int:
        raise ValueError
    return float(value)


def text(value: Any) -> str:
    """Text as it came, but for NUL and lone surrogates, which Postgres cannot hold."""
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
    """A point in time (UTC)."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(UTC)


def wall_time(value: Any) -> datetime:
    """Local wall time: Strava writes a ``Z`` behind it that does not hold."""
    return datetime.fromisoformat(value).replace(tzinfo=None)


def position(value: Any) -> list[float] | None:
    """``[latitude, longitude]`` in degrees; ``[]`` means without GPS."""
    if not value:
        return None
    latitude, longitude = value
    return [number(latitude), number(longitude)]


def address_by_size(value: Any) -> dict[str, str]:
    """Addresses of a picture by its size in pixels."""
    if not isinstance(value, dict):
        raise TypeError
    return {text(size): text(address) for size, address in value.items()}


def nested(row: JsonObject, key: str, what: str) -> JsonObject:
    """An object within an object; an empty one where it is absent or null."""
    found = row.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RejectedRequest(f"{what}: Strava's field {key} is not an object")
    return found


def objects(row: JsonObject, key: str, what: str) -> list[JsonObject]:
    """A list of objects within an object; empty where it is absent or null."""
    found = row.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise RejectedRequest(f"{what}: Strava's field {key} is not a list of objects")
    return found
