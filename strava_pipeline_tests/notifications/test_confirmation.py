"""The mail that asks an address's owner: what it says, to whom it goes, how often, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, update

from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.mail_links import is_for, read_confirm_link, read_unsubscribe_link
from strava_pipeline.notifications.outbox import MailResult, send_due
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.mail.consent import (
    CONFIRM_WITHIN,
    Consent,
    confirm_address,
    consent_of,
    end_mails,
    give_address,
)
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails, notifications
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.conftest import ADDRESS
from strava_pipeline_tests.strava_stand_in import RIDER

Stored = Callable[[], Row[Any]]


@pytest.fixture(autouse=True)
def asked(engine: Engine) -> Consent:
    """An address that was just given."""
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
        give_address(connection, RIDER, ADDRESS)
    return consent(engine)


def consent(engine: Engine) -> Consent:
    with engine.connect() as connection:
        found = consent_of(connection, RIDER)
    assert found is not None
    return found


def sent(engine: Engine, settings: Settings) -> list[MailResult]:
    return list(send_due(engine, settings))


def make_due(engine: Engine) -> None:
    with engine.begin() as connection:
        pending = notifications.c.state == "pending"
        connection.execute(update(notifications).where(pending).values(next_try_at=func.clock_timestamp()))


def text_of(server: MailServerStandIn, kind: str = "plain", number: int = 0) -> str:
    part = server.mails[number].get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


def test_the_owner_is_asked_once_by_links_that_are_good(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, keyring: Keyring, asked: Consent
) -> None:
    (outcome,) = sent(engine, mail_settings)
    assert str(outcome) == f"mail that asks athlete {RIDER} for consent: sent"
    assert sent(engine, mail_settings) == []
    assert smtp.recipients == [ADDRESS]
    for kind in ("plain", "html"):
        text = text_of(smtp, kind)
        (confirm,) = re.findall(r"https://bridge\.example\.org/mail/confirm/([\w.-]+)", text)
        link = read_confirm_link(confirm)
        assert link is not None
        assert is_for(link, keyring, asked)
        (end,) = re.findall(r"https://bridge\.example\.org/mail/unsubscribe/([\w.-]+)", text)
        found = read_unsubscribe_link(end, keyring)
        assert found is not None
        assert found.nonce == asked.unsubscribe_nonce
        assert f"athlete {RIDER}" in text
        assert "7 days" in text
    assert re.search(rb"(?m)^List-Unsubscribe: <https://bridge\.example\.org/mail/unsubscribe/[\w.-]+>\r$", smtp.raw[0])
    assert re.search(rb"(?m)^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$", smtp.raw[0])


def test_a_stranger_reads_nothing_that_somebody_else_has_chosen(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(athletes).values(
                id=RIDER,
                firstname="Buy-this",
                lastname="https://evil.example",
                city="evil",
                fetched_at=datetime.now(UTC),
            )
        )
    sent(engine, mail_settings)
    for told in (smtp.raw[0].decode("ascii"), text_of(smtp), text_of(smtp, "html")):
        assert "evil" not in told
        assert "Buy-this" not in told


def test_a_server_that_is_away_is_asked_again_and_the_mail_counts_once(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    smtp.data.append("451 later")
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["pending"]
    make_due(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(confirmation_mails)).scalar_one() == 1


def test_a_process_that_died_between_sending_and_noting_repeats_the_same_mail(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As far as the tables can tell."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("strava_pipeline.warehouse.mail.mail_queue.record_result", die)
        with pytest.raises(Killed):
            sent(engine, mail_settings)
    assert (stored().state, len(smtp.raw)) == ("pending", 1)
    assert sent(engine, mail_settings) == []
    make_due(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]
    first, second = smtp.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert text_of(smtp) == text_of(smtp, number=1)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(confirmation_mails)).scalar_one() == 1


def test_a_mailbox_is_not_flooded_by_other_spellings_of_it(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    for number, spelling in enumerate(("mira", "MIRA", "mi.ra", "mira+1", "m.i.r.a+2")):
        with engine.begin() as connection:
            athlete = {"athlete_id": number, "scopes": [], "state": "active", "generation": 1}
            connection.execute(insert(users).values(athlete))
            give_address(connection, number, f"{spelling}@example.org")
    outcomes = sent(engine, mail_settings)
    assert [outcome.state for outcome in outcomes] == ["sent"] * 3 + ["pending"] * 3
    assert outcomes[3].reason == "3 mails that ask this address for confirmation were sent within a day"
    assert len(smtp.raw) == 3


def test_changing_addresses_does_not_lift_an_athletes_limit(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    for number in range(9):
        with engine.begin() as connection:
            give_address(connection, RIDER, f"stranger-{number}@{number}.example.org")
        sent(engine, mail_settings)
        # Neither does leaving and coming back.
        disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.ATHLETE, cause="left")
    assert len(smtp.raw) == 5


def confirms(engine: Engine) -> None:
    with engine.begin() as connection:
        confirm_address(connection, consent(engine))


def ends(engine: Engine) -> None:
    with engine.begin() as connection:
        end_mails(connection, RIDER, consent(engine).unsubscribe_nonce)


def changes(engine: Engine) -> None:
    with engine.begin() as connection:
        give_address(connection, RIDER, "other@example.org")


@pytest.mark.parametrize(("meanwhile", "recipients"), [(confirms, []), (ends, []), (changes, ["other@example.org"])])
def test_what_happens_before_it_is_sent_counts(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    meanwhile: Callable[[Engine], None],
    recipients: list[str],
) -> None:
    meanwhile(engine)
    sent(engine, mail_settings)
    assert smtp.recipients == recipients


def test_without_a_mail_server_the_question_waits_for_one_for_a_week(
    engine: Engine, settings: Settings, stored: Stored, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    (outcome,) = sent(engine, settings)
    assert (outcome.state, outcome.reason) == ("pending", "mail is off: STRAVA_SMTP_URL is not set")
    make_due(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]
    assert stored().state == "sent"


def test_a_question_that_could_not_be_put_for_a_week_is_given_up(
    engine: Engine, settings: Settings, stored: Stored
) -> None:
    with engine.begin() as connection:
        created = func.clock_timestamp() - CONFIRM_WITHIN + timedelta(seconds=30)
        connection.execute(update(notifications).values(created_at=created))
    sent(engine, settings)
    assert (stored().state, stored().attempts) == ("failed", 1)
    assert stored().reason.startswith("given up after 1 tries: mail is off")


def test_a_refused_mailbox_is_final_and_its_words_are_printable(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, stored: Stored
) -> None:
    smtp.rcpt.append(f"550 no \x1b[31m{ADDRESS.upper()} here " + "x" * 400)
    sent(engine, mail_settings)
    assert stored().state == "failed"
    assert stored().reason.isprintable()
    assert len(stored().reason) < 400
    assert ADDRESS not in stored().reason.lower()
