"""The operator's sessions, asked of the database beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import DatabaseAway, WarehouseError
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.engine import autocommit

Found = TypeVar("Found")

ANSWER_SECONDS = 10.0
WHERE = "at Dagster's UI"


class Sessions:
    """Sessions opened under one ``proof``. Each method raises ``DatabaseAway`` when nobody can tell."""

    def __init__(self, engine: Engine, proof: str) -> None:
        self._engine = engine
        self._proof = proof

    async def is_open(self, secrets: Sequence[str]) -> bool:
        """Whether one of the secrets is that of an open session."""
        if not secrets:
            return False

        def look() -> bool:
            with autocommit(self._engine) as connection:
                return any(operator_sessions.is_open(connection, secret, self._proof) for secret in secrets)

        return await _beside(look)

    async def open(self, address: str) -> str:
        """Open a session for a browser at ``address``; returns its secret."""

        def log_in(connection: Connection) -> str:
            note_action(connection, Actor.OPERATOR, "login", address, detail=WHERE)
            return operator_sessions.open_session(connection, self._proof)

        return await self._write(log_in)

    async def note_wrong_token(self, address: str) -> None:
        """Have the audit know of a wrong token."""
        await self._write(
            lambda connection: note_action(connection, Actor.OPERATOR, "login", address, ok=False, detail=WHERE)
        )

    async def end(self, secrets: Sequence[str]) -> None:
        """End the sessions of these secrets, everywhere."""

        def log_out(connection: Connection) -> None:
            for secret in secrets:
                operator_sessions.end_session(connection, secret)

        await self._write(log_out)

    async def _write(self, work: Callable[[Connection], Found]) -> Found:
        def write() -> Found:
            with self._engine.begin() as connection:
                return work(connection)

        return await _beside(write)


async def _beside(work: Callable[[], Found]) -> Found:
    try:
        return await asyncio.wait_for(asyncio.to_thread(work), ANSWER_SECONDS)
    except (SQLAlchemyError, WarehouseError, TimeoutError) as error:
        # SQLAlchemy adds its statement, line by line.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DatabaseAway(f"sessions cannot be looked up: {reason}") from error
