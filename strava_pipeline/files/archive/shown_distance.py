"""The first distance of a row, a text for people, and the only one in tables that end with the filename."""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = re.compile(r"\d+")
# Signs of decimals and thousands: dot, comma, blank, apostrophes, and the Arabic ones.
_OTHERS: Final = re.compile("[^\\d\\s.,'\u2019\u066b\u066c]")
_KM_M: Final = 1_000.0
_NAUTICAL_MILE_M: Final = 1_852.0
_GROUP: Final = 3
# Of a distance in m or hundredths of km; more are none.
_MOST_DIGITS: Final = 12
# No sport is faster; what seems so is a swim, whose metres were taken for kilometres.
_FASTEST_MPS: Final = 90.0


def shown_distance_m(text: str, sport: str | None, elapsed_s: float | None) -> float | None:
    """Return metres: km in most sports, m for swims, nautical miles for sailing; ``None`` for what is no number.

    Decimal and thousands signs are the language's: one group of three digits behind a sign is of thousands, as km are
    shown with two decimals, and metres with none.
    """
    found = _number(text)
    if found is None:
        return None
    if sport == "Swim":
        return found
    if sport == "Sail":
        return found * _NAUTICAL_MILE_M
    is_too_fast = elapsed_s and found * _KM_M > _FASTEST_MPS * elapsed_s
    return found if sport is None and is_too_fast else found * _KM_M


def _number(text: str) -> float | None:
    groups = _DIGITS.findall(text)
    if not 0 < sum(map(len, groups)) <= _MOST_DIGITS or _OTHERS.search(text) or text.lstrip().startswith((".", ",")):
        return None
    *whole, last = groups
    if whole and len(last) != _GROUP:
        return float(f"{int(''.join(whole))}.{last}") if len(last) <= 2 else None  # noqa: PLR2004  hundredths
    return float(int("".join(groups)))
