"""Cells of CSV for spreadsheets: no text becomes a formula there, and each row is one line."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from strava_pipeline.printable import WHOLE, printable, printable_json

# The signs = + - @ and minus, with which a formula begins, in every form that a spreadsheet may convert into one.
_SIGN = re.compile(
    "[-=+@\u2212\ufe63\uff0d\u207b\u208b\ufe66\uff1d\u207c\u208c\u2a75\u2a76\ufe62\uff0b\u207a\u208a\ufb29\ufe6b\uff20]"
)
# Characters at which a reader may split a line into cells, whichever separator was written; tabs are spaces by then.
_SEPARATORS = frozenset(';,|"\u037e\ufe14\ufe54\uff1b\ufe10\ufe50\uff0c\uff5c\uff02')
_SEPARATOR = re.compile(f"[{''.join(sorted(_SEPARATORS))}]")
# Characters that a cell may skip, though their category does not say so: Braille's blank, a null note head, quotes.
_BLANKS = frozenset("\u2800\U0001d159'`\u00b4\uff07<>")
# Unicode categories that a cell may skip at its beginning: blanks, controls, marks, brackets and quotes.
_SKIPPED_KINDS = frozenset({"Z", "C", "M", "Ps", "Pe", "Pi", "Pf"})
_CLOSING = " )]}"
_FACE = re.compile(r"-[()DPp](?!\S)")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)


def safe_cell(value: Any) -> Any:
    """A number unchanged, any other value as one printable line that no spreadsheet takes for a formula."""
    if isinstance(value, (int, float, Decimal)):
        return value
    text = printable(str(plain_cell(value)), WHOLE)
    if _NUMBER.fullmatch(text):
        return text
    return _without_formulas(text)


def _without_formulas(text: str) -> str:
    """The text with an apostrophe before each sign that could begin a formula, if the text were split into cells."""
    pieces, done = [], 0
    for sign in _SIGN.finditer(text):
        position = sign.start()
        before = _before(text, position)
        if before >= 0 and text[before] not in _SEPARATORS:
            continue
        if _is_plain(text, before, position):
            continue
        place = position if before >= 0 else 0
        pieces += [text[done:place], "'"]
        done = place
    return "".join([*pieces, text[done:]])


def _before(text: str, position: int) -> int:
    """The position of the last character before this one that a cell does not skip at its beginning; -1 if none."""
    position -= 1
    while position >= 0 and text[position] not in _SEPARATORS and _is_skipped(text[position]):
        position -= 1
    return position


def _is_skipped(char: str) -> bool:
    if char.isascii() and char.isalnum():
        return False
    kind = unicodedata.category(char)
    return char in _BLANKS or kind in _SKIPPED_KINDS or kind[0] in _SKIPPED_KINDS


def _is_plain(text: str, before: int, position: int) -> bool:
    """Whether the sign begins no formula, but a number within the text, or belongs to a face such as ``;-)``."""
    if before < 0 and not text[:position].strip():
        return False
    if before == position - 1 and text[before] == ";" and _FACE.match(text, position):
        return True
    end = _SEPARATOR.search(text, position)
    return _NUMBER.fullmatch(text[position : end.start() if end else None].rstrip(_CLOSING)) is not None


def plain_cell(value: Any) -> Any:
    """Empty for NULL, ISO 8601 for times, JSON for lists and objects; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return printable_json(value, indent=None) if isinstance(value, (dict, list)) else value
