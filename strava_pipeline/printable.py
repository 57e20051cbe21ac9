"""Makes foreign text safe for terminals, log lines and tables: one line, bounded, with nothing that a terminal obeys.

Ordinary international text stays as it is, with emoji and their joiners. White space of every kind, line breaks
included, becomes a space. Format characters (direction, zero width, tags) are dropped. Other characters without a glyph
(controls, surrogates, private use, unassigned) become U+FFFD, which shows that something was there.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import Any, Final

# Characters; a longer text ends in an ellipsis.
LONGEST: Final = 1000
# A ``longest`` for text that must not be cut.
WHOLE: Final = sys.maxsize
ELLIPSIS: Final = "\u2026"
MARK: Final = "\ufffd"
_INDENT = "    "
# ZWNJ and ZWJ: Persian, the scripts of India and emoji need them between two of their characters.
_JOINERS = frozenset("\u200c\u200d")
# Letters and marks by category, but without a glyph: fillers, and characters that are "default ignorable" in Unicode.
_WITHOUT_GLYPH = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_NOT_SEEN = re.compile(f"[{''.join(sorted(_WITHOUT_GLYPH))}{_SELECTOR.pattern[1:]}")
_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")


def printable(text: str, longest: int = LONGEST) -> str:
    """Return the text as one line of at most ``longest`` printable characters; a second call changes nothing."""
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
    """Return a text of several lines, such as a traceback, with each line made printable, of at most ``longest``."""
    return "\n".join(printable(line, longest) for line in text.split("\n"))


def below_one_another(text: str, longest: int = LONGEST) -> str:
    """Return a text made printable, with all lines after the first indented, so that none looks like a log's record."""
    return printable_lines(text, longest).replace("\n", f"\n{_INDENT}")


def printable_json(value: Any, *, indent: int | None = 2) -> str:
    """Return a value as exact JSON, with escapes for characters that are not printable; other types by ``str``."""
    return _NOT_PLAIN.sub(_escaped, json.dumps(value, default=str, ensure_ascii=False, indent=indent))


def printable_xml(document: str) -> str:
    """Return an equal XML document, with character references for characters that are not printable."""
    return _NOT_PLAIN.sub(_referenced, document)


def _shown(char: str, before: str, after: str) -> str:
    """The replacement of ``char``, given the character kept before it and the one after it."""
    if char in _JOINERS:
        return char if _joinable(before) and _joinable(after) and not _SELECTOR.match(after) else ""
    if char in _WITHOUT_GLYPH:
        return ""
    if _SELECTOR.match(char):
        # One selector belongs to the character before it; several could hide a text.
        return char if _joinable(before, plain=True) and not _SELECTOR.match(before) else ""
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) == "Cf" else MARK


def _joinable(char: str, *, plain: bool = False) -> bool:
    """Whether a joiner may stand beside ``char``; with ``plain``, whether a selector may follow it."""
    return bool(char) and char.isprintable() and char not in _WITHOUT_GLYPH and (plain or not char.isascii())


def _referenced(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else f"&#{ord(char)};"


def _escaped(match: re.Match[str]) -> str:
    char = match.group()
    return char if char.isprintable() else json.dumps(char)[1:-1]
