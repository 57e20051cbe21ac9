"""Texts of others made fit for a terminal, a log line and a table: one line, bounded, and nothing a terminal obeys.

Ordinary international text stays as it is, emoji and their joiners included. White space of every kind, line breaks
too, becomes a space. Format characters (direction, zero width, tags) go without a trace. What is left and has no glyph
(controls, surrogates, private use, unassigned) becomes U+FFFD, so that it shows that something was there.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import Any, Final

# Characters; a longer text ends in an ellipsis.
LONGEST: Final = 1000
# Where nothing may be left out.
WHOLE: Final = sys.maxsize
ELLIPSIS: Final = "\u2026"
MARK: Final = "\ufffd"
# ZWNJ and ZWJ: Persian, the scripts of India and emoji need them between two of their characters.
_JOINERS = frozenset("\u200c\u200d")
# Letters and marks by their category, yet without a glyph: fillers, and what Unicode calls default ignorable.
_WITHOUT_GLYPH = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_NOT_SEEN = re.compile(f"[{''.join(sorted(_WITHOUT_GLYPH))}{_SELECTOR.pattern[1:]}")
_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")


def printable(text: str, longest: int = LONGEST) -> str:
    """The text as at most ``longest`` printable characters in one line; once more changes nothing."""
    if len(text) > longest:
        text = text[: longest - 1] + ELLIPSIS
    if text.isprintable() and (text.isascii() or not _NOT_SEEN.search(text)):
        return text
    kept: list[str] = []
    for position, char in enumerate(text):
        before = kept[-1][-1] if kept and kept[-1] else ""
        shown = _shown(char, before, text[position + 1 : position + 2])
        if shown:
            kept.append(shown)
    return "".join(kept)


def printable_lines(text: str, longest: int = LONGEST) -> str:
    """The same for each line of a text that has several, such as a traceback."""
    return "\n".join(printable(line, longest) for line in text.split("\n"))


def printable_json(value: Any, *, indent: int | None = 2) -> str:
    """The value as JSON that is exact: what is not printable stands in it by its escape. Other types by ``str``."""
    return _NOT_PLAIN.sub(_escaped, json.dumps(value, default=str, ensure_ascii=False, indent=indent))


def printable_xml(document: str) -> str:
    """An XML document whose texts are the same: what is not printable stands in them as a character reference."""
    return _NOT_PLAIN.sub(_referenced, document)


def _shown(char: str, before: str, after: str) -> str:
    """What stands for ``char``, given what was kept before it and what comes next."""
    if char in _JOINERS:
        return char if _joinable(before) and _joinable(after) and not _SELECTOR.match(after) else ""
    if char in _WITHOUT_GLYPH:
        return ""
    if _SELECTOR.match(char):
        # One belongs to the character before it; more would carry a text that nobody sees.
        return char if _joinable(before, plain=True) and not _SELECTOR.match(before) else ""
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) == "Cf" else MARK


def _joinable(char: str, *, plain: bool = False) -> bool:
    """Whether a joiner (or a selector, also after ``plain`` characters) may stand beside it."""
    return bool(char) and char.isprintable() and char not in _WITHOUT_GLYPH and (plain or not char.isascii())


def _referenced(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else f"&#{ord(char)};"


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else json.dumps(char)[1:-1]
