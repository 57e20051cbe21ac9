"""The mail about alerts: what it says, to whom it goes, and what the server's word means."""

from __future__ import annotations

import re

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.alert_mail import AlertMail
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.states import SendState
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.alert_messages import AWAY, CLEARED, RECONNECT
from strava_pipeline_tests.ports import free_port

MESSAGES = [CLEARED, AWAY, RECONNECT]


@pytest.fixture
def alert_mail(clean_environment: None, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch) -> AlertMail:
    """The way by mail, without a database, a key or a bridge."""
    monkeypatch.setenv("STRAVA_SMTP_URL", smtp.url)
    monkeypatch.setenv("STRAVA_MAIL_FROM", "Watch <watch@example.org>")
    monkeypatch.setenv("STRAVA_ALERT_TO", "mira@example.org, ole@example.org, mira@example.org")
    way = AlertMail.from_settings(load_settings())
    assert way is not None
    return way


def test_one_mail_tells_all_to_all_addresses(alert_mail: AlertMail, smtp: MailServerStandIn) -> None:
    assert alert_mail.send(MESSAGES, "1 2 3").state is SendState.SENT
    (mail,) = smtp.mails
    assert smtp.recipients == ["mira@example.org", "ole@example.org"]
    assert mail["To"] == "mira@example.org, ole@example.org"
    assert mail["From"] == "Watch <watch@example.org>"
    assert mail["Subject"] == "Critical: Strava does not answer (and 2 more)"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] is None
    text = mail.get_body(("plain",)).get_content().replace("\r", "")  # type: ignore[union-attr]  # it has one
    html = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]  # it has one
    for message in MESSAGES:
        assert message.subject in text
        assert message.subject in html
        assert message.body in text
    assert text.index("Strava does not answer") < text.index("An athlete must") < text.index("given up")
    assert "grant is &lt;void&gt;" in html
    assert set(re.findall(r'href="([^"]+)"', html)) == {"https://bridge.example.org/", "http://127.0.0.1:8080/"}


def test_the_same_messages_have_one_id_and_others_another(alert_mail: AlertMail, smtp: MailServerStandIn) -> None:
    for name in ("1 2", "1 2", "3"):
        alert_mail.send([AWAY], name)
    first, second, third = (mail["Message-ID"] for mail in smtp.mails)
    assert first == second != third


def test_one_address_that_is_refused_does_not_keep_it_from_the_others(
    alert_mail: AlertMail, smtp: MailServerStandIn
) -> None:
    smtp.rcpt.append("550 no such {}")
    told = alert_mail.send([AWAY], "1")
    assert (told.state, told.reason) == (
        SendState.SENT,
        "refused for one address: 550 no such the recipient's address",
    )
    assert smtp.recipients == ["ole@example.org"]


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        (["550 no", "550 no"], SendState.FAILED),
        (["550 no", "451 later"], SendState.PENDING),
    ],
)
def test_a_mail_that_no_address_takes_is_tried_again_unless_all_refuse_it_for_good(
    alert_mail: AlertMail, smtp: MailServerStandIn, answers: list[str], state: SendState
) -> None:
    smtp.rcpt += answers
    assert alert_mail.send([AWAY], "1").state is state
    assert smtp.mails == []


def test_a_server_that_is_away_is_tried_again(alert_mail: AlertMail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    away = AlertMail.from_settings(load_settings())
    assert away is not None
    told = away.send([AWAY], "1")
    assert told.state is SendState.PENDING
    assert "Connection refused" in told.reason


@pytest.mark.usefixtures("alert_mail")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STRAVA_ALERT_TO", "mira@example.org, ole", r"^STRAVA_ALERT_TO: entry 2 is no e-mail address"),
        ("STRAVA_ALERT_TO", " , ", r"^STRAVA_ALERT_TO holds no address"),
        ("STRAVA_SMTP_URL", "", r"^STRAVA_ALERT_TO needs a mail server and a sender: STRAVA_SMTP_URL is not set"),
        ("STRAVA_MAIL_FROM", "", r"^STRAVA_ALERT_TO needs a mail server and a sender: STRAVA_MAIL_FROM is not set"),
    ],
)
def test_a_wrong_setting_is_told_before_any_alert(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=message):
        AlertMail.from_settings(load_settings())


def test_without_an_address_there_is_no_way_by_mail(clean_environment: None) -> None:
    assert AlertMail.from_settings(Settings()) is None
