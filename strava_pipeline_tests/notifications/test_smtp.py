"""Handing mails to a real server: in the clear, by STARTTLS, by TLS, with a login; refusals and silence."""

from __future__ import annotations

import socket
import ssl
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest

from strava_pipeline.errors import ConfigurationError, MailDelayed, MailRefused
from strava_pipeline.notifications import smtp as smtp_module
from strava_pipeline.notifications.smtp import MailServer, Security, parse_smtp_url, send
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.mail_server import PASSWORD, USER, MailServerStandIn, mail_server
from strava_pipeline_tests.ports import free_port

SENDER, RECIPIENT = "rides@example.org", "mira@example.org"
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "A ride", SENDER, RECIPIENT
    message.set_content("Good evening\n.\n.. and dots\n")
    return message


def hand_in(url: str) -> None:
    send(parse_smtp_url(url), mail(), sender=SENDER, recipient=RECIPIENT)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server needs to speak TLS with a certificate that this process trusts."""
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_mail_arrives_as_it_was_written(smtp: MailServerStandIn) -> None:
    hand_in(smtp.url)
    (received,) = smtp.mails
    assert received["Subject"] == "A ride"
    assert received.get_content().splitlines() == ["Good evening", ".", ".. and dots"]
    assert (smtp.recipients, smtp.secure) == ([RECIPIENT], [False])


def test_starttls_and_login(tls: ssl.SSLContext) -> None:
    with mail_server(starttls=tls, login=True) as server:
        hand_in(f"smtp+starttls://{LOGIN}127.0.0.1:{server.port}")
        assert (server.logins, server.secure, len(server.mails)) == (["good"], [True], 1)


def test_tls_from_the_first_byte_and_login(tls: ssl.SSLContext) -> None:
    with mail_server(tls=tls, login=True) as server:
        hand_in(f"smtps://{LOGIN}127.0.0.1:{server.port}")
        assert (server.logins, len(server.mails)) == (["good"], 1)


def test_an_unknown_certificate_is_not_trusted(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(starttls=tls, login=True) as server:
        with pytest.raises(MailDelayed, match="self-signed certificate"):
            hand_in(f"smtp+starttls://{LOGIN}127.0.0.1:{server.port}")
        assert (server.logins, server.mails) == ([], [])


def test_a_server_without_starttls_gets_neither_login_nor_mail(smtp: MailServerStandIn) -> None:
    with pytest.raises(MailDelayed, match="STARTTLS"):
        hand_in(f"smtp+starttls://{LOGIN}127.0.0.1:{smtp.port}")
    assert (smtp.logins, smtp.mails) == ([], [])


def test_a_wrong_password_may_be_mended(tls: ssl.SSLContext) -> None:
    with mail_server(starttls=tls, login=True) as server:
        with pytest.raises(MailDelayed, match="535") as caught:
            hand_in(f"smtp+starttls://someone:wrong-secret@127.0.0.1:{server.port}")
        assert server.mails == []
    assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [("550 no such user {}", MailRefused), ("450 {} is full", MailDelayed), ("421 come back", MailDelayed)],
)
def test_a_refused_recipient_is_told_without_the_address(
    smtp: MailServerStandIn, answer: str, error: type[Exception]
) -> None:
    smtp.rcpt.append(answer)
    with pytest.raises(error, match=answer[:3]) as caught:
        hand_in(smtp.url)
    assert RECIPIENT not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert smtp.mails == []


@pytest.mark.parametrize(("answer", "error"), [("554 spam", MailRefused), ("451 later", MailDelayed)])
def test_refused_data_is_refused_or_delayed(smtp: MailServerStandIn, answer: str, error: type[Exception]) -> None:
    smtp.data.append(answer)
    with pytest.raises(error, match=answer):
        hand_in(smtp.url)


def test_a_server_that_hangs_up_after_taking_the_mail_has_taken_it(smtp: MailServerStandIn) -> None:
    smtp.hang_up_after_data = True
    hand_in(smtp.url)
    assert len(smtp.mails) == 1


def test_a_server_that_is_away_is_a_delay() -> None:
    with pytest.raises(MailDelayed, match="Connection refused"):
        hand_in(f"smtp://127.0.0.1:{free_port()}")


def test_a_server_that_says_nothing_is_a_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_module, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MailDelayed, match="timed out"):
        hand_in(f"smtp://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://127.0.0.1:2525", MailServer(Security.PLAIN, "127.0.0.1", 2525)),
        ("smtp://localhost", MailServer(Security.PLAIN, "localhost", 25)),
        ("smtps://mail.example.org", MailServer(Security.TLS, "mail.example.org", 465)),
        ("smtp+starttls://mail.example.org/", MailServer(Security.STARTTLS, "mail.example.org", 587)),
    ],
)
def test_an_address_without_login(url: str, server: MailServer) -> None:
    assert parse_smtp_url(url) == server


def test_names_and_passwords_are_decoded_and_do_not_show() -> None:
    server = parse_smtp_url(f"smtps://{LOGIN}mail.example.org:1465")
    assert (server.username, server.port) == (USER, 1465)
    assert server.password is not None
    assert server.password.reveal() == PASSWORD
    assert PASSWORD not in repr(server)
    assert str(server) == "smtps://mail.example.org:1465"


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org:587",
        "https://mail.example.org",
        "smtps://",
        "smtps://canary@mail.example.org",
        "smtps://:canary@mail.example.org",
        "smtps://user:canary@mail.example.org:port",
        "smtps://user:canary@mail.example.org/path",
        "smtps://user:canary@mail.example.org?query",
        "smtp://user:canary@mail.example.org",
        "smtps://user:%ffcanary@mail.example.org",
        "smtps://[user:canary@mail.example.org",
    ],
)
def test_another_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_SMTP_URL") as caught:
        parse_smtp_url(url)
    assert "canary" not in str(caught.value)
