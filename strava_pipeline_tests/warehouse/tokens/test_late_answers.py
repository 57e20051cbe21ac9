"""An answer with new tokens that comes late is lost in no failure, whoever was asked meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from sqlalchemy import select, text, update

from strava_pipeline.errors import DatabaseUnavailable, NeedsReauthorization, TokenUnreadable
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.schema.grant_tables import token_journal, users
from strava_pipeline.warehouse.tokens import token_store as store_module
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.warehouse.sessions import lose_lock
from strava_pipeline_tests.warehouse.tokens.connected_store import (
    audited,
    change_user,
    dead,
    erase,
    grant,
    journal,
    never,
    refuse_with,
    user,
)
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER


def test_an_answer_that_came_after_the_lock_was_lost_is_adopted(store: PostgresTokenStore) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        return grant(2)

    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert journal(store.engine) == [(2, True)]
    assert store.refresh_once(RIDER, Secret("canary-access-1"), never) == Secret("canary-access-2")
    assert user(store.engine).generation == 2
    assert journal(store.engine) == []
    assert audited(store.engine)[-1] == ("refresh", "adopted")


def test_the_server_takes_the_lock_from_a_process_that_was_stopped(
    store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        with store.engine.begin() as connection:
            connection.execute(select(users).with_for_update())
        return grant(2)

    # Only here: a successor that is slow for once keeps its lock.
    with monkeypatch.context() as impatient:
        impatient.setattr(store_module, "IDLE_LOCK_MILLISECONDS", 100)
        with pytest.raises(DatabaseUnavailable):
            store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert store.refresh_once(RIDER, Secret("canary-access-1"), never) == Secret("canary-access-2")


def test_an_answer_finds_another_way_when_its_connection_broke(store: PostgresTokenStore) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        query = text(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
            " WHERE state = 'idle' AND query LIKE 'INSERT INTO ops.token_journal%' AND datname = current_database()"
        )
        with store.engine.connect() as connection:
            assert connection.execute(query).scalar_one() == 1
        return grant(2)

    assert store.refresh_once(RIDER, Secret("canary-access-1"), refresh) == Secret("canary-access-2")
    assert store.access_token(RIDER) == Secret("canary-access-2")


def test_a_grant_taken_for_dead_lives_on_when_its_answer_arrives(store: PostgresTokenStore) -> None:
    """The provider rotates; the first process loses its lock in its call, and the second one is refused."""

    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        with pytest.raises(NeedsReauthorization):
            store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(dead()))
        assert user(store.engine).state == "needs_reauth"
        return grant(2)

    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert store.access_token(RIDER) == Secret("canary-access-2")
    assert user(store.engine).state == "active"


def test_an_answer_that_arrives_while_strava_refuses_is_used(store: PostgresTokenStore) -> None:
    asked: list[Secret] = []

    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        seconds.append(other.submit(store.refresh_once, RIDER, Secret("canary-access-1"), refuse_once_kept))
        assert called.wait(PATIENCE_SECONDS)
        return grant(2)

    def refuse_once_kept(refresh_token: Secret) -> NoReturn:
        asked.append(refresh_token)
        called.set()
        eventually(lambda: (2, True) in journal(store.engine), "a kept answer")
        raise dead()

    called, seconds = threading.Event(), list[Any]()
    with ThreadPoolExecutor(1) as other, pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert seconds[0].result(PATIENCE_SECONDS) == Secret("canary-access-2")
    assert asked == [Secret("canary-refresh-1")]
    assert audited(store.engine)[-1] == ("refresh", "adopted")


def test_an_answer_overtaken_by_another_is_kept_and_tried_when_that_one_is_dead(store: PostgresTokenStore) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        assert store.refresh_once(RIDER, Secret("canary-access-1"), lambda _: grant(2)) == Secret("canary-access-2")
        return grant(3)

    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert store.access_token(RIDER) == Secret("canary-access-2")
    assert journal(store.engine) == [(2, True)]
    change_user(store.engine, refreshed_at=None)
    asked = []

    def refresh_again(refresh_token: Secret) -> TokenGrant:
        asked.append(refresh_token)
        if refresh_token == Secret("canary-refresh-2"):
            raise dead()
        return grant(4)

    assert store.refresh_once(RIDER, Secret("canary-access-2"), refresh_again) == Secret("canary-access-4")
    assert asked == [Secret("canary-refresh-2"), Secret("canary-refresh-3")]
    assert user(store.engine).generation == 3
    assert journal(store.engine) == []


def test_an_answer_that_comes_after_an_erasure_is_not_kept(store: PostgresTokenStore) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        erase(store, RIDER)
        return grant(2)

    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    assert journal(store.engine) == []
    assert user(store.engine).state == "revoked"


def test_an_answer_moved_to_another_generation_is_not_adopted(store: PostgresTokenStore) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        lose_lock(store.engine)
        return grant(2)

    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    store.connect(grant(5, RIDER), ["read"])
    with pytest.raises(DatabaseUnavailable):
        store.refresh_once(RIDER, Secret("canary-access-5"), refresh)
    with store.engine.begin() as connection:
        connection.execute(update(token_journal).values(generation=4))
        connection.execute(update(users).values(generation=3))
    with pytest.raises(TokenUnreadable, match=r"strava_access_token of athlete .* cannot be decrypted"):
        store.refresh_once(RIDER, Secret("canary-access-5"), never)
    assert user(store.engine).generation == 3
