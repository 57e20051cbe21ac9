"""The mail server is connected to and logged in to, and no mail is sent."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.conftest import SETTINGS
from strava_pipeline_tests.doctor_checks import finding_of, told_by
from strava_pipeline_tests.mail_server import PASSWORD, USER, mail_server
from strava_pipeline_tests.ports import free_port


@pytest.fixture(autouse=True)
def app(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def test_mails_that_are_off_are_well() -> None:
    assert told_by("mail server") == (Verdict.OK, "off: STRAVA_SMTP_URL is not set")
    assert told_by("ride summaries") == (Verdict.OK, "off: STRAVA_SMTP_URL is not set")


def test_a_server_that_takes_connections_gets_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as server:
        monkeypatch.setenv("STRAVA_SMTP_URL", server.url)
        assert told_by("mail server") == (Verdict.OK, f"{server.url} takes connections")
        assert server.raw == []


@pytest.mark.parametrize(
    ("password", "verdict", "says"),
    [
        (PASSWORD, Verdict.OK, "logs us in"),
        ("canary-wrong", Verdict.FAIL, "535"),
    ],
)
def test_a_login_that_the_server_refuses_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, verdict: Verdict, says: str
) -> None:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with mail_server(starttls=context, login=True) as server:
        address = f"smtp+starttls://{quote(USER, safe='')}:{quote(password, safe='')}@127.0.0.1:{server.port}"
        monkeypatch.setenv("STRAVA_SMTP_URL", address)
        finding = finding_of("mail server")
    assert finding.verdict is verdict
    assert says in finding.message
    assert password not in finding.message
    assert server.raw == []


def test_a_server_that_is_away_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    finding = finding_of("mail server")
    assert finding.verdict is Verdict.FAIL
    assert "Connection refused" in finding.message
    assert "docs/mails.md" in finding.what_to_do


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({"STRAVA_SMTP_URL": "smtps://u:canary@mail.example.org"}, Verdict.FAIL, "STRAVA_MAIL_FROM is not set"),
        (
            {
                "STRAVA_SMTP_URL": "smtps://u:canary@mail.example.org",
                "STRAVA_MAIL_FROM": "Rides <rides@example.org>",
                "STRAVA_BRIDGE_PUBLIC_URL": "https://bridge.example.org",
            },
            Verdict.OK,
            "by smtps://mail.example.org:465, from rides@example.org",
        ),
    ],
)
def test_what_ride_summaries_need_is_checked(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], verdict: Verdict, told: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    finding = finding_of("ride summaries")
    assert finding.verdict is verdict
    assert finding.message.startswith(told)
    assert "canary" not in finding.message


def test_a_mail_server_for_alerts_alone_needs_no_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtps://u:canary@mail.example.org")
    monkeypatch.setenv("STRAVA_MAIL_FROM", "rides@example.org")
    assert told_by("ride summaries")[0] is Verdict.FAIL
    monkeypatch.setenv("STRAVA_ALERT_TO", "operator@example.org")
    verdict, message = told_by("ride summaries")
    assert verdict is Verdict.WARN
    assert message.startswith("athletes get no mails: STRAVA_BRIDGE_PUBLIC_URL is not set")


def test_an_address_of_no_allowed_form_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtp://u:canary@mail.example.org")
    verdict, message = told_by("mail server")
    assert verdict is Verdict.FAIL
    assert message.startswith("STRAVA_SMTP_URL: plain smtp")


def test_that_nobody_is_told_of_alerts_is_a_warning() -> None:
    finding = finding_of("alert channels")
    assert (finding.verdict, finding.message) == (Verdict.WARN, "nobody is told of an alert")
    assert "STRAVA_ALERT_TO" in finding.what_to_do


def test_the_ways_of_alerts_are_counted_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtps://u:canary@mail.example.org")
    monkeypatch.setenv("STRAVA_MAIL_FROM", "rides@example.org")
    monkeypatch.setenv("STRAVA_ALERT_TO", "a@example.org, b@example.org")
    monkeypatch.setenv("STRAVA_ALERT_URLS", "json://127.0.0.1:9/canary")
    verdict, message = told_by("alert channels")
    assert verdict is Verdict.OK
    assert message.startswith("by mail to 2 addresses and through Apprise to 1 service; ")
    assert "canary" not in message


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("STRAVA_ALERT_TO", "nobody", "STRAVA_ALERT_TO: entry 1 is no e-mail address"),
        ("STRAVA_ALERT_URLS", "no-such-service://canary", "STRAVA_ALERT_URLS: address 1 is none that Apprise knows"),
    ],
)
def test_an_address_of_alerts_that_cannot_be_used_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtps://u:canary@mail.example.org")
    monkeypatch.setenv("STRAVA_MAIL_FROM", "rides@example.org")
    monkeypatch.setenv(name, value)
    verdict, message = told_by("alert channels")
    assert verdict is Verdict.FAIL
    assert message.startswith(says)
    assert "canary" not in message
