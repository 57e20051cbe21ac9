"""The values of cells of activities.csv. Numbers have a dot in every language, and are never grouped."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

Converter = Callable[[str], Any]

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_COMMA: Final = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_ID: Final = re.compile(r"(\d{1,19})(?:\.0*)?", re.ASCII)
# Joules of a long ride are the largest real figures, below 1e9.
_LARGEST: Final = 1e12
_PAST_LAST_ID: Final = 2**63
# Of counts and codes, which tables hold in 32 bits.
_PAST_LAST_COUNT: Final = 2**31
_PAST_LAST_TIME_S: Final = 2**32
# What spreadsheets make of true and false.
TRUE: Final = frozenset({"true", "wahr", "vrai", "waar", "verdadero", "verdadeiro", "vero"})
FALSE: Final = frozenset({"false", "falsch", "faux", "onwaar", "falso"})


class WildNumber(ValueError):
    """A number that no measurement gives: not finite, or far beyond all figures."""


def number(cell: str) -> float:
    """Return a number; ``WildNumber``, or ``ValueError`` for what is none."""
    if not _NUMBER.fullmatch(cell):
        if _NO_NUMBER.fullmatch(cell):
            raise WildNumber
        if not _COMMA.fullmatch(cell):  # as spreadsheets write them
            raise ValueError
        cell = cell.replace(",", ".")
    found = float(cell)
    if abs(found) > _LARGEST:
        raise WildNumber
    return found


def whole(cell: str) -> int:
    """Return a count or code, written as ``12.0``; ``WildNumber`` beyond 32 bits."""
    found = number(cell)
    if not found.is_integer():
        raise ValueError
    if abs(found) >= _PAST_LAST_COUNT:
        raise WildNumber
    return int(found)


def flag(cell: str) -> bool:
    """Return yes or no, written as a word or as ``1.0`` or ``0.0``."""
    word = cell.casefold()
    if word in TRUE | FALSE:
        return word in TRUE
    found = whole(cell)
    if found not in {0, 1}:
        raise ValueError
    return found == 1


def instant(cell: str) -> datetime:
    """Return a time of the weather, in seconds since 1970; Strava's float32 are off by up to 64 s."""
    found = number(cell)
    if not 0 <= found < _PAST_LAST_TIME_S:
        raise WildNumber
    return datetime.fromtimestamp(found, UTC)


def bigint(cell: str) -> int:
    """Return an id, above 0 and within 64 bits, written as ``123`` or ``123.0``."""
    found = _ID.fullmatch(cell)
    if not found or not 0 < int(found[1]) < _PAST_LAST_ID:
        raise ValueError
    return int(found[1])


def text(cell: str) -> str:
    return cell


def bike(cell: str) -> str | None:
    """Return a bike's id as the API writes it; ``None`` for 0."""
    return _gear("b", cell)


def shoe(cell: str) -> str | None:
    """Return the id of a pair of shoes as the API writes it; ``None`` for 0."""
    return _gear("g", cell)


def _gear(letter: str, cell: str) -> str | None:
    return None if number(cell) == 0 else f"{letter}{bigint(cell)}"


def paths(cell: str) -> tuple[str, ...]:
    """Return the paths of photos and videos, which are joined by ``|``."""
    return tuple(path for part in cell.split("|") if (path := part.strip()))
