"""Counts the calls to Strava's OAuth that get no answer, and holds back refreshes while it is away.

Strava counts no OAuth calls against the limits, so they are not in the ledger. Nobody waits here: whoever wants to
refresh holds, or is about to take, the lock on an athlete's row.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import DatabaseUnavailable, StravaAway, StravaError
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.faults import is_answered, reason_of
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.locks import Lock, acquire_with_time
from strava_pipeline.warehouse.quota.outages import (
    away_error,
    load_outage,
    note_answered,
    note_unanswered,
    release_probe,
    store_outage,
)
from strava_pipeline.warehouse.restored import refuse_unchecked

log = get_logger(__name__)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass
class Turn:
    """The permission to call OAuth, given at ``began_at`` (database's clock), and how the last call ended.

    ``answered``: whether Strava answered it; ``None`` if that is not known, or if no call was sent.
    """

    began_at: datetime
    is_probe: bool
    was_sent: bool = False
    answered: bool | None = None
    reason: str = ""

    def watched(self, call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Return the call as one whose end is noted."""

        def asked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            self.was_sent = True
            try:
                result = call(*args, **kwargs)
            except StravaError as error:
                self.answered, self.reason = is_answered(error), reason_of(error)
                raise
            self.answered = True
            return result

        return asked


@contextmanager
def oauth_turn(
    engine: Engine, *, always: bool = False, host: str | None = None, checks_restore: bool = False
) -> Iterator[Turn]:
    """Give a turn to call OAuth; ``StravaAway`` while it is away, but for one caller at a time, who probes.

    ``RestoreUnchecked`` while a restored database was not compared with Strava, unless this call is for that
    (``checks_restore``). ``always``: the call is sent although OAuth is away, because a person waits for it. At the end
    of the block, when its answer is stored, it is noted whether Strava answered.
    """
    host = host or socket.gethostname()
    with engine.begin() as connection:
        if not checks_restore:
            refuse_unchecked(connection, now(connection))
        turn = _begin(connection, always, host)
    try:
        yield turn
    finally:
        try:
            with engine.begin() as connection:
                _note(connection, turn, host)
        except DatabaseUnavailable as error:
            log.warning("whether Strava's OAuth answered is not noted: %s", error)


def away_from_refreshes(connection: Connection, moment: datetime, *, rests_until: datetime | None) -> StravaAway | None:
    """Return the error for a refresh that is not sent now since OAuth is away; ``None`` if it may be sent.

    ``rests_until``: until when it is not sent in any case.
    """
    state = load_outage(connection, Service.OAUTH)
    return away_error(Service.OAUTH, state, moment, socket.gethostname(), rests_until=rests_until)


def _begin(connection: Connection, always: bool, host: str) -> Turn:
    moment, state = _lock(connection)
    refused = away_error(Service.OAUTH, state, moment, host)
    if refused is not None and not always:
        raise refused
    is_probe = state.is_away and refused is None
    if is_probe:
        store_outage(connection, Service.OAUTH, state.probe_begun(moment, host))
    return Turn(moment, is_probe)


def _note(connection: Connection, turn: Turn, host: str) -> None:
    moment, state = _lock(connection)
    if turn.answered:
        note_answered(connection, Service.OAUTH, state, moment)
    elif turn.answered is False:
        note_unanswered(
            connection, Service.OAUTH, state, sent=turn.began_at, moment=moment, host=host, reason=turn.reason
        )
    elif turn.is_probe and not turn.was_sent:
        release_probe(connection, Service.OAUTH, turn.began_at, moment)


def _lock(connection: Connection) -> tuple[datetime, Outage]:
    moment = acquire_with_time(connection, Lock.OAUTH, waits_for_disk=True)
    return moment, load_outage(connection, Service.OAUTH)
