"""Tells by SQLSTATE what an error of Postgres is about: the server's state, a time limit, or the statement.

Source: https://www.postgresql.org/docs/18/errcodes-appendix.html
"""

from __future__ import annotations

from enum import Enum, auto

import psycopg

CANNOT_WRITE = frozenset({"25006", "55000"})
# Read-only; in recovery; sessions that were ended; a pooler or a migration that lost what this connection prepared.
_AWAY = CANNOT_WRITE | {"25P03", "25P04", "26000", "42P05"}
# No connection; no login; no memory, disk or connections; an operator's shutdown; faults of the system, of its files.
_AWAY_CLASSES = ("08", "28", "53", "57P", "58", "F0")
# Locks, statement_timeout, serialization, deadlock, temp_file_limit: another try, or a smaller piece, may pass.
_TOO_SLOW = frozenset({"55P03", "57014", "40001", "40P01", "53400"})
_LOST_PLAN = "cached plan must not change"
_NO_NEW_TRANSACTIONS = "wraparound"


class Mood(Enum):
    """What an error is about, and so what becomes of the connection."""

    #: The server or the network: whatever is sent is refused, so the connection is thrown away.
    AWAY = auto()
    #: The time or the space of one piece of work; the connection is kept.
    TOO_SLOW = auto()
    #: The statement itself; the connection is kept.
    STATEMENT = auto()


def mood_of(error: psycopg.Error, *, broken: bool = False) -> Mood:
    """Return what an error of the driver is about; ``broken``: the driver has found its connection broken."""
    # The driver itself fails with an OperationalError when it has no server; Postgres' own errors carry a code.
    has_no_server = error.sqlstate is None and isinstance(error, psycopg.OperationalError)
    return mood_by(error.sqlstate, str(error), broken=broken or has_no_server)


def mood_by(sqlstate: str | None, text: str, *, broken: bool) -> Mood:
    """Return what an error is about, whichever driver met it."""
    if broken:
        return Mood.AWAY
    if sqlstate is None:
        return Mood.STATEMENT
    if sqlstate in _TOO_SLOW:
        return Mood.TOO_SLOW
    if sqlstate in _AWAY or sqlstate.startswith(_AWAY_CLASSES):
        return Mood.AWAY
    if (sqlstate == "0A000" and _LOST_PLAN in text) or (sqlstate == "54000" and _NO_NEW_TRANSACTIONS in text):
        return Mood.AWAY
    return Mood.STATEMENT
