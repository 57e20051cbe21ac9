"""A token store with one athlete connected, ways to refresh that athlete's tokens, and a look at the tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from sqlalchemy import Engine, Row, select, update

from strava_pipeline.errors import NeedsReauthorization, StravaError
from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.schema.grant_tables import token_audit, token_journal, users
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore, erase_tokens, patient_transaction
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
Refresh = Callable[[Secret], TokenGrant]


def grant(number: int, athlete: int | None = None) -> TokenGrant:
    expires = EXPIRES + timedelta(hours=number)
    return TokenGrant(
        Secret(f"canary-access-{number}"),
        Secret(f"canary-refresh-{number}"),
        expires,
        {"id": athlete} if athlete else None,
    )


def never(refresh_token: Secret) -> NoReturn:
    raise AssertionError("nothing is to be refreshed")


def refuse_with(error: StravaError, asked: list[Secret] | None = None) -> Refresh:
    def refuse(refresh_token: Secret) -> NoReturn:
        if asked is not None:
            asked.append(refresh_token)
        raise error

    return refuse


def dead() -> NeedsReauthorization:
    return NeedsReauthorization("RefreshToken refresh_token invalid", status=400)


def connected(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    """A store with one athlete connected."""
    store = PostgresTokenStore(engine, keyring)
    assert store.connect(grant(1, RIDER), ["read", "activity:read_all"]) == RIDER
    return store


def erase(store: PostgresTokenStore, athlete_id: int) -> None:
    with patient_transaction(store.engine) as connection:
        erase_tokens(connection, athlete_id, "asked to go")


def user(engine: Engine) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(users)).one()


def change_user(engine: Engine, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(values))


def journal(engine: Engine) -> list[tuple[int, bool]]:
    """Generation of each entry, and whether it was answered."""
    with engine.connect() as connection:
        rows = connection.execute(select(token_journal).order_by(token_journal.c.id))
        return [(row.generation, row.answered_at is not None) for row in rows]


def audited(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(select(token_audit).order_by(token_audit.c.id))
        return [(row.operation, row.outcome) for row in rows]


def last_detail(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(select(token_audit.c.detail).order_by(token_audit.c.id.desc())).scalars().first()
