"""Addresses: given, confirmed, changed, ended, erased; and the links that each of that makes void."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.mail.consent import (
    CONFIRM_WITHIN,
    Confirmed,
    Consent,
    address_of,
    confirm_address,
    consent_of,
    end_mails,
    erase_unconfirmed,
    give_address,
    renew_links,
)
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mail_consent import with_address

RIDER, OTHER = 1001, 1002
MIRA, EVE = "mira@example.org", "eve@example.org"


@pytest.fixture(autouse=True)
def athlete(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1, email=None))


def given(engine: Engine, email: str = MIRA) -> Consent:
    with engine.begin() as connection:
        give_address(connection, RIDER, email)
    return stored(engine)


def stored(engine: Engine) -> Consent:
    with engine.connect() as connection:
        found = consent_of(connection, RIDER)
    assert found is not None
    return found


def confirmed(engine: Engine, consent: Consent) -> Confirmed:
    with engine.begin() as connection:
        return confirm_address(connection, consent)


def mails(engine: Engine) -> list[tuple[str, str, str | None]]:
    with engine.connect() as connection:
        rows: list[Row[Any]] = list(connection.execute(select(notifications).order_by(notifications.c.id)))
    return [(row.kind, row.state, row.reason) for row in rows]


def test_an_address_gets_nothing_but_a_question_until_it_is_confirmed(engine: Engine) -> None:
    consent = given(engine)
    assert (consent.email, consent.confirmed_at) == (MIRA, None)
    assert mails(engine) == [("confirmation", "pending", None)]
    with engine.connect() as connection:
        assert address_of(connection, RIDER) == (None, "the address is not confirmed")
    assert confirmed(engine, consent) is Confirmed.NOW
    with engine.connect() as connection:
        assert address_of(connection, RIDER) == (stored(engine), "")
    # What was still to be asked needs not be any more.
    assert mails(engine) == [("confirmation", "skipped", "the address is confirmed")]


def test_confirming_twice_says_so_and_changes_nothing(engine: Engine) -> None:
    consent = given(engine)
    assert confirmed(engine, consent) is Confirmed.NOW
    after = stored(engine)
    assert confirmed(engine, consent) is Confirmed.BEFORE
    assert stored(engine) == after


def test_two_who_confirm_at_once_confirm_once(engine: Engine) -> None:
    consent, told = given(engine), []
    with engine.begin() as first:
        assert confirm_address(first, consent) is Confirmed.NOW
        other = threading.Thread(target=lambda: told.append(confirmed(engine, consent)))
        other.start()
    other.join(PATIENCE_SECONDS)
    assert told == [Confirmed.BEFORE]


def test_an_address_that_was_replaced_can_not_be_confirmed(engine: Engine) -> None:
    first = given(engine)
    second = given(engine, EVE)
    assert first.nonce != second.nonce
    assert confirmed(engine, first) is Confirmed.VOID
    assert mails(engine) == [
        ("confirmation", "skipped", "another address was given"),
        ("confirmation", "pending", None),
    ]
    # Neither can it when it is back: it was given anew.
    third = given(engine)
    assert confirmed(engine, first) is Confirmed.VOID
    assert confirmed(engine, third) is Confirmed.NOW


def test_another_address_begins_anew_and_ends_all_links(engine: Engine) -> None:
    confirmed(engine, given(engine))
    before = stored(engine)
    after = given(engine, EVE)
    assert after.confirmed_at is None
    assert after.unsubscribe_nonce != before.unsubscribe_nonce
    with engine.begin() as connection:
        assert not end_mails(connection, RIDER, before.unsubscribe_nonce)
        assert address_of(connection, RIDER) == (None, "the address is not confirmed")


def test_a_confirmed_address_given_again_stays_and_is_not_asked(engine: Engine) -> None:
    confirmed(engine, given(engine))
    before = stored(engine)
    assert given(engine) == before
    assert len(mails(engine)) == 1


def test_an_unconfirmed_address_given_again_is_asked_by_the_same_link_and_once_at_a_time(engine: Engine) -> None:
    first, second = given(engine), given(engine)
    assert first.nonce == second.nonce
    assert [state for _, state, _ in mails(engine)] == ["pending"]
    with engine.begin() as connection:
        connection.execute(update(notifications).values(state="sent", next_try_at=None))
    given(engine)
    assert [state for _, state, _ in mails(engine)] == ["sent", "pending"]


def test_the_link_in_the_mail_that_asked_ends_the_mails_after_the_confirmation_as_well(engine: Engine) -> None:
    consent = given(engine)
    confirmed(engine, consent)
    with engine.begin() as connection:
        assert end_mails(connection, RIDER, consent.unsubscribe_nonce)
        assert consent_of(connection, RIDER) is None


def test_the_operator_ends_all_links_so_far(engine: Engine) -> None:
    confirmed(engine, given(engine))
    before = stored(engine)
    with engine.begin() as connection:
        assert renew_links(connection, RIDER)
        assert not renew_links(connection, OTHER)
        assert not end_mails(connection, RIDER, before.unsubscribe_nonce)
    after = stored(engine)
    assert (after.email, after.confirmed_at) == (before.email, before.confirmed_at)
    # The page of the link that confirmed shows one that ends the mails: it is over as well.
    assert confirmed(engine, before) is Confirmed.VOID
    with engine.begin() as connection:
        assert end_mails(connection, RIDER, after.unsubscribe_nonce)


def test_while_an_address_is_not_confirmed_the_link_that_confirms_outlives_the_others(engine: Engine) -> None:
    before = given(engine)
    with engine.begin() as connection:
        assert renew_links(connection, RIDER)
        assert not end_mails(connection, RIDER, before.unsubscribe_nonce)
    assert confirmed(engine, before) is Confirmed.NOW


def test_ending_the_mails_erases_the_address_and_what_was_to_be_asked(engine: Engine) -> None:
    consent = given(engine)
    with engine.begin() as connection:
        assert end_mails(connection, RIDER, consent.unsubscribe_nonce)
        assert not end_mails(connection, RIDER, consent.unsubscribe_nonce)
        assert address_of(connection, RIDER) == (None, "the athlete wants no mails")
        assert consent_of(connection, RIDER) is None
    assert mails(engine) == [("confirmation", "skipped", "the athlete wants no mails")]
    assert confirmed(engine, consent) is Confirmed.VOID


@pytest.mark.parametrize("keep_data", [True, False])
def test_who_is_forgotten_is_asked_nothing_and_no_link_counts(engine: Engine, keep_data: bool) -> None:
    consent = given(engine)
    disconnect_and_erase(engine, RIDER, keep_data=keep_data, actor=Actor.OPERATOR, cause="asked")
    assert [state for _, state, _ in mails(engine)] in (["skipped"], [])
    assert confirmed(engine, consent) is Confirmed.VOID
    with engine.connect() as connection:
        assert consent_of(connection, RIDER) is None


def aged(engine: Engine, age: timedelta) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(email_given_at=func.clock_timestamp() - age))


def test_an_address_that_nobody_confirms_is_erased_after_a_week(engine: Engine) -> None:
    consent = given(engine)
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(OTHER, EVE)))
    aged(engine, CONFIRM_WITHIN - timedelta(minutes=1))
    assert remove_old_records(engine) == {}
    aged(engine, CONFIRM_WITHIN)
    assert confirmed(engine, consent) is Confirmed.VOID
    assert remove_old_records(engine) == {"unconfirmed addresses": 1}
    with engine.connect() as connection:
        assert consent_of(connection, RIDER) is None
        # One that was confirmed stays.
        assert consent_of(connection, OTHER) is not None
    assert mails(engine) == [("confirmation", "skipped", "the address was erased")]


def test_an_address_in_use_is_erased_the_next_time(engine: Engine) -> None:
    given(engine)
    aged(engine, CONFIRM_WITHIN)
    with engine.begin() as busy:
        busy.execute(select(users).with_for_update())
        with engine.begin() as connection:
            assert erase_unconfirmed(connection) == 0
    with engine.begin() as connection:
        assert erase_unconfirmed(connection) == 1


def test_no_row_is_half_a_consent(engine: Engine) -> None:
    for half in ({"email": MIRA}, {"email_confirmed_at": datetime.now(UTC)}, {"unsubscribe_nonce": "x"}):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(update(users).values(half))


def test_who_connects_without_an_address_keeps_the_one_that_is_stored(engine: Engine, keyring: Keyring) -> None:
    store = PostgresTokenStore(engine, keyring)
    grant = TokenGrant(Secret("a"), Secret("r"), datetime.now(UTC) + timedelta(hours=6), {"id": RIDER})
    store.connect(grant, ["read"], email=MIRA)
    assert stored(engine).confirmed_at is None
    confirmed(engine, stored(engine))
    before = stored(engine)
    store.connect(grant, ["read"])
    assert stored(engine) == before
