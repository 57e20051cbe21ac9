"""Secrets in memory that show as asterisks in logs, tracebacks, debuggers and error reports."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

from strava_pipeline import redaction

MASK: Final = redaction.MASK


class Secret:
    """A token in memory. Only :meth:`reveal` returns its text, so that every use can be found by that name."""

    __slots__ = ("__weakref__", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        redaction.register_secret(text, self)

    def reveal(self) -> str:
        """Return the text of the secret. Call this only where the text is sent or stored."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled: its text would be stored unencrypted")
