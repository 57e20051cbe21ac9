"""Makes text from outside fit to be stored, logged and audited: one printable line, not longer than it should be."""

from __future__ import annotations

MOST_CHARACTERS = 500
_CUT = "..."


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text with a blank for each control character, surrogate or invisible mark, cut to ``most`` characters.

    What it returns can be encoded, and holds no NUL, which Postgres would refuse.
    """
    kept = text if len(text) <= most else text[: most - len(_CUT)] + _CUT
    return kept if kept.isprintable() else "".join(char if char.isprintable() else " " for char in kept)
