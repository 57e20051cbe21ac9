"""Tokens: never readable in the table, refreshed once for all processes, and lost in no failure."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
from sqlalchemy import Engine, Row, select, text, update

from strava_pipeline.errors import (
    NeedsReauthorization,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
    TokenUnreadable,
    UnknownAthlete,
)
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.ops_tables import token_audit, users
from strava_pipeline.warehouse.users import PostgresTokenStore, active_athletes

RIDER = 2**40
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 30


def grant(number: int, athlete: int | None = None) -> TokenGrant:
    expires = EXPIRES + timedelta(hours=number)
    return TokenGrant(f"access-{number}", f"refresh-{number}", expires, {"id": athlete} if athlete else None)


def never(refresh_token: str) -> NoReturn:
    raise AssertionError("nothing is to be refreshed")


@pytest.fixture
def store(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    """A store with one athlete connected."""
    store = PostgresTokenStore(engine, keyring)
    assert store.connect(grant(1, RIDER), ["read", "activity:read_all"]) == RIDER
    return store


def user(engine: Engine) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(users)).one()


def audited(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(select(token_audit).order_by(token_audit.c.id))
        return [(row.operation, row.outcome) for row in rows]


def test_connecting_stores_an_active_athlete(store: PostgresTokenStore) -> None:
    row = user(store.engine)
    assert (row.athlete_id, row.state, row.scopes) == (RIDER, "active", ["read", "activity:read_all"])
    assert row.strava_token_expires_at == EXPIRES + timedelta(hours=1)
    assert store.access_token(RIDER) == "access-1"
    assert audited(store.engine) == [("exchange", "ok")]
    with store.engine.connect() as connection:
        assert active_athletes(connection) == [RIDER]


def test_no_token_is_readable_in_any_table(store: PostgresTokenStore) -> None:
    store.refreshed(RIDER, "access-1", lambda _: grant(2))
    with store.engine.connect() as connection:
        everything = str(connection.execute(text("SELECT u::text, a::text FROM ops.users u, ops.token_audit a")).all())
    assert not any(f"{kind}-{number}" in everything for kind in ("access", "refresh") for number in (1, 2))
    assert everything.count("v1.") == 4


def test_an_envelope_opens_in_its_own_column_only(store: PostgresTokenStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(users).values(strava_access_token=users.c.strava_refresh_token))
    with pytest.raises(TokenUnreadable):
        store.access_token(RIDER)


def test_another_key_opens_nothing(store: PostgresTokenStore) -> None:
    stranger = PostgresTokenStore(store.engine, Keyring.parse(generate_key()))
    with pytest.raises(TokenUnreadable, match="STRAVA_TOKEN_KEYS lacks"):
        stranger.access_token(RIDER)
    with pytest.raises(TokenUnreadable):
        stranger.refreshed(RIDER, "access-1", never)


def test_an_unknown_athlete_is_told_apart(store: PostgresTokenStore) -> None:
    with pytest.raises(UnknownAthlete, match="athlete 5 is not connected"):
        store.access_token(5)
    with pytest.raises(UnknownAthlete):
        store.refreshed(5, "access-1", never)


def test_a_refresh_stores_the_rotated_pair(store: PostgresTokenStore) -> None:
    seen = []

    def refresh(refresh_token: str) -> TokenGrant:
        seen.append(refresh_token)
        return grant(len(seen) + 1)

    assert store.refreshed(RIDER, "access-1", refresh) == "access-2"
    assert store.refreshed(RIDER, "access-2", refresh) == "access-3"
    assert seen == ["refresh-1", "refresh-2"]
    assert store.access_token(RIDER) == "access-3"
    assert user(store.engine).generation == 3
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "ok"), ("refresh", "ok")]


def test_a_token_replaced_meanwhile_is_used_without_a_call(store: PostgresTokenStore) -> None:
    store.refreshed(RIDER, "access-1", lambda _: grant(2))
    assert store.refreshed(RIDER, "access-1", never) == "access-2"


def test_a_dead_grant_asks_for_a_new_connection_and_connecting_again_helps(store: PostgresTokenStore) -> None:
    def refuse(refresh_token: str) -> NoReturn:
        raise NeedsReauthorization("RefreshToken refresh_token invalid")

    with pytest.raises(NeedsReauthorization):
        store.refreshed(RIDER, "access-1", refuse)
    assert user(store.engine).state == "needs_reauth"
    assert audited(store.engine)[-1] == ("refresh", "failed")
    with pytest.raises(NeedsReauthorization, match="is needs_reauth: connect the athlete again"):
        store.access_token(RIDER)
    with pytest.raises(NeedsReauthorization):
        store.refreshed(RIDER, "access-1", never)
    store.connect(grant(4, RIDER), ["read"])
    assert store.access_token(RIDER) == "access-4"
    assert user(store.engine).scopes == ["read"]


@pytest.mark.parametrize("error", [RetriableStravaError("HTML", status=502), RejectedRequest("bad client", status=400)])
def test_any_other_failed_refresh_changes_no_token_and_no_state(store: PostgresTokenStore, error: StravaError) -> None:
    def refuse(refresh_token: str) -> NoReturn:
        raise error

    with pytest.raises(type(error)):
        store.refreshed(RIDER, "access-1", refuse)
    assert user(store.engine).state == "active"
    assert store.access_token(RIDER) == "access-1"
    assert audited(store.engine)[-1] == ("refresh", "failed")
    assert store.refreshed(RIDER, "access-1", lambda _: grant(2)) == "access-2"


def test_an_erased_athlete_has_no_token(store: PostgresTokenStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(users).values(state="revoked", strava_access_token=None, strava_refresh_token=None))
        assert active_athletes(connection) == []
    with pytest.raises(NeedsReauthorization, match="is revoked"):
        store.access_token(RIDER)


@pytest.fixture
def workers(settings: Settings) -> Iterator[ExitStack]:
    """Processes of a test, ended with it."""
    with ExitStack() as stack:
        yield stack


def start_worker(stack: ExitStack, outcome: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "strava_pipeline_tests.warehouse.refresh_worker", str(RIDER), "access-1", outcome]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.enter_context(worker)
    stack.callback(worker.kill)
    return worker


def hear(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def tell(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def wait_for_a_lock(engine: Engine, waiting: int) -> None:
    """Until this many sessions wait for somebody's row."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.execute(query).scalar_one() == waiting:
                return
    raise AssertionError("nobody waits for the athlete's row")


def meet_one_expired_token(store: PostgresTokenStore, stack: ExitStack, outcome: str) -> list[str]:
    """Two processes: the first is in its call to Strava while the second waits; what each of them ended with."""
    first, second = (start_worker(stack, outcome) for _ in range(2))
    assert [hear(first), hear(second)] == ["ready", "ready"]
    tell(first)
    assert hear(first) == "refreshing refresh-1"
    tell(second)
    wait_for_a_lock(store.engine, waiting=1)
    tell(first)
    return [hear(first), hear(second)]


def test_expired_token_is_refreshed_once_by_two_processes(store: PostgresTokenStore, workers: ExitStack) -> None:
    assert meet_one_expired_token(store, workers, "ok") == ["token access-2", "token access-2"]
    assert store.access_token(RIDER) == "access-2"
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "ok")]


def test_a_dead_grant_is_tried_once_by_two_processes(store: PostgresTokenStore, workers: ExitStack) -> None:
    told = meet_one_expired_token(store, workers, "dead")
    assert told == ["error NeedsReauthorization", "error NeedsReauthorization"]
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "failed")]


def test_a_failed_refresh_is_tried_again_by_the_process_that_waited(
    store: PostgresTokenStore, workers: ExitStack
) -> None:
    assert meet_one_expired_token(store, workers, "away") == ["error RetriableStravaError", "refreshing refresh-1"]


def test_a_process_killed_in_its_call_frees_the_athlete(store: PostgresTokenStore, workers: ExitStack) -> None:
    first, second = (start_worker(workers, "ok") for _ in range(2))
    assert [hear(first), hear(second)] == ["ready", "ready"]
    tell(first)
    assert hear(first) == "refreshing refresh-1"
    tell(second)
    wait_for_a_lock(store.engine, waiting=1)
    first.kill()
    assert hear(second) == "refreshing refresh-1"
    tell(second)
    assert hear(second) == "token access-2"
