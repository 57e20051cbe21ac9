"""Alerts that are told without a database: on every way that is set up, and by whoever loses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.states import AlertChange, Severity
from strava_pipeline.warehouse.watch.alert_rows import NewMessage
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import Loopback
from webhook_bridge.direct_telling import DirectTelling

AWAY = NewMessage(AlertChange.FIRED, Severity.CRITICAL, "Critical: The database does not accept writes", "- refused")


@pytest.fixture(autouse=True)
def environment(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_MAIL_FROM", "watch@example.org")
    monkeypatch.setenv("STRAVA_ALERT_TO", "mira@example.org")


@pytest.fixture
def smtp(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServerStandIn]:
    with mail_server() as server:
        monkeypatch.setenv("STRAVA_SMTP_URL", server.url)
        yield server


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_ALERT_URLS", f"json://127.0.0.1:{loopback.port}/a1")
        yield loopback


def tell() -> bool:
    settings = load_settings()
    return DirectTelling(settings, AlertChannels.from_settings(settings))([AWAY])


def test_every_way_gets_it_at_once(smtp: MailServerStandIn, receiver: Loopback) -> None:
    assert tell()
    assert [mail["Subject"] for mail in smtp.mails] == [AWAY.subject]
    assert len(receiver.asked) == 1


def test_one_of_the_bridges_that_share_a_home_tells_and_another_goes_on_once_it_has_ended(
    receiver: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRAVA_ALERT_TO")
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    settings = load_settings()
    first, second = (DirectTelling(settings, AlertChannels.from_settings(settings)) for _ in range(2))
    assert first([AWAY])
    assert not second([AWAY])
    assert len(receiver.asked) == 1
    first.stop()
    assert second([AWAY])
    assert len(receiver.asked) == 2
    second.stop()


def test_one_way_that_takes_it_is_enough(receiver: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    assert tell()
    assert len(receiver.asked) == 1


def test_one_service_that_has_it_is_enough(receiver: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_ALERT_TO")
    away = f"json://127.0.0.1:{free_port()}/a2"
    monkeypatch.setenv("STRAVA_ALERT_URLS", f"json://127.0.0.1:{receiver.port}/a1 {away}")
    assert tell()
    assert len(receiver.asked) == 1


def test_what_no_way_takes_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    assert not tell()


def test_without_a_way_the_log_is_all_there_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("STRAVA_ALERT_TO")
    assert tell()
    assert AWAY.subject in caplog.text


def test_a_way_that_is_set_wrongly_is_told_before_any_alert() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^STRAVA_ALERT_TO needs a mail server and a sender: STRAVA_SMTP_URL is not set"
    ):
        tell()
