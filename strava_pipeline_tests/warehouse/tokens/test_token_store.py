"""Tokens: never readable in the table, refreshed once, and lost in no failure."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from socket import gethostname
from typing import Any, NoReturn

import pytest
from sqlalchemy import func, select

from strava_pipeline.errors import (
    DatabaseUnavailable,
    NeedsReauthorization,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaAway,
    StravaError,
    TokenUnreadable,
    UnknownAthlete,
)
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota import oauth_watch
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.schema.grant_tables import token_audit, token_journal, users
from strava_pipeline.warehouse.tokens import token_store as store_module
from strava_pipeline.warehouse.tokens.stored_tokens import read_active_tokens
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests import inbox
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.warehouse.tokens.connected_store import (
    EXPIRES,
    audited,
    change_user,
    dead,
    erase,
    grant,
    journal,
    last_detail,
    never,
    refuse_with,
    user,
)
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER


def test_connecting_stores_an_active_athlete(store: PostgresTokenStore) -> None:
    row = user(store.engine)
    assert (row.athlete_id, row.state, row.scopes) == (RIDER, "active", ["read", "activity:read_all"])
    assert row.strava_token_expires_at == EXPIRES + timedelta(hours=1)
    assert store.access_token(RIDER) == Secret("canary-access-1")
    assert audited(store.engine) == [("exchange", "ok")]
    with store.engine.connect() as connection:
        assert [tokens.athlete_id for tokens in read_active_tokens(connection)] == [RIDER]


def test_an_exchange_is_stored_and_a_refused_code_audited(store: PostgresTokenStore) -> None:
    assert store.store_exchange(lambda: grant(5, 7), ["read"]) == (7, grant(5, 7))
    with pytest.raises(RejectedRequest):
        store.store_exchange(
            partial(refuse_with(RejectedRequest("code invalid", status=400)), Secret("code")), ["read"]
        )
    assert audited(store.engine)[1:] == [("exchange", "ok"), ("exchange", "failed")]
    assert last_detail(store.engine) == "code invalid"


def test_no_token_is_readable_in_any_table(store: PostgresTokenStore) -> None:
    seen = []

    def refresh(refresh_token: Secret) -> TokenGrant:
        seen.append(refresh_token)
        if len(seen) > 1:
            raise RetriableStravaError("away")
        return grant(2)

    store.refresh_once(RIDER, Secret("canary-access-1"), refresh)
    change_user(store.engine, refreshed_at=None)
    with pytest.raises(RetriableStravaError):
        store.refresh_once(RIDER, Secret("canary-access-2"), refresh)
    with store.engine.connect() as connection:
        everything = str([connection.execute(select(table)).all() for table in (users, token_audit, token_journal)])
    assert not any(f"{kind}-{number}" in everything for kind in ("access", "refresh") for number in (1, 2))
    assert everything.count("v1.") == 2


def test_an_envelope_opens_in_its_own_column_only(store: PostgresTokenStore) -> None:
    change_user(store.engine, strava_access_token=users.c.strava_refresh_token)
    with pytest.raises(TokenUnreadable):
        store.access_token(RIDER)


def test_another_key_opens_nothing(store: PostgresTokenStore) -> None:
    stranger = PostgresTokenStore(store.engine, Keyring.parse(generate_key()))
    with pytest.raises(TokenUnreadable, match="add this key to STRAVA_TOKEN_KEYS"):
        stranger.access_token(RIDER)
    with pytest.raises(TokenUnreadable):
        stranger.refresh_once(RIDER, Secret("canary-access-1"), never)


def test_an_unknown_athlete_is_told_apart(store: PostgresTokenStore) -> None:
    with pytest.raises(UnknownAthlete, match="athlete 5 is not connected"):
        store.access_token(5)
    with pytest.raises(UnknownAthlete):
        store.refresh_once(5, Secret("canary-access-1"), never)
    with pytest.raises(UnknownAthlete):
        erase(store, 5)


def test_a_refresh_stores_the_rotated_pair_and_leaves_nothing_in_the_journal(store: PostgresTokenStore) -> None:
    seen = []

    def refresh(refresh_token: Secret) -> TokenGrant:
        seen.append((refresh_token, journal(store.engine)))
        return grant(len(seen) + 1)

    assert store.refresh_once(RIDER, Secret("canary-access-1"), refresh) == Secret("canary-access-2")
    change_user(store.engine, refreshed_at=func.now() - timedelta(minutes=2))
    assert store.refresh_once(RIDER, Secret("canary-access-2"), refresh) == Secret("canary-access-3")
    assert seen == [(Secret("canary-refresh-1"), [(2, False)]), (Secret("canary-refresh-2"), [(3, False)])]
    assert store.token_pair(RIDER) == TokenGrant(
        Secret("canary-access-3"), Secret("canary-refresh-3"), EXPIRES + timedelta(hours=3)
    )
    assert user(store.engine).generation == 3
    assert journal(store.engine) == []
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "ok"), ("refresh", "ok")]


def test_a_token_replaced_meanwhile_is_used_without_a_call(store: PostgresTokenStore) -> None:
    store.refresh_once(RIDER, Secret("canary-access-1"), lambda _: grant(2))
    assert store.refresh_once(RIDER, Secret("canary-access-1"), never) == Secret("canary-access-2")
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "ok")]


def test_what_strava_has_just_issued_is_not_refreshed_again(store: PostgresTokenStore) -> None:
    store.refresh_once(RIDER, Secret("canary-access-1"), lambda _: grant(2))
    with pytest.raises(RetriableStravaError, match=r"Strava refuses what it issued at .* not refreshed again before"):
        store.refresh_once(RIDER, Secret("canary-access-2"), never)
    assert store.access_token(RIDER) == Secret("canary-access-2")
    assert user(store.engine).state == "active"


def test_a_token_that_was_issued_for_seconds_is_refreshed_again_at_once(store: PostgresTokenStore) -> None:
    ended = datetime.now(UTC) - timedelta(seconds=1)
    store.refresh_once(
        RIDER,
        Secret("canary-access-1"),
        lambda _: TokenGrant(Secret("canary-access-2"), Secret("canary-refresh-2"), ended),
    )
    assert store.refresh_once(RIDER, Secret("canary-access-2"), lambda _: grant(3)) == Secret("canary-access-3")


def test_a_dead_grant_asks_for_a_new_connection_and_connecting_again_helps(store: PostgresTokenStore) -> None:
    asked: list[Secret] = []
    with pytest.raises(NeedsReauthorization):
        store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(dead(), asked))
    assert asked == [Secret("canary-refresh-1")]
    assert user(store.engine).state == "needs_reauth"
    assert audited(store.engine)[-1] == ("refresh", "failed")
    with pytest.raises(NeedsReauthorization, match="is needs_reauth: connect the athlete again"):
        store.access_token(RIDER)
    with pytest.raises(NeedsReauthorization):
        store.refresh_once(RIDER, Secret("canary-access-1"), never)
    store.connect(grant(4, RIDER), ["read"])
    assert store.access_token(RIDER) == Secret("canary-access-4")
    assert user(store.engine).scopes == ["read"]
    assert journal(store.engine) == []


@pytest.mark.parametrize(
    "error",
    [
        RetriableStravaError("HTML", status=502),
        RejectedRequest("bad client", status=400),
        QuotaExhausted("429", retry_at=datetime.now(UTC), status=429),
    ],
)
def test_any_other_failed_refresh_changes_no_token_and_opens_a_cool_down(
    store: PostgresTokenStore, error: StravaError
) -> None:
    asked: list[Secret] = []
    with pytest.raises(type(error)):
        store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(error, asked))
    assert user(store.engine).state == "active"
    assert audited(store.engine)[-1] == ("refresh", "failed")
    for call in (store.access_token, lambda athlete: store.refresh_once(athlete, Secret("canary-access-1"), never)):
        with pytest.raises(
            RetriableStravaError, match=r"failed just now, and is not tried again before \d\d:\d\d:\d\d"
        ):
            call(RIDER)
    assert asked == [Secret("canary-refresh-1")]
    change_user(store.engine, refresh_not_before=func.now() - timedelta(seconds=1))
    assert store.access_token(RIDER) == Secret("canary-access-1")
    assert store.refresh_once(RIDER, Secret("canary-access-1"), lambda _: grant(2)) == Secret("canary-access-2")
    assert user(store.engine).refresh_not_before is None
    assert last_detail(store.engine) == "an earlier one got no answer"


def test_a_429_cools_down_for_as_long_as_strava_says(store: PostgresTokenStore) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    with pytest.raises(QuotaExhausted):
        store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(QuotaExhausted("429", retry_at=later)))
    assert user(store.engine).refresh_not_before == later


def test_connecting_again_lets_events_go_on_that_waited_for_it(store: PostgresTokenStore) -> None:
    inbox.store(store.engine, 1, owner_id=RIDER)
    inbox.change(store.engine, state="parked", error="connect again")
    store.connect(grant(4, RIDER), ["read"])
    assert inbox.states(store.engine) == ["received"]


def test_erasing_leaves_no_token_and_connecting_again_helps(store: PostgresTokenStore) -> None:
    with pytest.raises(RetriableStravaError):
        store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(RetriableStravaError("away")))
    erase(store, RIDER)
    row = user(store.engine)
    assert (row.state, row.generation) == ("revoked", 2)
    assert row.strava_access_token is row.strava_refresh_token is row.strava_token_expires_at is None
    assert journal(store.engine) == []
    assert audited(store.engine)[-1] == ("erase", "ok")
    with store.engine.connect() as connection:
        assert [tokens.athlete_id for tokens in read_active_tokens(connection)] == []
    with pytest.raises(NeedsReauthorization, match="is revoked"):
        store.access_token(RIDER)
    with pytest.raises(NeedsReauthorization, match="is revoked"):
        store.token_pair(RIDER)
    store.connect(grant(3, RIDER), ["read"])
    assert store.access_token(RIDER) == Secret("canary-access-3")


def test_an_erasure_waits_for_the_refresh_under_way_and_takes_its_tokens(store: PostgresTokenStore) -> None:
    with ThreadPoolExecutor(1) as other:

        def refresh(refresh_token: Secret) -> TokenGrant:
            erasures.append(other.submit(erase, store, RIDER))
            wait_for_a_lock(store.engine, waiting=1)
            return grant(2)

        erasures: list[Any] = []
        assert store.refresh_once(RIDER, Secret("canary-access-1"), refresh) == Secret("canary-access-2")
        erasures[0].result(PATIENCE_SECONDS)
    assert user(store.engine).state == "revoked"
    assert user(store.engine).strava_access_token is None
    assert journal(store.engine) == []


def test_more_threads_than_pooled_connections_meet_one_expired_token(store: PostgresTokenStore) -> None:
    threads = store.engine.pool.size() * 3 + 5  # type: ignore[attr-defined]  # of the pool that is used
    together = threading.Barrier(threads)
    asked = []

    def refresh(refresh_token: Secret) -> TokenGrant:
        asked.append(refresh_token)
        # All others have seen the expired token by then.
        wait_for_a_lock(store.engine, waiting=threads - 1)
        return grant(2)

    def meet() -> Secret:
        together.wait(PATIENCE_SECONDS)
        return store.refresh_once(RIDER, Secret("canary-access-1"), refresh)

    with ThreadPoolExecutor(threads) as crowd:
        found = [future.result() for future in [crowd.submit(meet) for _ in range(threads)]]
    assert found == [Secret("canary-access-2")] * threads
    assert asked == [Secret("canary-refresh-1")]


def test_lock_waiting_has_an_end(store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ROW_LOCK_MILLISECONDS", 50)
    with store.engine.begin() as holder:
        holder.execute(select(users).with_for_update())
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            store.refresh_once(RIDER, Secret("canary-access-1"), never)


def test_while_oauth_is_away_nobody_refreshes_and_nobody_holds_the_row(store: PostgresTokenStore) -> None:
    with store.engine.begin() as connection:
        moment = now(connection)
        later = moment + timedelta(minutes=5)
        state = Outage(9, moment, several=True, hosts=(gethostname(),), away_since=moment, probe_at=later)
        store_outage(connection, Service.OAUTH, state)
    with pytest.raises(StravaAway) as caught:
        store.refresh_once(RIDER, Secret("canary-access-1"), never)
    assert caught.value.retry_at == later
    assert user(store.engine).refresh_not_before is None
    assert audited(store.engine) == [("exchange", "ok")]


def test_tokens_are_stored_before_it_is_noted_that_oauth_answers(
    store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(oauth_watch, "_note", died)
    with pytest.raises(KeyboardInterrupt):
        store.refresh_once(RIDER, Secret("canary-access-1"), lambda _: grant(2))
    assert store.access_token(RIDER) == Secret("canary-access-2")
