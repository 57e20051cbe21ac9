"""Nobody can have a stranger flooded: mails that ask are counted by mailbox, by athlete, and over all."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.warehouse.mail.confirmation_limits import Ask, delete_counted, refusal_reason
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails
from strava_pipeline_tests.eventually import PATIENCE_SECONDS


def counted(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(confirmation_mails)).scalar_one()


def later(engine: Engine, span: timedelta) -> None:
    """So much time goes by."""
    with engine.begin() as connection:
        connection.execute(update(confirmation_mails).values(began_at=confirmation_mails.c.began_at - span))


def test_a_mailbox_is_asked_three_times_a_day_whoever_wants_it(engine: Engine) -> None:
    for number in range(3):
        assert refusal_reason(engine, Ask(number, number, "mira")) == ""
    reason = "3 mails that ask this address for confirmation were sent within a day"
    assert refusal_reason(engine, Ask(3, 3, "mira")) == reason
    assert refusal_reason(engine, Ask(4, 3, "eve")) == ""
    later(engine, timedelta(days=1))
    assert refusal_reason(engine, Ask(3, 3, "mira")) == ""


def test_a_mailbox_is_asked_six_times_in_thirty_days(engine: Engine) -> None:
    for number in range(6):
        assert refusal_reason(engine, Ask(number, number, "mira")) == ""
        later(engine, timedelta(days=1))
    reason = "6 mails that ask this address for confirmation were sent within thirty days"
    assert refusal_reason(engine, Ask(6, 6, "mira")) == reason


def test_one_athlete_has_five_addresses_asked_a_day(engine: Engine) -> None:
    for number in range(5):
        assert refusal_reason(engine, Ask(number, 7, f"mailbox {number}")) == ""
    assert "this athlete" in refusal_reason(engine, Ask(5, 7, "mailbox 5"))
    assert refusal_reason(engine, Ask(5, 8, "mailbox 5")) == ""


def test_thirty_addresses_are_asked_an_hour(engine: Engine) -> None:
    for number in range(30):
        assert refusal_reason(engine, Ask(number, number, f"mailbox {number}")) == ""
    assert "all addresses" in refusal_reason(engine, Ask(30, 30, "mailbox 30"))
    later(engine, timedelta(hours=1))
    assert refusal_reason(engine, Ask(30, 30, "mailbox 30")) == ""


def test_a_mail_counts_once_however_often_it_is_tried(engine: Engine) -> None:
    for _ in range(9):
        assert refusal_reason(engine, Ask(1, 1, "mira")) == ""
    assert counted(engine) == 1


def test_two_at_once_do_not_both_take_the_last_place(engine: Engine) -> None:
    for number in range(2):
        refusal_reason(engine, Ask(number, number, "mira"))
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: told.append(refusal_reason(engine, Ask(number, number, "mira"))))
        for number in range(2, 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(told) == 6
    assert told.count("") == 1


@pytest.mark.parametrize(("age", "left"), [(timedelta(days=29), 1), (timedelta(days=31), 0)])
def test_what_no_limit_counts_any_more_is_forgotten(engine: Engine, age: timedelta, left: int) -> None:
    refusal_reason(engine, Ask(1, 1, "mira"))
    later(engine, age)
    with engine.begin() as connection:
        delete_counted(connection)
    assert counted(engine) == left
