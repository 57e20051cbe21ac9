"""While Strava's OAuth is away, a token that is known not to work is not used: each use would cost a request."""

from __future__ import annotations

from datetime import datetime, timedelta
from socket import gethostname
from typing import Any, NoReturn

import pytest
from sqlalchemy import Engine, update

from strava_pipeline.errors import NeedsReauthorization, RefreshDelayed, RetriableStravaError, StravaAway
from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.sync.access import check_access
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore

RIDER = 1001
TOKEN = Secret("canary-access-1")
HOUR = timedelta(hours=1)


@pytest.fixture
def moment(engine: Engine) -> datetime:
    with engine.connect() as connection:
        return now(connection)


@pytest.fixture
def store(engine: Engine, keyring: Keyring, moment: datetime) -> PostgresTokenStore:
    """A store with one athlete, whose token has expired."""
    store = PostgresTokenStore(engine, keyring)
    store.connect(TokenGrant(TOKEN, Secret("canary-refresh-1"), moment - HOUR, {"id": RIDER}), ["read"])
    return store


def change(store: PostgresTokenStore, **values: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(users).values(**values))


def away(store: PostgresTokenStore, moment: datetime, *, probe_at: datetime) -> None:
    """OAuth is away since an hour."""
    since = moment - HOUR
    state = Outage(9, since, several=True, hosts=(gethostname(),), away_since=since, probe_at=probe_at)
    with store.engine.begin() as connection:
        store_outage(connection, Service.OAUTH, state)


def unanswered(_: Secret) -> NoReturn:
    raise RetriableStravaError("refresh: Strava answered 503", status=503, answered=False)


def test_a_token_that_has_expired_is_not_used_until_the_next_probe(store: PostgresTokenStore, moment: datetime) -> None:
    away(store, moment, probe_at=moment + HOUR / 20)
    with pytest.raises(StravaAway, match=r"Strava's OAuth does not answer since") as caught:
        store.access_token(RIDER)
    assert (caught.value.refreshes_only, caught.value.retry_at) == (True, moment + HOUR / 20)


def test_a_token_that_has_expired_is_used_by_whoever_may_probe(store: PostgresTokenStore, moment: datetime) -> None:
    away(store, moment, probe_at=moment)
    assert store.access_token(RIDER) == TOKEN


def test_a_token_that_is_still_good_is_used(store: PostgresTokenStore, moment: datetime) -> None:
    away(store, moment, probe_at=moment + HOUR / 20)
    change(store, strava_token_expires_at=moment + HOUR)
    assert store.access_token(RIDER) == TOKEN


def test_a_token_that_has_expired_is_used_while_oauth_answers(store: PostgresTokenStore) -> None:
    """Only Strava's 401 is a reason to refresh a token."""
    assert store.access_token(RIDER) == TOKEN


def test_an_athlete_who_must_connect_again_is_told_so(store: PostgresTokenStore, moment: datetime) -> None:
    away(store, moment, probe_at=moment + HOUR / 20)
    change(store, state="needs_reauth")
    with pytest.raises(NeedsReauthorization):
        store.access_token(RIDER)


@pytest.mark.parametrize("probe_in", [timedelta(0), HOUR / 20])
def test_an_athlete_in_a_cool_down_waits_for_its_end_and_for_the_next_probe(
    store: PostgresTokenStore, moment: datetime, probe_in: timedelta
) -> None:
    away(store, moment, probe_at=moment + probe_in)
    cool_down = timedelta(seconds=30)
    change(store, strava_token_expires_at=moment + HOUR, refresh_not_before=moment + cool_down)
    with pytest.raises(StravaAway) as caught:
        store.access_token(RIDER)
    assert (caught.value.refreshes_only, caught.value.retry_at) == (True, moment + max(probe_in, cool_down))


def test_a_probe_that_fails_tells_its_caller_what_all_others_are_told(
    store: PostgresTokenStore, moment: datetime
) -> None:
    away(store, moment, probe_at=moment)
    with pytest.raises(StravaAway) as caught:
        store.refresh_once(RIDER, TOKEN, unanswered)
    assert caught.value.refreshes_only
    assert caught.value.retry_at is not None
    assert caught.value.retry_at > moment


def test_a_refresh_that_fails_while_oauth_answers_others_is_this_athletes_alone(store: PostgresTokenStore) -> None:
    with pytest.raises(RefreshDelayed):
        store.refresh_once(RIDER, TOKEN, unanswered)


def test_an_outage_is_no_reason_to_begin_no_backfill(
    settings: Settings, store: PostgresTokenStore, moment: datetime
) -> None:
    away(store, moment, probe_at=moment + HOUR / 20)
    check_access(settings, store.engine, RIDER)
    change(store, refresh_not_before=moment + HOUR)
    check_access(settings, store.engine, RIDER)
    change(store, state="needs_reauth", refresh_not_before=None)
    with pytest.raises(NeedsReauthorization):
        check_access(settings, store.engine, RIDER)
