"""Scripted faults (``POST /mock/faults``): the kind of fault, the calls that it affects, and how often."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from strava_pipeline.mock_strava.shapes import JsonObject


class Kind(StrEnum):
    """The kinds of faults; the comments name the fields of :class:`FaultScript` that a kind uses."""

    # These replace the call's own answer.
    STATUS = "status"  # status, body, limit; without a body Strava's own for this status
    RETRY_AFTER = "retry_after"  # status (429), body, limit, seconds
    APP_INACTIVE = "app_inactive"
    HTML = "html"  # status (200)
    EMPTY = "empty"  # status (200)
    REDIRECT = "redirect"  # status (302), location
    GZIP_BOMB = "gzip_bomb"  # size_bytes after unpacking
    HUGE = "huge"  # size_bytes
    HANG = "hang"
    RESET = "reset"
    # These change the call's own answer.
    REPLY_LOST = "reply_lost"
    DELAY = "delay"  # delay_s
    DRIP = "drip"  # bytes_per_s, part
    CUT = "cut"  # size_bytes of the body that are sent
    TRUNCATED = "truncated"
    WRONG_TYPE = "wrong_type"
    BAD_UTF8 = "bad_utf8"
    NAN = "nan"
    NO_RATE_HEADERS = "no_rate_headers"
    GARBLED_RATE_HEADERS = "garbled_rate_headers"
    HEADERS = "headers"  # headers


REPLACING = frozenset({
    Kind.STATUS, Kind.RETRY_AFTER, Kind.APP_INACTIVE, Kind.HTML, Kind.EMPTY, Kind.REDIRECT, Kind.GZIP_BOMB,
    Kind.HUGE, Kind.HANG, Kind.RESET,
})  # fmt: skip
WITHOUT_ANSWER = frozenset({Kind.HANG, Kind.RESET, Kind.REPLY_LOST})
DEFAULT_STATUS = {Kind.RETRY_AFTER: HTTPStatus.TOO_MANY_REQUESTS, Kind.REDIRECT: HTTPStatus.FOUND}
DEFAULT_SIZE_BYTES = {Kind.GZIP_BOMB: 256 * 2**20, Kind.HUGE: 128 * 2**20, Kind.CUT: 10}
Limit = Literal["read", "overall", "read_short", "read_day", "overall_short", "overall_day"]


class FaultScript(BaseModel):
    """One scripted fault.

    ``path`` is a pattern for the whole path, in which ``*`` matches anything. The fault skips the first ``after``
    matching calls and affects the next ``times`` (``None``: all), each with ``probability``. ``counted``: whether it
    happens after the rate limits have counted the call, or before. ``acts``: whether a call whose answer is replaced
    still does its work, such as issuing tokens; calls with their own answer always do. ``headers`` are set in the
    answer, or removed if null. ``delay_s`` delays the call.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = "*"
    method: str = "*"
    fault: Kind
    times: int | None = Field(1, ge=1)
    after: int = Field(0, ge=0)
    probability: float = Field(1.0, ge=0, le=1)
    seed: int | None = None
    counted: bool = True
    acts: bool = False
    delay_s: float = Field(0.0, ge=0)
    headers: dict[str, str | None] = Field(default_factory=dict)
    status: int | None = Field(None, ge=200, le=599)
    body: Any = None
    limit: Limit = "read"
    seconds: int = 60
    location: str = "http://127.0.0.1:9/elsewhere"
    size_bytes: int | None = Field(None, ge=0)
    bytes_per_s: float = Field(10.0, gt=0)
    part: Literal["headers", "body"] = "body"

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if self.fault is Kind.STATUS and self.status is None:
            raise ValueError("a fault of kind status needs a status")
        if (self.fault is Kind.DELAY and not self.delay_s) or (self.fault is Kind.HEADERS and not self.headers):
            needed = "delay_s" if self.fault is Kind.DELAY else "headers"
            raise ValueError(f"a fault of kind {self.fault} needs the field {needed}")
        if self.fault not in REPLACING and (self.status is not None or self.body is not None):
            raise ValueError(f"a fault of kind {self.fault} changes the call's own answer: give no status or body")
        return self

    @property
    def does_work(self) -> bool:
        """Whether the call does its work, such as issuing tokens."""
        return self.acts or self.fault not in REPLACING

    @property
    def answer_status(self) -> int:
        return self.status or DEFAULT_STATUS.get(self.fault, HTTPStatus.OK)

    @property
    def size(self) -> int:
        """The size in bytes, given or by default."""
        return DEFAULT_SIZE_BYTES.get(self.fault, 0) if self.size_bytes is None else self.size_bytes

    def fits(self, method: str, path: str) -> bool:
        return fnmatchcase(path, self.path) and self.method in ("*", method)


@dataclass
class _ScriptState:
    """A script with the numbers of matching calls so far (``seen``) and of affected calls (``used``)."""

    script: FaultScript
    chance: random.Random
    seen: int = 0
    used: int = 0

    def count_call(self) -> bool:
        """Count one more matching call; returns whether the fault affects it."""
        self.seen += 1
        spent = self.script.times is not None and self.used >= self.script.times
        if spent or self.seen <= self.script.after or self.chance.random() >= self.script.probability:
            return False
        self.used += 1
        return True

    def body(self) -> JsonObject:
        left = None if self.script.times is None else self.script.times - self.used
        return self.script.model_dump(mode="json", exclude_unset=True) | {
            "seen": self.seen,
            "used": self.used,
            "left": left,
        }


@dataclass
class FaultScripts:
    """All scripted faults, in the order in which they were given."""

    _entries: list[_ScriptState] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, scripts: list[FaultScript]) -> None:
        with self._lock:
            self._entries += [_ScriptState(script, random.Random(script.seed)) for script in scripts]  # noqa: S311  a repeatable die

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def pick(self, method: str, path: str, *, counted: bool) -> FaultScript | None:
        """Return the fault for this call, or ``None``: the first script that matches it and affects it.

        ``counted``: whether the rate limits have counted the call; each script applies at one of these times only.
        """
        with self._lock:
            fitting = [e for e in self._entries if e.script.counted == counted and e.script.fits(method, path)]
            return next((entry.script for entry in fitting if entry.count_call()), None)

    def bodies(self) -> list[JsonObject]:
        """Return each script with the numbers of matching calls, of uses, and of uses left."""
        with self._lock:
            return [entry.body() for entry in self._entries]
