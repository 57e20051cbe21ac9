"""The operator's sessions, read and written in threads so that the event loop never waits for the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import DatabaseUnavailable, WarehouseError
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.engine import autocommit

Result = TypeVar("Result")

ANSWER_SECONDS = 10.0
AUDIT_DETAIL = "at Dagster's UI"


class Sessions:
    """The sessions with one ``proof``. Each method raises ``DatabaseUnavailable`` when the database does not answer."""

    def __init__(self, engine: Engine, proof: str) -> None:
        self._engine = engine
        self._proof = proof

    async def is_open(self, secrets: Sequence[str]) -> bool:
        """Whether one of the secrets belongs to an open session."""
        if not secrets:
            return False

        def look() -> bool:
            with autocommit(self._engine) as connection:
                return any(operator_sessions.is_open(connection, secret, self._proof) for secret in secrets)

        return await _in_thread(look)

    async def open(self, address: str) -> str:
        """Open a session for a browser at the IP address ``address``; returns the session's secret."""

        def log_in(connection: Connection) -> str:
            note_action(connection, Actor.OPERATOR, "login", address, detail=AUDIT_DETAIL)
            return operator_sessions.open_session(connection, self._proof)

        return await self._write(log_in)

    async def record_wrong_token(self, address: str) -> None:
        """Record in the audit that a wrong token came from the IP address ``address``."""
        await self._write(
            lambda connection: note_action(connection, Actor.OPERATOR, "login", address, ok=False, detail=AUDIT_DETAIL)
        )

    async def end(self, secrets: Sequence[str]) -> None:
        """End the sessions of these secrets, in Dagster's UI and on the bridge's pages."""

        def log_out(connection: Connection) -> None:
            for secret in secrets:
                operator_sessions.end_session(connection, secret)

        await self._write(log_out)

    async def _write(self, work: Callable[[Connection], Result]) -> Result:
        def write() -> Result:
            with self._engine.begin() as connection:
                return work(connection)

        return await _in_thread(write)


async def _in_thread(work: Callable[[], Result]) -> Result:
    try:
        return await asyncio.wait_for(asyncio.to_thread(work), ANSWER_SECONDS)
    except (SQLAlchemyError, WarehouseError, TimeoutError) as error:
        # SQLAlchemy adds its statement in further lines.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DatabaseUnavailable(f"the database of logins does not answer: {reason}") from error
