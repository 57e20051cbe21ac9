"""Reads the units of columns from their comments, so that each unit is written only once.

In a comment, the unit follows the meaning after a comma: ``distance over moving time, m/s``. Remarks follow in brackets
or after a semicolon. A unit may say from where it counts: ``highest point, m above sea level``.
"""

from __future__ import annotations

import re

from sqlalchemy import Column

UNITS = (
    "m/s", "m/h", "m", "s per km", "s", "W per bpm", "W", "bpm", "rpm", "kJ", "kcal", "kg", "percent",
    "degrees Celsius", "degrees", "hPa", "mm/h", "Dobson units",
)  # fmt: skip
_IN_WORDS = {"metres": "m", "seconds": "s"}
_CLAUSE_END = re.compile(r"[,;:(]")
_UNIT = re.compile(f"({'|'.join((*UNITS, *_IN_WORDS))})(?: (?:above|north|east|from|since)\\b.*)?")


def unit_of(column: Column[object]) -> str | None:
    """Return the unit of a column's values; ``None`` if they have none, or one that differs from row to row."""
    for clause in _CLAUSE_END.split(column.comment or ""):
        if found := _UNIT.fullmatch(clause.strip()):
            return _IN_WORDS.get(found[1], found[1])
    return None
