"""Decides what becomes of a claim's events after an error: they wait, are tried again, or become dead letters.

| error | outcome |
| --- | --- |
| ``QuotaExhausted`` | waiting, until the quota has room |
| ``StravaAway``, ``AppInactive`` | waiting, until Strava answers again |
| ``ClientRefused``, ``RefreshDelayed`` | waiting, up to an hour between two tries |
| an ``AthleteError`` | parked until the athlete connects again; a refused token of a good grant is tried again |
| ``NotThereYet`` | waiting 5, 15 and 45 minutes; then a dead letter that is redriven |
| ``DatabaseUnavailable`` | tried again by the run; then waiting, up to an hour between two tries |
| ``NotAnswered`` | a dead letter that is redriven |
| other ``RetriableStravaError``, ``DatabaseTooSlow`` | tried again by the run; then a dead letter that is redriven |
| the last two, for a deauthorization | tried again by the run; then waiting, up to an hour between two tries |
| any other | a dead letter that waits for the operator |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from http import HTTPStatus

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import (
    AppInactive,
    AthleteError,
    ClientRefused,
    DatabaseTooSlow,
    DatabaseUnavailable,
    NeedsReauthorization,
    NotAnswered,
    QuotaExhausted,
    RefreshDelayed,
    RetriableStravaError,
    StravaAway,
    StravaPipelineError,
)
from strava_pipeline.sync.webhook import NotThereYet
from strava_pipeline.warehouse.athletes.parking import park
from strava_pipeline.warehouse.engine import now, retry_transaction
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import Claim
from strava_pipeline.warehouse.inbox.waits import postpone, wait_out_outage, wait_to_appear
from strava_pipeline.warehouse.states import ErrorClass, WaitingFor

# Only the app's owner can activate the app again, so asking often is pointless.
APP_INACTIVE_WAIT = timedelta(hours=1)
# Errors that may pass even after a run's retries: their dead letters are redriven.
MAY_PASS = (RetriableStravaError, DatabaseUnavailable, NotThereYet)


class Outcome(Enum):
    """What becomes of the events: they wait, the run tries them again at once, or they are dead letters."""

    WAITING = auto()
    RETRY = auto()
    DEAD = auto()


@dataclass(frozen=True)
class FailedClaim:
    """The outcome of a failure, and the error to raise or to show."""

    outcome: Outcome
    error: StravaPipelineError

    @property
    def kind(self) -> str:
        """The error's class, as dead letters name it."""
        return type(self.error).__name__

    @property
    def error_class(self) -> ErrorClass:
        """Whether the error may pass by itself."""
        return ErrorClass.TRANSIENT if isinstance(self.error, MAY_PASS) else ErrorClass.PERMANENT


def settle_failure(engine: Engine, claim: Claim, error: StravaPipelineError, *, may_retry: bool) -> FailedClaim:
    """Store what becomes of a claim's events after an error, and return it.

    Nothing is stored for :attr:`Outcome.RETRY`, which is possible only if ``may_retry``.
    """
    if may_retry and isinstance(error, DatabaseUnavailable):
        return FailedClaim(Outcome.RETRY, error)
    if retry_transaction(engine, lambda connection: _postpone_blameless(connection, claim, error)):
        return FailedClaim(Outcome.WAITING, error)
    if isinstance(error, NeedsReauthorization):
        # The token was refused, but the grant is good: the athlete connected again, or a new token will do.
        error = RetriableStravaError(str(error), status=error.status, fault=error.fault)
    # A call that is not answered was sent five times already.
    if may_retry and isinstance(error, RetriableStravaError) and not isinstance(error, NotAnswered):
        return FailedClaim(Outcome.RETRY, error)
    outage = _outage(error)
    # An athlete's event may ask for erasure: it is not given up because Strava cannot confirm it just now. And what
    # the database refuses from everybody is no event's fault; what takes it too long may be.
    if outage is not None and (claim.object_type == "athlete" or _is_everybodys(error)):
        retry_transaction(engine, partial(wait_out_outage, fence=claim.fence, waiting_for=outage, reason=str(error)))
        return FailedClaim(Outcome.WAITING, error)
    failed = FailedClaim(Outcome.DEAD, error)
    die = partial(
        claims.mark_dead, fence=claim.fence, reason=str(error), kind=failed.kind, error_class=failed.error_class
    )
    retry_transaction(engine, die)
    return failed


def give_up_after_bug(engine: Engine, claim: Claim, error: Exception, run_id: str) -> None:
    """Make dead letters of a claim's events after an error that is a fault of this program.

    Its text may hold anything, so it is not stored; trying again would not help.
    """
    reason = f"{type(error).__name__}: a fault of this program, see the log of run {run_id}"
    with engine.begin() as connection:
        claims.mark_dead(connection, claim.fence, reason, kind=type(error).__name__, error_class=ErrorClass.PERMANENT)


def _postpone_blameless(connection: Connection, claim: Claim, error: StravaPipelineError) -> bool:
    """Let the events wait if the error is not their fault; returns whether that was done."""
    reason = str(error)
    match error:
        case QuotaExhausted():
            postpone(connection, claim.fence, error.retry_at, WaitingFor.QUOTA, reason)
        case StravaAway(retry_at=datetime()):
            postpone(connection, claim.fence, error.retry_at, WaitingFor.OUTAGE, reason)
        case AppInactive():
            until = error.retry_at or now(connection) + APP_INACTIVE_WAIT
            postpone(connection, claim.fence, until, WaitingFor.APP, reason)
        case RefreshDelayed():
            # OAuth answers others, so no outage ends this one's waits; and each try costs a request.
            wait_out_outage(connection, claim.fence, WaitingFor.STRAVA, reason, at_least_until=error.retry_at)
        case ClientRefused() | StravaAway():
            # Nobody knows until when. Once the operator has corrected the app's credentials, the events go on as well.
            wait_out_outage(connection, claim.fence, WaitingFor.STRAVA, reason)
        case AthleteError():
            return park(connection, claim, error)
        case NotThereYet():
            return wait_to_appear(connection, claim, error.waiting_for, reason)
        case _:
            return False
    return True


def _is_everybodys(error: StravaPipelineError) -> bool:
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseTooSlow)


def _outage(error: StravaPipelineError) -> WaitingFor | None:
    """The service whose outage caused the error, if any; a token that Strava refuses (401) is an answer."""
    if isinstance(error, DatabaseUnavailable):
        return WaitingFor.DATABASE
    if isinstance(error, RetriableStravaError) and not (error.answered and error.status == HTTPStatus.UNAUTHORIZED):
        return WaitingFor.STRAVA
    return None
