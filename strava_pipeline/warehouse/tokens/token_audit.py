"""The token audit: the time, athlete, operation and outcome of every change to a token, never the token."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.schema.grant_tables import token_audit

# Outcomes of a revocation. ENDED_BEFORE: the grant was dead already.
OK = "ok"
ENDED_BEFORE = "ended before"
FAILED = "failed"


def audit(
    connection: Connection, athlete_id: int | None, operation: str, outcome: str, detail: str | None = None
) -> None:
    """Insert one row into the token audit; ``detail`` is made printable and cut, and never contains a token.

    Reading a token that another process refreshed is not audited: every call in flight does so when a token expires.
    """
    told = None if detail is None else printable(detail)
    connection.execute(
        insert(token_audit).values(athlete_id=athlete_id, operation=operation, outcome=outcome, detail=told)
    )
