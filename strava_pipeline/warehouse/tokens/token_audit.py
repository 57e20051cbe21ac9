"""The log of token operations: when, whose, what and with which outcome; never a token."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.schema.ops_tables import token_audit

# What became of a revocation; ENDED_BEFORE: the grant was dead, so that nothing was left to end.
OK = "ok"
ENDED_BEFORE = "ended before"
FAILED = "failed"


def audit(
    connection: Connection, athlete_id: int | None, operation: str, outcome: str, detail: str | None = None
) -> None:
    """One row in the log of token operations; ``detail``, made printable and cut, never holds a token.

    Using what another process refreshed is no operation: every call in flight at an expiry does that.
    """
    told = None if detail is None else printable(detail)
    connection.execute(
        insert(token_audit).values(athlete_id=athlete_id, operation=operation, outcome=outcome, detail=told)
    )
