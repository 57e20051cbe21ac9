"""The outbox of alerts, sent by bridges: together, once, on each way apart, and again where one fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, text, update

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.watch import alert_outbox
from strava_pipeline.warehouse.watch.alert_outbox import COLLECTED, WAITS, claim_messages
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge import alert_sending
from webhook_bridge.alert_sending import AlertSender

AGO = timedelta(minutes=1)


@pytest.fixture
def smtp() -> Iterator[MailServerStandIn]:
    with mail_server() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def by_mail(settings: Settings, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", smtp.url)
    monkeypatch.setenv("STRAVA_MAIL_FROM", "watch@example.org")
    monkeypatch.setenv("STRAVA_ALERT_TO", "mira@example.org")


@pytest.fixture
def by_push(settings: Settings, receiver: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_ALERT_URLS", f"json://127.0.0.1:{receiver.port}/a1 json://127.0.0.1:{receiver.port}/b2")


def add(engine: Engine, *subjects: str, ago: timedelta = AGO) -> None:
    with engine.begin() as connection:
        for subject in subjects:
            connection.execute(
                insert(alert_messages).values(
                    made_at=func.clock_timestamp() - ago,
                    change="fired",
                    rule="strava_away",
                    severity="critical",
                    athlete_ids=[],
                    subject=subject,
                    body="why",
                    mail_state="pending",
                    push_state="pending",
                )
            )


def stored(engine: Engine) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(alert_messages).order_by(alert_messages.c.id)))


def states(engine: Engine) -> list[tuple[str, str, bool]]:
    return [(row.mail_state, row.push_state, row.finished_at is not None) for row in stored(engine)]


def make_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(alert_messages).values(next_try_at=func.clock_timestamp() - AGO))


def send(engine: Engine) -> int:
    return sender_of(engine).send_due()


def sender_of(engine: Engine) -> AlertSender:
    settings = load_settings()
    return AlertSender(settings, engine, AlertChannels.from_settings(settings))


def send_and_die_before(engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def die(*_: object) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(alert_sending, step, die)
        with pytest.raises(KeyboardInterrupt):
            send(engine)


@pytest.mark.usefixtures("by_mail", "by_push")
def test_what_fires_together_shares_one_digest_on_each_way(
    engine: Engine, smtp: MailServerStandIn, receiver: Loopback
) -> None:
    add(engine, "first", "second")
    # Just made, and due by the first one's time.
    add(engine, "third", ago=timedelta())
    assert send(engine) == 3
    assert [mail["Subject"] for mail in smtp.mails] == ["first (and 2 more)"]
    assert [asked.path for asked in receiver.asked] == ["/a1", "/b2"]
    assert states(engine) == [("sent", "sent", True)] * 3
    assert send(engine) == 0


@pytest.mark.usefixtures("by_mail")
def test_a_message_waits_a_moment_for_others(engine: Engine, smtp: MailServerStandIn) -> None:
    add(engine, "first", ago=timedelta())
    assert send(engine) == 0
    with engine.begin() as connection:
        connection.execute(update(alert_messages).values(made_at=func.clock_timestamp() - COLLECTED))
    assert send(engine) == 1


@pytest.mark.usefixtures("by_mail")
def test_a_way_that_is_not_set_up_is_skipped(engine: Engine) -> None:
    add(engine, "first")
    send(engine)
    assert states(engine) == [("sent", "skipped", True)]


def test_without_any_way_nothing_stays_open(engine: Engine, settings: Settings) -> None:
    add(engine, "first")
    send(engine)
    assert states(engine) == [("skipped", "skipped", True)]


@pytest.mark.usefixtures("by_mail", "by_push")
def test_mails_that_fail_are_told_by_push_and_only_the_mail_is_tried_again(
    engine: Engine, smtp: MailServerStandIn, receiver: Loopback
) -> None:
    smtp.data.append("451 later")
    add(engine, "mails are failing")
    send(engine)
    assert states(engine) == [("pending", "sent", False)]
    (row,) = stored(engine)
    assert "451 later" in row.mail_error
    assert timedelta(0) < row.next_try_at - row.made_at - AGO < WAITS[0] + timedelta(seconds=20)
    assert send(engine) == 0
    make_due(engine)
    send(engine)
    assert states(engine) == [("sent", "sent", True)]
    assert (len(smtp.mails), len(receiver.asked)) == (1, 2)


@pytest.mark.usefixtures("by_mail", "by_push")
def test_the_service_that_has_a_message_gets_it_once(
    engine: Engine, smtp: MailServerStandIn, receiver: Loopback
) -> None:
    receiver.answer = lambda asked: reply({}, 500 if asked.path == "/b2" else 200)
    add(engine, "first")
    send(engine)
    assert states(engine) == [("sent", "pending", False)]
    receiver.answers(reply({}))
    add(engine, "second")
    make_due(engine)
    send(engine)
    assert states(engine) == [("sent", "sent", True)] * 2
    # The second is new to both; the first to one of them only.
    assert [asked.path for asked in receiver.asked] == ["/a1", "/b2", "/a1", "/b2", "/b2"]
    assert len(smtp.mails) == 2


@pytest.mark.usefixtures("by_push")
def test_no_table_holds_an_address_of_a_service(
    engine: Engine, receiver: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "k3y-of-a-service"
    monkeypatch.setenv("STRAVA_ALERT_URLS", f"json://127.0.0.1:{receiver.port}/{key} json://127.0.0.1:1/{key}")
    add(engine, "first")
    send(engine)
    assert states(engine) == [("skipped", "pending", False)]
    (row,) = stored(engine)
    assert row.push_error.startswith("address 2 of STRAVA_ALERT_URLS: ")
    assert key not in str(row)
    assert [len(name) for name in row.pushed_to] == [4]


@pytest.mark.usefixtures("by_mail")
def test_what_fails_for_a_day_is_given_up(engine: Engine, smtp: MailServerStandIn) -> None:
    smtp.data += ["451 later"] * 2
    add(engine, "first", ago=timedelta(hours=20))
    send(engine)
    assert states(engine) == [("pending", "skipped", False)]
    with engine.begin() as connection:
        connection.execute(update(alert_messages).values(made_at=func.clock_timestamp() - timedelta(days=1)))
    make_due(engine)
    send(engine)
    assert states(engine) == [("failed", "skipped", True)]
    assert stored(engine)[0].mail_error.startswith("given up after 2 tries: ")


@pytest.mark.usefixtures("by_mail")
def test_a_mail_that_is_refused_for_good_is_not_tried_again(engine: Engine, smtp: MailServerStandIn) -> None:
    smtp.data.append("554 spam")
    add(engine, "first")
    send(engine)
    assert states(engine) == [("failed", "skipped", True)]


@pytest.mark.usefixtures("by_mail")
def test_bridges_at_once_send_one_mail(engine: Engine, smtp: MailServerStandIn) -> None:
    add(engine, *(f"message {number}" for number in range(5)))
    threads = [threading.Thread(target=send, args=(engine,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(smtp.mails) == 1
    assert states(engine) == [("sent", "skipped", True)] * 5


@pytest.mark.usefixtures("by_mail", "by_push")
def test_a_bridge_that_dies_between_two_ways_repeats_no_way_that_is_recorded(
    engine: Engine, smtp: MailServerStandIn, receiver: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(engine, "first")
    send_and_die_before(engine, monkeypatch, "record_push")
    assert states(engine) == [("sent", "pending", False)]
    # Nobody has it while the lease lasts; then the push goes out once more, since nobody knows that it did.
    assert send(engine) == 0
    make_due(engine)
    assert send(engine) == 1
    assert (len(smtp.mails), len(receiver.asked)) == (1, 4)


@pytest.mark.usefixtures("by_mail")
def test_a_mail_that_goes_out_twice_has_one_id(
    engine: Engine, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(engine, "first")
    send_and_die_before(engine, monkeypatch, "record_mail")
    make_due(engine)
    send(engine)
    first, second = smtp.mails
    assert first["Message-ID"] == second["Message-ID"]


@pytest.mark.usefixtures("by_mail")
def test_a_late_bridge_does_not_undo_what_another_recorded(engine: Engine) -> None:
    add(engine, "first")
    late = claim_messages(engine)
    make_due(engine)
    send(engine)
    alert_outbox.postpone(engine, late)
    assert states(engine) == [("sent", "skipped", True)]


@pytest.mark.usefixtures("by_mail")
def test_a_claim_of_before_the_clock_was_set_back_is_taken_again(engine: Engine, owner_engine: Engine) -> None:
    add(engine, "first")
    assert len(claim_messages(engine)) == 1
    with engine.begin() as connection:
        far = func.clock_timestamp() + timedelta(days=2)
        connection.execute(update(alert_messages).values(next_try_at=far))
    assert len(claim_messages(engine)) == 1


@pytest.mark.usefixtures("by_mail")
def test_the_thread_sends_and_waits_for_a_database_that_is_away(
    engine: Engine, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_sending, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(alert_sending, "AFTER_ERROR_SECONDS", 0.01)
    away = [DatabaseUnavailable("away"), ValueError("a fault of ours")]

    def claim(engine: Engine) -> Any:
        if away:
            raise away.pop()
        return claim_messages(engine)

    monkeypatch.setattr(alert_sending, "claim_messages", claim)
    add(engine, "first")
    sender = sender_of(engine)
    sender.start()
    eventually(lambda: smtp.mails, "a mail")
    sender.stop()
    assert sender.errors == 2
    assert not sender.has_ended


@pytest.mark.usefixtures("by_mail")
def test_a_look_at_an_empty_outbox_reads_no_table_as_a_whole(engine: Engine) -> None:
    add(engine, *(f"{number}" for number in range(60)))
    with engine.begin() as connection:
        connection.execute(
            update(alert_messages).values(
                mail_state="sent", push_state="skipped", finished_at=func.clock_timestamp(), next_try_at=None
            )
        )
        connection.execute(text("SET LOCAL enable_seqscan = off"))
    assert claim_messages(engine) == []


@pytest.mark.usefixtures("by_mail", "by_push")
@pytest.mark.parametrize(("step", "pushes"), [("record_mail", 2), ("record_push", 4)])
def test_a_database_that_goes_away_while_a_message_is_sent_lets_nothing_go_out_twice(
    engine: Engine,
    smtp: MailServerStandIn,
    receiver: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    pushes: int,
) -> None:
    faults, record = [DatabaseUnavailable("away")], getattr(alert_sending, step)

    def be_away_once(*args: Any) -> None:
        if faults:
            raise faults.pop()
        record(*args)

    monkeypatch.setattr(alert_sending, step, be_away_once)
    sender = sender_of(engine)
    add(engine, "first")
    with pytest.raises(DatabaseUnavailable):
        sender.send_due()
    make_due(engine)
    add(engine, "second")
    sender.send_due()
    assert [mail["Subject"] for mail in smtp.mails] == ["first", "second"]
    assert len(receiver.asked) == pushes
    # Once to each of two services.
    assert sum(b"first" in asked.body for asked in receiver.asked) == 2
    assert set(states(engine)) == {("sent", "sent", True)}
