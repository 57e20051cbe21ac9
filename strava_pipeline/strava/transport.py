"""Sends API calls: reserve quota, read the token, send, settle, then return JSON or raise a typed error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import requests
import stamina

from strava_pipeline.errors import (
    AppInactive,
    NeedsReauthorization,
    QuotaExhausted,
    RetriableStravaError,
    StravaError,
    StravaFault,
)
from strava_pipeline.redaction import get_logger
from strava_pipeline.secret import Secret
from strava_pipeline.strava.faults import names_rate_limit, read, retry_after
from strava_pipeline.strava.http import CONNECT_SECONDS, DEADLINE_SECONDS, Answer, new_session, send
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, QuotaLedger, RateHeaders, Reservation
from strava_pipeline.strava.shapes import ANYTHING, Shape

log = get_logger(__name__)

# Three retries after 1, 2 and 4 s, each with up to a quarter of a second on top.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 4.0
JITTER_SECONDS = 0.25
BUDGET_SECONDS = 60.0
# After so many answers in a row that a limit is reached, waiting for the end of the block does not help.
REFUSALS = 3
_ACTIVITY = re.compile(r"/activities/([0-9]{1,18})(?:/|$)")
_IDS = re.compile(r"(?<=/)[a-z]?[0-9]+(?=/|$)")


class TokenStore(Protocol):
    """Where athletes' tokens are kept."""

    def access_token(self, athlete_id: int) -> Secret:
        """Return the token to use now; ``NeedsReauthorization`` or ``UnknownAthlete`` if there is none.

        ``RetriableStravaError`` during the cool-down after a failed refresh.
        """

    def refresh_once(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        """Return a token other than ``rejected``; all processes together call ``refresh`` at most once."""


@dataclass
class _Budget:
    """The time that a call with all its attempts may still spend in exchanges, s; waiting for quota does not count.

    ``patience``: how long it may still wait while Strava is away or the app is switched off.
    """

    left_s: float = BUDGET_SECONDS
    patience: Patience = field(default_factory=Patience)

    @property
    def allows_another(self) -> bool:
        return self.left_s > CONNECT_SECONDS


@dataclass(frozen=True)
class Transport:
    """Sends GETs on behalf of athletes, in one lane; each call waits at most ``max_wait`` for quota.

    While Strava is away or the app is switched off, it waits ``outage_patience`` beside that.
    """

    api_url: str
    lane: Lane
    ledger: QuotaLedger
    tokens: TokenStore
    refresh: Callable[[Secret], TokenGrant]
    max_wait: timedelta
    outage_patience: timedelta = timedelta(0)
    session: requests.Session = field(default_factory=new_session, repr=False)

    def get(
        self, athlete_id: int, path: str, query: Mapping[str, str] | None = None, *, shape: Shape = ANYTHING
    ) -> Any:
        """Return the parsed JSON of ``GET path``, or raise one of the errors in :mod:`strava_pipeline.errors`.

        An answer of another ``shape`` is not Strava's, and is asked for again. One that says that a limit is reached
        blocks its window in the ledger. The next attempt waits there until the block ends, or raises
        ``QuotaExhausted`` if that is beyond ``max_wait``. Stamina retries no such answer: the ledger does the waiting.
        """
        for _ in range(REFUSALS - 1):
            try:
                return self._get_retrying(athlete_id, path, query or {}, shape)
            except QuotaExhausted as error:
                if error.status is None:  # the ledger's word, not Strava's
                    raise
        return self._get_retrying(athlete_id, path, query or {}, shape)

    def _get_retrying(self, athlete_id: int, path: str, query: Mapping[str, str], shape: Shape) -> Any:
        budget = _Budget(patience=Patience(self.outage_patience.total_seconds()))
        retrying = stamina.RetryingCaller(
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
            wait_jitter=JITTER_SECONDS,
        )
        return retrying(
            lambda error: _may_pass(error) and budget.allows_another,
            self._get_once,
            athlete_id,
            path,
            query,
            shape,
            budget,
        )

    def _get_once(self, athlete_id: int, path: str, query: Mapping[str, str], shape: Shape, budget: _Budget) -> Any:
        token, body, error = self._booked_call(athlete_id, path, query, shape, budget)
        if isinstance(error, NeedsReauthorization):
            self.tokens.refresh_once(athlete_id, token, self.refresh)
            _, body, error = self._booked_call(athlete_id, path, query, shape, budget)
        if error is not None:
            raise error
        return body

    def _booked_call(
        self, athlete_id: int, path: str, query: Mapping[str, str], shape: Shape, budget: _Budget
    ) -> tuple[Secret, Any, StravaError | None]:
        """The token that was sent, and what the answer means: its body, or an error.

        Room is booked before, and settled or released in any case.
        """
        what = f"GET {path} of athlete {athlete_id}"
        reservation = self.ledger.reserve(
            self.lane,
            endpoint_of(path),
            athlete_id,
            longest=timedelta(seconds=DEADLINE_SECONDS),
            max_wait=self.max_wait,
            # Fails at once for an athlete who is not connected, instead of after a wait for room.
            before_waiting=lambda: self.tokens.access_token(athlete_id),
            activity_id=activity_of(path),
            patience=budget.patience,
        )
        try:
            # The token is read only now: another process may have refreshed it while this call waited for room.
            token, left_s = self._read_token(athlete_id, what)
        except BaseException:
            self.ledger.release(reservation)
            raise

        def exchange() -> Answer:
            started = time.monotonic()
            try:
                return send(
                    self.session,
                    "GET",
                    f"{self.api_url}{path}",
                    what=what,
                    headers={"Authorization": f"Bearer {token.reveal()}"},
                    query=query,
                    deadline_s=min(left_s, budget.left_s),
                )
            finally:
                budget.left_s -= time.monotonic() - started

        return token, *send_and_settle(self.ledger, reservation, exchange, partial(read, what, shape=shape))

    def _read_token(self, athlete_id: int, what: str) -> tuple[Secret, float]:
        """The current token, and how long the call may still take, s.

        Room is booked for a call of limited length, and reading the token counts: its row may be locked for a while.
        """
        began = time.monotonic()
        token = self.tokens.access_token(athlete_id)
        left_s = DEADLINE_SECONDS - (time.monotonic() - began)
        if left_s < CONNECT_SECONDS:
            raise RetriableStravaError(f"{what}: reading the token took so long that nothing was sent")
        return token, left_s


def endpoint_of(path: str) -> str:
    """Return a path with ``{id}`` in place of each id, as the ledger records it."""
    return _IDS.sub("{id}", path)


def activity_of(path: str) -> int | None:
    """Return the id of the activity that a path is about; ``None`` if it is about none."""
    found = _ACTIVITY.match(path)
    return int(found[1]) if found else None


def send_and_settle(
    ledger: QuotaLedger,
    reservation: Reservation,
    exchange: Callable[[], Answer],
    read_answer: Callable[[Answer], tuple[Any, StravaError | None]],
) -> tuple[Any, StravaError | None]:
    """Send a request for which room is reserved, by ``exchange``, and settle the reservation, also after an error.

    Returns what ``read_answer`` makes of the answer: its body, or an error.
    """
    started = time.monotonic()
    outcome = CallOutcome(status=None, duration_ms=0)
    try:
        answer = exchange()
        body, error = read_answer(answer)
        outcome = _outcome(answer, error)
    except StravaError as failure:
        duration_ms = (time.monotonic() - started) * 1000
        outcome = CallOutcome(failure.status, duration_ms, answered=False, reason=_reason(failure))
        raise
    finally:
        ledger.settle(reservation, outcome)
    return body, error


def _outcome(answer: Answer, error: StravaError | None) -> CallOutcome:
    answered = _is_answered(error)
    fault = StravaFault() if error is None else error.fault
    return CallOutcome(
        status=answer.status,
        duration_ms=answer.duration_ms,
        answered=answered,
        reason=_reason(error) if error is not None and answered is False else "",
        # The clock of a proxy is not Strava's.
        server_time=None if answered is False else answer.server_time,
        rates=RateHeaders.parse(answer.headers),
        limit_reached=isinstance(error, QuotaExhausted),
        retry_after=retry_after(answer, fault),
        names_a_window=names_rate_limit(fault),
        app_inactive=str(fault) if isinstance(error, AppInactive) else None,
    )


def _is_answered(error: StravaError | None) -> bool | None:
    """Whether Strava itself answered; ``None`` for a 429 in a form that is not Strava's, which may be anybody's."""
    if isinstance(error, QuotaExhausted):
        return True if error.fault.is_stravas else None
    return error.answered if isinstance(error, RetriableStravaError) else True


def _reason(error: StravaError) -> str:
    """Why Strava did not answer, without the request."""
    return str(error).partition(": ")[2]


def _may_pass(error: Exception) -> bool:
    return isinstance(error, RetriableStravaError) and not isinstance(error, QuotaExhausted)
