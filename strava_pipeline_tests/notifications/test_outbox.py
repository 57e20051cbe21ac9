"""Mails from the tables to a real mail server: what they say, who gets none, and what becomes of those that fail."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, Row, delete, insert, update

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.mail_links import UnsubscribeLink, read_unsubscribe_link
from strava_pipeline.notifications.outbox import MailResult, open_outbox, send_due
from strava_pipeline.notifications.sender import check_sender, sender_of
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.mail.consent import NOTHING, end_mails
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.conftest import ADDRESS
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava_stand_in import RIDER
from webhook_bridge.app import check_settings

RIDE = 7
Add = Callable[..., None]
Stored = Callable[[], Row[Any]]
MOST_BYTES = 100_000


def sent(engine: Engine, settings: Settings) -> list[MailResult]:
    return list(send_due(engine, settings))


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    text: str = part.get_content()
    return text


class Words(HTMLParser):
    """The words of a page that people see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(" ".join(data.split()))


def words(html: str) -> str:
    parser = Words()
    parser.feed(html)
    return " ".join(filter(None, parser.seen))


@pytest.fixture
def ride(add_ride: Add, announce_ride: Add) -> None:
    """A ride after six others, one a day, and a mail about it that is due."""
    for number in range(1, RIDE):
        add_ride(number, days_ago=RIDE - number, average_speed=7.0)
    add_ride(RIDE, name="Evening loop", sport_type="GravelRide", watts=250)
    announce_ride(RIDE)


@pytest.mark.usefixtures("ride")
def test_a_mail_tells_all_there_is_to_tell(engine: Engine, mail_settings: Settings, smtp: MailServerStandIn) -> None:
    (outcome,) = sent(engine, mail_settings)
    assert str(outcome) == "mail about activity 7: sent"
    (mail,) = smtp.mails
    assert smtp.recipients == [ADDRESS]
    assert mail["Subject"] == "Evening loop: 24.0 km, 50:07"
    text = body(mail, "plain")
    for line in (
        "Well done, Mira!",
        "Evening loop",
        "Gravel ride, ",
        "Distance:            24.0 km (usual: 24.0 km; as usual)",
        "Average speed:       28.8 km/h (usual: 25.2 km/h; 14 % faster)",
        "Average heart rate:  140 bpm",
        "Average power:       200 W",
        "Usual is the median of your last 6 activities of this sport.",
        "7 times on this route",
        "* Best power over 20 min: ",
        "Climbs",
        "up over",
        "Load of the last 7 days:",
        "Fitness:",
        "View on Strava: https://www.strava.com/activities/7",
    ):
        assert line in text
    # Whatever the text says, the page says as well, but for its own words.
    page = words(body(mail, "html"))
    for told in (
        "Mira",
        "Evening loop",
        "24.0 km",
        "28.8 km/h",
        "14 % faster",
        "7 times on this route",
        "View on Strava",
    ):
        assert told in page


@pytest.mark.usefixtures("ride")
def test_a_ride_that_strava_does_not_know_has_no_link_there(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    with engine.begin() as connection:
        # As a file of a device leaves it.
        connection.execute(update(activities).where(activities.c.id == RIDE).values(id=-RIDE))
        connection.execute(update(notifications).values(activity_id=-RIDE))
    assert [str(outcome) for outcome in sent(engine, mail_settings)] == ["mail about activity -7: sent"]
    (mail,) = smtp.mails
    assert mail["Message-ID"] == "<ride--7@example.org>"
    for kind in ("plain", "html"):
        assert "24.0 km" in body(mail, kind)
        assert "on Strava" not in body(mail, kind)
        assert "strava.com" not in body(mail, kind)


@pytest.mark.usefixtures("ride")
def test_pictures_are_inside_and_each_is_shown_once(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    sent(engine, mail_settings)
    (mail,) = smtp.mails
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        *["image/png"] * 4,
    ]
    html = body(mail, "html")
    shown = re.findall(r'src="([^"]*)"', html)
    images = {f"cid:{part['Content-ID'].strip('<>')}": part for part in mail.walk() if part["Content-ID"]}
    assert sorted(shown) == sorted(images)
    assert len(images) == 4
    for part in images.values():
        data = part.get_content()
        assert len(data) < MOST_BYTES
        Image.open(io.BytesIO(data)).verify()
    assert html.count("alt=") == 4
    # Nothing is fetched from anywhere: whoever opens the mail is not told on.
    assert set(re.findall(r'(?:src|href)="(https?://[^/"]+)', html)) == {
        "https://www.strava.com",
        "https://bridge.example.org",
    }


@pytest.mark.usefixtures("ride")
def test_a_mail_is_whole_without_the_libraries_that_draw(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    sent(engine, mail_settings)
    (mail,) = smtp.mails
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    html = body(mail, "html")
    assert "<img" not in html
    assert "Route</" not in html
    assert "24.0 km" in words(html)


@pytest.mark.usefixtures("ride")
def test_the_headers_fit_any_mail_program(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, keyring: Keyring
) -> None:
    sent(engine, mail_settings)
    (mail,), (raw,) = smtp.mails, smtp.raw
    assert mail["Message-ID"] == "<ride-7@example.org>"
    assert (mail["From"], mail["To"]) == ("Rides <rides@example.org>", ADDRESS)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://bridge.example.org/mail/unsubscribe/")
    token = read_unsubscribe_link(link.rpartition("/")[2], keyring)
    assert token == UnsubscribeLink(RIDER, f"unsubscribe-{RIDER}")
    assert link in body(mail, "plain")
    assert link in body(mail, "html")
    raw.decode("ascii")
    assert max(len(line) for line in raw.splitlines()) <= 998
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Morning\r\nBcc: everybody@example.org", "Morning Bcc: everybody@example.org"),
        ("tabs\tand\x00nulls", "tabs andnulls"),
        ("\u202egnp.exe", "gnp.exe"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\U0001f6b4\u200d\u2640\ufe0f up the hill", "\U0001f6b4\u200d\u2640\ufe0f up the hill"),
        ("\u0634\u0631\u0648\u0642 (1)", "\u2068\u0634\u0631\u0648\u0642 (1)\u2069"),
        ("x" * 500, "x" * 47 + "\u2026"),
        ("   ", "Untitled"),
        ("=?utf-8?q?encoded?=", "=?utf-8?q?encoded?="),
        ("{{ summary }} %s", "{{ summary }} %s"),
    ],
)
def test_no_name_harms_a_mail(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    name: str,
    title: str,
) -> None:
    add_ride(RIDE)
    with engine.begin() as connection:
        # Postgres itself takes no NUL.
        connection.execute(update(activities).values(name=name.replace("\x00", "\x01")))
    announce_ride(RIDE)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]
    (mail,), (raw,) = smtp.mails, smtp.raw
    assert mail["Subject"] == f"{title}: 24.0 km, 50:07"
    assert smtp.recipients == [ADDRESS]
    assert mail["Bcc"] is None
    html = body(mail, "html")
    assert "<script" not in html
    assert (b"\n" + raw).count(b"\nSubject:") == 1


def test_the_athletes_units(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, add_ride: Add, announce_ride: Add
) -> None:
    add_ride(RIDE, sport_type="Run", type="Run")
    with engine.begin() as connection:
        connection.execute(update(athletes).values(measurement_preference="feet"))
    announce_ride(RIDE)
    sent(engine, mail_settings)
    text = body(smtp.mails[0], "plain")
    for line in ("14.9 mi", "1,969 ft", "3:21 /mi"):
        assert line in text
    assert " km" not in text


def test_a_first_activity_entered_by_hand_needs_no_pictures(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, announce_ride: Add, rider: None
) -> None:
    row = {
        "id": RIDE,
        "athlete_id": RIDER,
        "resource_state": 3,
        "name": "Yoga",
        "type": "Yoga",
        "sport_type": "Yoga",
        "start_date": datetime.now(UTC),
        "fetched_at": datetime.now(UTC),
    }
    with engine.begin() as connection:
        connection.execute(insert(activities).values(row))
    announce_ride(RIDE)
    sent(engine, mail_settings)
    (mail,) = smtp.mails
    assert mail["Subject"] == "Yoga"
    assert "Well done!" in body(mail, "plain")
    assert "usual" not in body(mail, "plain").lower()
    assert not [part for part in mail.walk() if part["Content-ID"] and part["Content-ID"].startswith("<route")]


def unsubscribed(engine: Engine) -> None:
    with engine.begin() as connection:
        assert end_mails(connection, RIDER, f"unsubscribe-{RIDER}")


def without_address(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(NOTHING))


def unconfirmed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(email_confirmed_at=None))


def gone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(delete(activities))


def long_over(engine: Engine) -> None:
    with engine.begin() as connection:
        start = datetime.now(UTC) - timedelta(days=1, hours=2)
        connection.execute(update(activities).where(activities.c.id == RIDE).values(start_date=start))


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (unsubscribed, "the athlete wants no mails"),
        (without_address, "the athlete has no address"),
        (unconfirmed, "the address is not confirmed"),
        (gone, "the activity is gone"),
        (long_over, "the activity ended more than 24 h ago"),
    ],
)
def test_nobody_gets_a_mail_that_is_not_wanted(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    stored: Stored,
    prepare: Callable[[Engine], None],
    reason: str,
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    prepare(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["skipped"]
    assert (stored().state, stored().reason) == ("skipped", reason)
    assert smtp.mails == []


def test_an_athlete_who_was_forgotten_leaves_no_row(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, add_ride: Add, announce_ride: Add
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="asked")
    assert sent(engine, mail_settings) == []
    assert smtp.mails == []


def test_without_a_mail_server_mails_are_off(
    engine: Engine, settings: Settings, add_ride: Add, announce_ride: Add, stored: Stored
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    sent(engine, settings)
    assert (stored().state, stored().reason) == ("skipped", "mail is off: STRAVA_SMTP_URL is not set")


@pytest.mark.parametrize("name", ["STRAVA_MAIL_FROM", "STRAVA_BRIDGE_PUBLIC_URL"])
def test_a_setting_that_is_missing_can_be_mended_in_time(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    monkeypatch.delenv(name)
    (outcome,) = sent(engine, load_settings())
    assert (outcome.state, stored().attempts) == ("pending", 1)
    assert stored().reason.startswith(f"{name} is not set")
    make_due(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]


def make_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(notifications).values(next_try_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_a_server_that_is_away_is_tried_again(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    sent(engine, load_settings())
    assert (stored().state, stored().attempts) == ("pending", 1)
    assert "Connection refused" in stored().reason
    # Not due yet: nothing happens.
    assert sent(engine, mail_settings) == []
    make_due(engine)
    assert [outcome.state for outcome in sent(engine, mail_settings)] == ["sent"]
    assert (stored().state, stored().attempts, stored().reason, len(smtp.mails)) == ("sent", 2, None, 1)


@pytest.mark.parametrize(("answer", "state"), [("550 no such user {}", "failed"), ("450 {} is full", "pending")])
def test_a_refused_recipient_is_final_or_not(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    stored: Stored,
    answer: str,
    state: str,
) -> None:
    add_ride(RIDE)
    announce_ride(RIDE)
    smtp.rcpt.append(answer)
    sent(engine, mail_settings)
    assert stored().state == state
    assert answer[:3] in stored().reason
    assert ADDRESS not in stored().reason


@pytest.mark.usefixtures("ride")
def test_two_senders_at_once_send_one_mail(engine: Engine, mail_settings: Settings, smtp: MailServerStandIn) -> None:
    outcomes: list[MailResult] = []
    threads = [threading.Thread(target=lambda: outcomes.extend(sent(engine, mail_settings))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert [outcome.state for outcome in outcomes] == ["sent"]
    assert len(smtp.mails) == 1


@pytest.mark.parametrize("text", [
    "", "rides", "a@b, c@d", "Ri\nBcc: x@y <a@b>", "<@b.org>", "R <r\u00ef@b.org>", "R <r@b\u00fccher.org>",
    "=?utf-8?q?a=0D=0ABcc:_x@y?= <r@b.org>", "=?utf-8?q?a=E2=80=AEb?= <r@b.org>", "a\u202eb <r@b.org>",
    "=?utf-8?q?a=00b?= <r@b.org>", "=?nothing?q?a?= <r@b.org>", "a\ud800 <r@b.org>", "x" * 951 + " <r@b.org>",
    "R <" + "r" * 951 + "@b.org>", '"=?utf-8?q?J=C3=B6rg?=" <r@b.org>',
])  # fmt: skip
def test_a_sender_that_no_header_can_hold_is_told_before_any_mail(mail_settings: Settings, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_MAIL_FROM is not usable"):
        sender_of(text)
    wrong = mail_settings.model_copy(update={"mail_from": text})
    for check in (check_sender, check_settings, open_outbox):
        with pytest.raises(ConfigurationError, match=r"^STRAVA_MAIL_FROM is not usable"):
            check(wrong)
    # Without a mail server nobody asks.
    check_sender(wrong.model_copy(update={"smtp_url": None}))


@pytest.mark.parametrize("host", ["b\u00fccher.example.org", f"example.org/{'p' * 700}", "example.org/> <x"])
def test_an_address_of_the_bridge_that_no_header_holds_is_told(
    mail_settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", f"https://{host}")
    with pytest.raises(ConfigurationError, match=r"^STRAVA_BRIDGE_PUBLIC_URL does not fit into a mail's header"):
        open_outbox(load_settings())


@pytest.mark.parametrize("address", ["rides@localhost", "rides@nas.local", "rides@home", '"my rides"@example.org'])
def test_a_sender_is_at_whichever_host_the_mail_server_knows(address: str) -> None:
    assert sender_of(f"Rides <{address}>").addr_spec == address


def test_a_sender_with_and_without_a_name(mail_settings: Settings) -> None:
    assert sender_of("rides@example.org").addr_spec == "rides@example.org"
    outbox = open_outbox(mail_settings)
    assert outbox is not None
    assert (outbox.sender.display_name, outbox.sender.domain) == ("Rides", "example.org")
