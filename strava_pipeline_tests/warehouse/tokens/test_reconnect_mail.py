"""The mail about a grant's end is queued with the end itself: once for each, for whoever wants mails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.errors import NeedsReauthorization, RejectedRequest
from strava_pipeline.secret import Secret
from strava_pipeline.warehouse.mail.consent import NOTHING, end_mails
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.tokens.cool_down import note_failure
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.warehouse.tokens.connected_store import change_user, dead, grant, refuse_with, user
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER


def give_address(store: PostgresTokenStore, *, is_confirmed: bool = True) -> None:
    row = with_address(RIDER, "mira@example.org", is_confirmed=is_confirmed)
    change_user(store.engine, **{name: row[name] for name in NOTHING})


def mails(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        columns = (notifications.c.kind, notifications.c.state, notifications.c.reason)
        return [tuple(row) for row in connection.execute(select(*columns).order_by(notifications.c.id))]


def lose_grant(store: PostgresTokenStore, number: int = 1) -> None:
    with pytest.raises(NeedsReauthorization):
        store.refresh_once(RIDER, Secret(f"canary-access-{number}"), refuse_with(dead()))


WAITS = ("reconnect", "pending", None)
DROPPED = ("reconnect", "skipped", "the athlete is connected again")


def test_each_end_of_a_grant_queues_one_mail(store: PostgresTokenStore) -> None:
    give_address(store)
    lose_grant(store)
    lose_grant(store)
    assert mails(store.engine) == [WAITS]
    with store.engine.begin() as connection:
        connection.execute(update(notifications).values(state="sent", next_try_at=None))
    store.connect(grant(2, RIDER), ["read"])
    lose_grant(store, 2)
    assert mails(store.engine) == [("reconnect", "sent", None), WAITS]


def test_two_processes_that_find_the_end_queue_one_mail(store: PostgresTokenStore) -> None:
    give_address(store)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: lose_grant(store), range(2)))
    assert mails(store.engine) == [WAITS]


def test_who_connects_again_gets_no_mail(store: PostgresTokenStore) -> None:
    give_address(store)
    lose_grant(store)
    store.connect(grant(2, RIDER), ["read"])
    assert mails(store.engine) == [DROPPED]


def test_a_process_that_dies_leaves_neither_the_end_nor_a_mail(store: PostgresTokenStore) -> None:
    give_address(store)
    connection = store.engine.connect()
    note_failure(connection, RIDER, dead())
    connection.close()
    assert (user(store.engine).state, mails(store.engine)) == ("active", [])
    lose_grant(store)
    assert mails(store.engine) == [WAITS]


def test_no_mail_goes_to_an_address_that_is_not_confirmed_or_does_not_want_any(store: PostgresTokenStore) -> None:
    lose_grant(store)
    store.connect(grant(2, RIDER), ["read"])
    give_address(store, is_confirmed=False)
    lose_grant(store, 2)
    store.connect(grant(3, RIDER), ["read"])
    give_address(store)
    with store.engine.begin() as connection:
        assert end_mails(connection, RIDER, f"unsubscribe-{RIDER}")
    lose_grant(store, 3)
    assert mails(store.engine) == []


def test_another_fault_queues_no_mail(store: PostgresTokenStore) -> None:
    give_address(store)
    with pytest.raises(RejectedRequest):
        store.refresh_once(RIDER, Secret("canary-access-1"), refuse_with(RejectedRequest("bad client", status=400)))
    assert mails(store.engine) == []


def test_another_athletes_mail_is_no_hindrance(store: PostgresTokenStore) -> None:
    give_address(store)
    with store.engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER + 1, "ole@example.org")))
        note_failure(connection, RIDER + 1, dead())
        note_failure(connection, RIDER, dead())
    assert mails(store.engine) == [WAITS, WAITS]
