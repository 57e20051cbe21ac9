"""What a check finds: lines with a verdict, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from strava_pipeline.settings import Settings

# How long a check may take, s: a host that answers nothing must not hold up the others.
LIMIT_SECONDS = 5.0
# What a single exchange of a check may take, s; a little less, so that its own words are told.
EXCHANGE_SECONDS = 4.0


class Verdict(StrEnum):
    """How bad it is: nothing, something to look at, or something that does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of a check; ``what_to_do`` is '' where there is nothing to do, or where ``message`` says it."""

    verdict: Verdict
    message: str
    what_to_do: str = ""


def ok(message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Verdict.OK, message)


def warn(message: str, what_to_do: str = "") -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(Verdict.WARN, message, what_to_do)


def fail(message: str, what_to_do: str = "") -> Finding:
    """Return a finding that something does not work."""
    return Finding(Verdict.FAIL, message, what_to_do)


@dataclass(frozen=True)
class Check:
    """One check: ``look`` yields at least one finding, and changes nothing.

    An error of ours that it raises is a failure; ``remedy`` is then what to do, where the error does not say it.
    ``needs``: the name of the check that must be well before this one makes sense. ``limit_s``: how long it may take.
    """

    name: str
    look: Callable[[Settings], Iterator[Finding]]
    remedy: str = ""
    needs: str | None = None
    limit_s: float = LIMIT_SECONDS
