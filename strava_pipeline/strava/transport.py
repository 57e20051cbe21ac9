"""Sends API calls: reserve quota, read the token, send, settle, then return JSON or raise a typed error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import requests
import stamina

from strava_pipeline.errors import (
    AppInactive,
    NeedsReauthorization,
    NotAnswered,
    QuotaExhausted,
    RefreshDelayed,
    RetriableStravaError,
    StravaAway,
    StravaError,
    StravaFault,
)
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.secret import Secret
from strava_pipeline.strava.faults import is_answered, names_rate_limit, read, reason_of, retry_after
from strava_pipeline.strava.http import CONNECT_SECONDS, DEADLINE_SECONDS, Answer, new_session, send
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import FIRST_PAUSE_S, LONGEST_PAUSE_S, Patience
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, QuotaLedger, RateHeaders, Reservation
from strava_pipeline.strava.shapes import ANYTHING, Shape

log = get_logger(__name__)
# Its lines are too many for Dagster's event log.
CALLS = "strava_pipeline.strava.calls"
call_log = get_logger(CALLS)

# Three retries after 1, 2 and 4 s, each with up to a quarter of a second on top.
ATTEMPTS = 4
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 4.0
JITTER_SECONDS = 0.25
BUDGET_SECONDS = 60.0
# For the call that is sent once more after an answered witness: what hung before must not take that long again.
ONCE_MORE_SECONDS = 15.0
# After so many answers in a row that a limit is reached, waiting for the end of the block does not help.
REFUSALS = 3
_ACTIVITY = re.compile(r"/activities/([0-9]{1,18})(?:/|$)")
_IDS = re.compile(r"(?<=/)[a-z]?[0-9]+(?=/|$)")


class TokenStore(Protocol):
    """Where athletes' tokens are kept."""

    def access_token(self, athlete_id: int) -> Secret:
        """Return the token to use now; ``NeedsReauthorization`` or ``UnknownAthlete`` if there is none.

        ``RefreshDelayed`` or ``StravaAway`` while the stored one is known not to work, and is not refreshed.
        """

    def refresh_once(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        """Return a token other than ``rejected``; all processes together call ``refresh`` at most once."""


@dataclass
class _Budget:
    """The time that a call with all its attempts may still spend in exchanges, s; waiting for quota does not count."""

    left_s: float

    @property
    def allows_another(self) -> bool:
        return self.left_s > CONNECT_SECONDS


@dataclass(frozen=True)
class _Round:
    """How often a call is sent at most before a witness is asked, and how long its exchanges may take together, s."""

    attempts: int
    budget_s: float = BUDGET_SECONDS


_WHOLE = _Round(ATTEMPTS)
# While Strava answers nobody, call and witness are sent in turn.
_IN_TURN = _Round(1)
# An outage may have ended just when the witness was sent: the call is asked for again before the verdict.
_ONCE_MORE = _Round(1, ONCE_MORE_SECONDS)


@dataclass(frozen=True)
class _Call:
    """What is asked of Strava, on whose behalf; the answer has this ``shape``."""

    athlete_id: int
    path: str
    query: Mapping[str, str]
    shape: Shape = ANYTHING

    @property
    def what(self) -> str:
        return f"GET {self.path} of athlete {self.athlete_id}"

    def witness(self) -> _Call:
        """Another call, as cheap as can be, whose answer shows that Strava answers."""
        if self.path == "/athlete":
            return _Call(self.athlete_id, "/athlete/activities", {"per_page": "1"})
        return _Call(self.athlete_id, "/athlete", {})


@dataclass(frozen=True)
class _Sent:
    """The token with which a call was sent, whether it was a probe, and what the answer means: a body or an error."""

    token: Secret
    is_probe: bool
    body: Any
    error: StravaError | None


@dataclass(frozen=True)
class Transport:
    """Sends GETs on behalf of athletes, in one lane; each call waits at most ``max_wait`` for quota.

    While Strava does not answer or has the app switched off, a call waits ``outage_patience`` beside that.
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

        An answer of another ``shape`` is not Strava's, and is asked for again. If the call gets no answer, another one
        is sent as a *witness*. If that one is answered, the call is sent once more: ``NotAnswered`` if it gets no
        answer again. If not, the call waits and is sent again, as long as its patience lasts; then ``StravaAway``.
        """
        with log_ids(athlete_id=athlete_id, activity_id=activity_of(path)):
            return self._get(_Call(athlete_id, path, query or {}, shape))

    def _get(self, call: _Call) -> Any:
        patience = Patience(self.outage_patience.total_seconds())
        this, pause_s = _WHOLE, FIRST_PAUSE_S
        while True:
            left_s = patience.left_s
            try:
                return self._round(call, patience, this)
            except (RetriableStravaError, AppInactive) as error:
                if this is _ONCE_MORE and patience.left_s < left_s:
                    this = _WHOLE  # it waited for the end of another outage, whose last victim it may be
                this = self._round_after(error, call, patience, this, pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _round(self, call: _Call, patience: Patience, this: _Round) -> Any:
        """Send a call, and wait in the ledger for the end of a limit that is reached.

        An answer that says that blocks its window there. The next attempt then waits until the block ends, or raises
        ``QuotaExhausted`` if that is beyond ``max_wait``. Stamina retries no such answer: the ledger does the waiting.
        """
        for _ in range(REFUSALS - 1):
            try:
                return self._get_retrying(call, patience, this)
            except QuotaExhausted as error:
                if error.status is None:  # the ledger's word, not Strava's
                    raise
        return self._get_retrying(call, patience, this)

    def _round_after(self, error: StravaError, call: _Call, patience: Patience, this: _Round, pause_s: float) -> _Round:
        """Wait until another round makes sense, and return it; else raise."""
        match error:
            case AppInactive(retry_at=None) if patience.left_s > 0:
                return _WHOLE  # the ledger waits for the next probe
            case StravaAway(retry_at=datetime() as until) | RefreshDelayed(retry_at=until):
                if self._pause(str(error), call, patience, pause_s, until):
                    return _WHOLE
                raise self._gave_up(error)
            case AppInactive():
                raise self._gave_up(error)
            case RetriableStravaError(answered=False):
                return self._round_without_answer(error, call, patience, this, pause_s)
            case _:
                raise error

    def _round_without_answer(
        self, error: RetriableStravaError, call: _Call, patience: Patience, this: _Round, pause_s: float
    ) -> _Round:
        """Ask for something else: only if that is not answered either, Strava is away, and the call waits.

        While an outage is known to all, the ledger lets the witness wait, and it is the next probe. So probes are not
        all for one thing that alone is not answered.
        """
        if this is _ONCE_MORE:
            raise NotAnswered(str(error), status=error.status, fault=error.fault, answered=False) from error
        left_s = patience.left_s
        try:
            witness = self._send(call.witness(), patience, _Budget(this.budget_s))
        except RetriableStravaError as failure:
            return self._round_after(failure, call, patience, this, pause_s)
        if isinstance(witness.error, QuotaExhausted | AppInactive):
            return _WHOLE  # that tells nothing of this call; the ledger knows it by now
        is_known_to_all = witness.is_probe or patience.left_s < left_s
        if is_answered(witness.error):
            # Where Strava has just come back, a whole round may be needed.
            return _WHOLE if is_known_to_all or this is _IN_TURN else _ONCE_MORE
        if is_known_to_all or self._pause(f"Strava does not answer ({reason_of(error)})", call, patience, pause_s):
            return _IN_TURN
        raise self._gave_up(StravaAway(str(error), since=None, retry_at=None, status=error.status)) from error

    def _pause(self, why: str, call: _Call, patience: Patience, pause_s: float, until: datetime | None = None) -> bool:
        return self.ledger.pause(why, pause_s, patience, athlete_id=call.athlete_id, until=until)

    def _get_retrying(self, call: _Call, patience: Patience, this: _Round) -> Any:
        budget = _Budget(this.budget_s)
        retrying = stamina.RetryingCaller(
            attempts=this.attempts,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
            wait_jitter=JITTER_SECONDS,
        )
        return retrying(
            lambda error: _may_pass(error) and budget.allows_another, self._get_once, call, patience, budget
        )

    def _get_once(self, call: _Call, patience: Patience, budget: _Budget) -> Any:
        sent = self._send(call, patience, budget)
        if isinstance(sent.error, NeedsReauthorization):
            self.tokens.refresh_once(call.athlete_id, sent.token, self.refresh)
            sent = self._send(call, patience, budget)
        if sent.error is not None:
            raise sent.error
        return sent.body

    def _send(self, call: _Call, patience: Patience, budget: _Budget) -> _Sent:
        """Send a call once. Room is booked before, and settled or released in any case."""
        # Fails at once without a token that may work, instead of after a wait for room, or by a request in vain.
        self.tokens.access_token(call.athlete_id)
        reservation = self.ledger.reserve(
            self.lane,
            endpoint_of(call.path),
            call.athlete_id,
            longest=timedelta(seconds=DEADLINE_SECONDS),
            max_wait=self.max_wait,
            activity_id=activity_of(call.path),
            patience=patience,
        )
        try:
            # The token is read only now: another process may have refreshed it while this call waited for room.
            token, left_s = self._read_token(call.athlete_id, call.what)
        except BaseException:
            self.ledger.release(reservation)
            raise

        def exchange() -> Answer:
            started = time.monotonic()
            try:
                return send(
                    self.session,
                    "GET",
                    f"{self.api_url}{call.path}",
                    what=call.what,
                    headers={"Authorization": f"Bearer {token.reveal()}"},
                    query=call.query,
                    deadline_s=min(left_s, budget.left_s),
                )
            finally:
                budget.left_s -= time.monotonic() - started

        try:
            body, error = send_and_settle(
                self.ledger, reservation, call.what, exchange, partial(read, call.what, shape=call.shape)
            )
        except RetriableStravaError as failure:
            body, error = None, failure
        return _Sent(token, reservation.is_probe, body, error)

    def _gave_up(self, error: StravaAway | RefreshDelayed | AppInactive) -> StravaError:
        """The error of a call that has waited; the same one where there was no patience."""
        if not self.outage_patience:
            return error
        told = f"gave up after {self.outage_patience.total_seconds() / 3600:.3g} h: {error}"
        if isinstance(error, AppInactive):
            return AppInactive(told, retry_at=error.retry_at)
        if isinstance(error, RefreshDelayed):
            return StravaAway(told, since=None, retry_at=error.retry_at, refreshes_only=True)
        return StravaAway(
            told,
            since=error.since,
            retry_at=error.retry_at,
            status=error.status,
            refreshes_only=error.refreshes_only,
        )

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
    what: str,
    exchange: Callable[[], Answer],
    read_answer: Callable[[Answer], tuple[Any, StravaError | None]],
) -> tuple[Any, StravaError | None]:
    """Send a request for which room is reserved, by ``exchange``, and settle the reservation, also after an error.

    ``what`` is asked stands in the log.

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
        outcome = CallOutcome(failure.status, duration_ms, answered=False, reason=reason_of(failure))
        raise
    finally:
        call_log.debug("%s: %s in %.0f ms", what, outcome.status or "no answer", outcome.duration_ms)
        ledger.settle(reservation, outcome)
    return body, error


def _outcome(answer: Answer, error: StravaError | None) -> CallOutcome:
    answered = is_answered(error)
    fault = StravaFault() if error is None else error.fault
    return CallOutcome(
        status=answer.status,
        duration_ms=answer.duration_ms,
        answered=answered,
        reason=reason_of(error) if error is not None and answered is False else "",
        # The clock of a proxy is not Strava's.
        server_time=None if answered is False else answer.server_time,
        rates=RateHeaders.parse(answer.headers),
        limit_reached=isinstance(error, QuotaExhausted),
        retry_after=retry_after(answer, fault),
        names_a_window=names_rate_limit(fault),
        app_inactive=str(fault) if isinstance(error, AppInactive) else None,
    )


def _may_pass(error: Exception) -> bool:
    """Whether the call may be answered if it is sent again within seconds."""
    if isinstance(error, QuotaExhausted | StravaAway | RefreshDelayed):
        return False
    return isinstance(error, RetriableStravaError)
