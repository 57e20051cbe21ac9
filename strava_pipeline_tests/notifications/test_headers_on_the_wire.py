"""Headers, byte by byte as a real mail server got them: nothing here is decoded before it is looked at."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy, default
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, update

from strava_pipeline.notifications.headers import POLICY
from strava_pipeline.notifications.outbox import send_due
from strava_pipeline.notifications.smtp import parse_smtp_url, send
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.conftest import ADDRESS
from strava_pipeline_tests.strava_stand_in import RIDER

RIDE = 7
Add = Callable[..., None]
LABEL = "b" * 63
# 253 characters, the most that a name in DNS may have.
LONGEST_HOST = f"{LABEL}.{LABEL}.{LABEL}.{'b' * 57}.org"
HOSTS = ["bridge.example.org", f"{'b' * 40}.example.org", LONGEST_HOST]
ENCODED_WORD = re.compile(rb"=\?utf-8\?([bq])\?([!->@-~]*)\?=")


def head(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[0] + b"\r\n"


def field(raw: bytes, name: str) -> bytes:
    """The one header of this name, unfolded by RFC 5322's rule alone: line ends before white space go."""
    found = re.findall(rb"(?mi)^" + name.encode() + rb": ?((?:[^\r]|\r\n[ \t])*)\r\n", head(raw))
    assert len(found) == 1, (name, found)
    return bytes(re.sub(rb"\r\n([ \t])", rb"\1", found[0]))


def check_lines(raw: bytes) -> None:
    """Every line of the mail is ASCII within the limit, and none of its headers is white space alone."""
    raw.decode("ascii")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert all(line.strip() for line in head(raw).split(b"\r\n")[:-1])


def words(header: bytes) -> str:
    """Encoded words to text, by RFC 2047 itself."""
    pieces = header.split(b" ")
    if not any(piece.startswith(b"=?") for piece in pieces):
        return header.decode("ascii")
    told = b""
    for piece in pieces:
        found = ENCODED_WORD.fullmatch(piece)
        assert found is not None, header
        assert len(piece) <= 75
        kind, text = found.groups()
        word = base64.b64decode(text, validate=True) if kind == b"b" else quopri.decodestring(text, header=True)
        word.decode()  # no character is cut in two
        told += word
    return told.decode()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["", "/a-long-path/" + "p" * 120])
def test_a_mail_program_finds_the_link_that_ends_the_mails_however_long_it_is(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    path: str,
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", f"https://{host}{path}")
    add_ride(RIDE)
    announce_ride(RIDE)
    assert [outcome.state for outcome in send_due(engine, load_settings())] == ["sent"]
    (raw,) = smtp.raw
    check_lines(raw)
    link = rf"https://{re.escape(host)}{path}/mail/unsubscribe/[A-Za-z0-9_.-]+"
    assert re.fullmatch(f"<{link}>".encode(), field(raw, "List-Unsubscribe"))
    assert field(raw, "List-Unsubscribe-Post") == b"List-Unsubscribe=One-Click"
    # On the header's own line: some programs look no further.
    assert re.search(rf"(?m)^List-Unsubscribe: <{link}>\r$".encode(), head(raw))


@pytest.mark.parametrize("host", ["example.org", LONGEST_HOST[:-4].rpartition(".")[0] + ".org"])
def test_no_identifier_or_address_is_encoded_or_cut(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    sender = f"{'r' * 50}@{host}"
    recipient = f"{'m' * 54}@{LABEL}.{LABEL}.{LABEL}.org"
    monkeypatch.setenv("STRAVA_MAIL_FROM", f'"Rides, of a (very) \\"long\\" name{" and more" * 12}" <{sender}>')
    with engine.begin() as connection:
        connection.execute(update(users).values(email=recipient))
    add_ride(RIDE)
    announce_ride(RIDE)
    assert [outcome.state for outcome in send_due(engine, load_settings())] == ["sent"]
    (raw,) = smtp.raw
    check_lines(raw)
    assert field(raw, "Message-ID") == f"<ride-7@{host}>".encode()
    assert field(raw, "To") == recipient.encode()
    name = rb'"Rides, of a (very) \"long\" name' + b" and more" * 12 + b'"'
    assert field(raw, "From") == name + b" <" + sender.encode() + b">"
    assert smtp.recipients == [recipient]
    # Pictures are found by their ids, in the parts' headers and in the page.
    ids = re.findall(rb"(?m)^Content-ID: <([^<>\r]*)>\r$", raw)
    assert ids
    assert {entry.partition(b".")[2] for entry in ids} == {f"ride-7@{host}".encode()}
    html = smtp.mails[0].get_body(("html",))
    assert html is not None
    assert all(f"cid:{entry.decode()}" in html.get_content() for entry in ids)


NAMES = [
    ("=?utf-8?q?J=C3=B6rg?=", "J\u00f6rg"),
    ("J\u00f6rg", "J\u00f6rg"),
    ("=?iso-8859-1?q?J=F6rg?= =?utf-8?b?IMOkIMO2?=", "J\u00f6rg \u00e4 \u00f6"),
    ("=?utf-8?q?J=C3=B6?= =?utf-8?q?rg?=", "J\u00f6rg"),
    ('"J\u00f6rg, S. (x) \\"y\\" <z@y.org>"', 'J\u00f6rg, S. (x) "y" <z@y.org>'),
    ("\u0634\u0631\u0648\u0642", "\u0634\u0631\u0648\u0642"),
    ("\U0001f6b4\u200d\u2640\ufe0f" * 30, "\U0001f6b4\u200d\u2640\ufe0f" * 30),
    ("\u00e9" * 500, "\u00e9" * 500),
    ("=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=", "=?utf-8?q?x?="),
]


@pytest.mark.parametrize(("name", "told"), NAMES)
def test_a_senders_name_is_encoded_and_the_address_is_not(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Add,
    announce_ride: Add,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    told: str,
) -> None:
    monkeypatch.setenv("STRAVA_MAIL_FROM", f"{name} <r@example.org>")
    add_ride(RIDE)
    announce_ride(RIDE)
    assert [outcome.state for outcome in send_due(engine, load_settings())] == ["sent"]
    (raw,) = smtp.raw
    check_lines(raw)
    assert all(len(line) <= 78 for line in re.findall(rb"(?m)^(?:From:.*|[ \t]+=\?.*)$", head(raw)))
    encoded, _, address = field(raw, "From").rpartition(b" ")
    assert address == b"<r@example.org>"
    assert words(encoded) == told
    assert smtp.mails[0]["From"].addresses[0].addr_spec == "r@example.org"
    assert field(raw, "Message-ID") == b"<ride-7@example.org>"


@pytest.mark.parametrize("policy", [POLICY, SMTP, SMTPUTF8, default, SMTP.clone(max_line_length=40)])
def test_a_header_for_programs_stays_raw_under_whichever_policy_a_mail_is_sent(
    smtp: MailServerStandIn, policy: EmailPolicy[Any]
) -> None:
    mail = EmailMessage(policy=POLICY)
    link = f"<https://{LONGEST_HOST}/mail/unsubscribe/{'t' * 300}>"
    mail["List-Unsubscribe"] = link
    mail["Subject"] = "A ride"
    mail.set_content("x")
    mail.policy = policy
    send(parse_smtp_url(smtp.url), mail, sender=ADDRESS, recipient=ADDRESS)
    assert field(smtp.raw[0], "List-Unsubscribe") == link.encode()


@pytest.mark.parametrize("name", ["From", "To", "Message-ID", "Content-ID", "List-Unsubscribe"])
@pytest.mark.parametrize(
    "value", ["a\r\nBcc: x@y.org", "a\nb", "a\rb", "m\u00edra@x.org", "a\x00b", "a\x1bb", "x" * 951]
)
def test_what_cannot_stand_raw_in_a_header_is_refused(name: str, value: str) -> None:
    mail = EmailMessage(policy=POLICY)
    with pytest.raises(ValueError, match=r"(?i)header"):
        mail[name] = value


def test_an_address_of_before_that_no_header_can_hold_fails_for_good_and_is_not_told(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, add_ride: Add, announce_ride: Add
) -> None:
    add_ride(RIDE)
    with engine.begin() as connection:
        connection.execute(update(users).values(email="m\u00edra@example.org"))
    announce_ride(RIDE)
    (outcome,) = send_due(engine, mail_settings)
    assert (outcome.state, outcome.reason) == ("failed", "the mail cannot be written: that is no e-mail address")
    assert smtp.raw == []


TITLES = [
    "Morning ride",
    "Morning\r\nBcc: everybody@example.org",
    "\u202e\u2066evil\u200f \x1b[31mred\x07\x85next",
    "\u0634\u0631\u0648\u0642 " * 9,
    "\U0001f6b4\u200d\u2640\ufe0f" * 30,
    "Z\u0300\u0301\u0302\u0303" * 40,
    "=?utf-8?q?Bcc:_x?= =?utf-8?b?eA==?=",
    "x" * 500,
    "\u00e9" * 500,
    "a  b   c \u00e9  d",
    "\u2028line\u2029paragraph",
    "\U000e0041tags\ufeff\u00ad",
    "=E9 _under_ ?=",
]


@pytest.mark.parametrize("title", TITLES)
def test_a_subject_is_one_header_of_whole_characters_whatever_the_title(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, rider: None, announce_ride: Add, title: str
) -> None:
    entered_by_hand = {
        "id": RIDE,
        "athlete_id": RIDER,
        "resource_state": 3,
        "name": title,
        "type": "Ride",
        "sport_type": "Ride",
        "distance": 24_000.0,
        "moving_time": 3_007,
        "start_date": datetime.now(UTC),
        "fetched_at": datetime.now(UTC),
    }
    with engine.begin() as connection:
        connection.execute(insert(activities).values(entered_by_hand))
    announce_ride(RIDE)
    assert [outcome.state for outcome in send_due(engine, mail_settings)] == ["sent"]
    (raw,) = smtp.raw
    check_lines(raw)
    assert re.search(rb"(?mi)^Bcc:", head(raw)) is None
    subject = words(field(raw, "Subject"))
    assert subject.endswith(": 24.0 km, 50:07")
    assert subject.replace("\u2068", "").replace("\u2069", "").replace("\u200d", "").isprintable()
    assert len(subject) < 80


@hypothesis.given(st.text(max_size=120))
def test_any_subject_is_read_as_it_was_written_or_refused(text: str) -> None:
    mail = EmailMessage(policy=POLICY)
    try:
        mail["Subject"] = text
    except ValueError:
        assert any(not character.isprintable() for character in text)
        return
    raw = mail.as_bytes()
    check_lines(raw)
    # White space at the ends is the header's own.
    assert words(field(raw, "Subject")).strip(" ") == text.strip(" ")
