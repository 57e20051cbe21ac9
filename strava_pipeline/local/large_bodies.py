"""Which requests may have a larger body than all others. That is decided from the head, before any byte of the body.

The event loop asks, between two packets of others: a judgement asks no database and no disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol


@dataclass(frozen=True)
class Head:
    """The head of a request. ``headers``: by name in capitals, with ``_`` for ``-``; ``length``: of its body, bytes.

    ``length`` is ``None`` for a body in chunks, which tells none.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    length: int | None


@dataclass(frozen=True)
class Admitted:
    """A request whose body may have so many bytes, and take so many seconds to arrive.

    ``purpose``: what it belongs to. Only one body at a time arrives for a purpose.
    """

    purpose: str
    most_bytes: int
    seconds: float


@dataclass(frozen=True)
class Refused:
    """A request that is answered without its body, with a status and a reason in a few words; then it is closed."""

    status: HTTPStatus
    reason: str


class LargeBodies(Protocol):
    """Judges requests by their heads. ``most_at_once``: how many large bodies may arrive at the same time."""

    most_at_once: int

    def judge(self, head: Head) -> Admitted | Refused | None:
        """What becomes of a request; ``None``: it is one like all others, and so is the cap of its body."""
        ...


BUSY = Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies arrive at the same time: try again in a few seconds")
