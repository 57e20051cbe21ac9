"""The operator audit: every action on athletes and events, and who ordered it."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Connection, insert

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.schema.access_tables import operator_audit

LONGEST_SUBJECT = 100


class Actor(StrEnum):
    """Who ordered an action: the operator or the athlete in a browser, somebody by a command, or Strava."""

    OPERATOR = "operator"
    ATHLETE = "athlete"
    COMMAND = "command"
    STRAVA = "strava"


def note_action(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str | None,
    *,
    ok: bool = True,
    detail: str | None = None,
) -> None:
    """Insert one row into the audit; ``detail`` gives cause and extent, never health data, never a secret.

    ``subject`` and ``detail`` may contain text from outside: both are made printable, and cut.
    """
    connection.execute(
        insert(operator_audit).values(
            actor=actor,
            action=action,
            subject=None if subject is None else printable(subject, LONGEST_SUBJECT),
            outcome="ok" if ok else "failed",
            detail=None if detail is None else printable(detail),
        )
    )
