"""Sessions of the operator end where they are kept."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.warehouse.access import operator_sessions as sessions
from strava_pipeline.warehouse.schema.access_tables import operator_sessions

PROOF = "proof"


def test_a_session_is_open_until_it_is_ended(engine: Engine) -> None:
    with engine.begin() as connection:
        secret = sessions.open_session(connection, PROOF)
        another = sessions.open_session(connection, PROOF)
        assert sessions.is_open(connection, secret, PROOF)
        sessions.end_session(connection, secret)
        assert not sessions.is_open(connection, secret, PROOF)
        assert sessions.is_open(connection, another, PROOF)


def test_a_session_ends_after_its_time_and_is_cleared_away(engine: Engine) -> None:
    with engine.begin() as connection:
        secret = sessions.open_session(connection, PROOF)
        connection.execute(update(operator_sessions).values(expires_at=func.clock_timestamp()))
        assert not sessions.is_open(connection, secret, PROOF)
        sessions.open_session(connection, PROOF)
        assert connection.execute(select(func.count()).select_from(operator_sessions)).scalar_one() == 1


def test_another_token_or_other_settings_know_no_session(engine: Engine) -> None:
    with engine.begin() as connection:
        secret = sessions.open_session(connection, PROOF)
        assert not sessions.is_open(connection, secret, "another")
        assert sessions.end_sessions_of_others(connection, "another") == 1
        assert not sessions.is_open(connection, secret, PROOF)


def test_a_link_signs_in_once(engine: Engine) -> None:
    with engine.begin() as connection:
        link = sessions.new_sign_in_link(connection, PROOF)
        assert not sessions.is_open(connection, link, PROOF)
        assert not sessions.redeem_sign_in_link(connection, link, "another")
        assert sessions.redeem_sign_in_link(connection, link, PROOF)
        assert not sessions.redeem_sign_in_link(connection, link, PROOF)


def test_a_link_ends_after_its_time(engine: Engine) -> None:
    with engine.begin() as connection:
        link = sessions.new_sign_in_link(connection, PROOF)
        connection.execute(update(operator_sessions).values(expires_at=func.clock_timestamp()))
        assert not sessions.redeem_sign_in_link(connection, link, PROOF)


@pytest.mark.parametrize("secret", ["", "x", "\x00", "\udc80", "é" * 5000])
def test_what_was_made_up_opens_nothing(engine: Engine, secret: str) -> None:
    with engine.begin() as connection:
        sessions.open_session(connection, PROOF)
        assert not sessions.is_open(connection, secret, PROOF)
        assert not sessions.redeem_sign_in_link(connection, secret, PROOF)


def test_who_reads_the_table_is_logged_in_nowhere(engine: Engine) -> None:
    with engine.begin() as connection:
        secret = sessions.open_session(connection, PROOF)
        row = connection.execute(select(operator_sessions)).one()
        assert secret not in str(row)
        assert not sessions.is_open(connection, row.secret_hash, PROOF)
