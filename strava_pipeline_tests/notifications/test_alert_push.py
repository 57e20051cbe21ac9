"""Alerts through Apprise to a real receiver: each service gets each message once, and no log has its address."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.alert_push import AlertPush
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.states import SendState
from strava_pipeline_tests.notifications.alert_messages import AWAY, CLEARED
from strava_pipeline_tests.strava.loopback import Loopback, reply

KEY = "s3cret-k3y-in-the-path"


@pytest.fixture
def receiver() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def push_to(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AlertPush]:
    def make(*addresses: str) -> AlertPush:
        monkeypatch.setenv("STRAVA_ALERT_URLS", " ".join(addresses))
        way = AlertPush.from_settings(load_settings())
        assert way is not None
        return way

    return make


def address(receiver: Loopback, path: str = KEY) -> str:
    return f"json://user:p4ssw0rd-of-it@127.0.0.1:{receiver.port}/{path}"


def test_a_service_gets_all_messages_together(push_to: Callable[..., AlertPush], receiver: Loopback) -> None:
    told = push_to(address(receiver)).send([CLEARED, AWAY])
    assert told.state is SendState.SENT
    assert len(told.reached) == 1
    (asked,) = receiver.asked
    body = json.loads(asked.body)
    assert asked.path == f"/{KEY}"
    assert body["title"] == "Critical: Strava does not answer (and 1 more)"
    assert body["type"] == "failure"
    for message in (AWAY, CLEARED):
        assert f"{message.subject}\n{message.body}" in body["message"]


def test_only_the_service_that_failed_is_tried_again(push_to: Callable[..., AlertPush], receiver: Loopback) -> None:
    way = push_to(address(receiver, "one1"), address(receiver, "two2"))
    receiver.answer = lambda asked: reply({}, 503 if asked.path == "/two2" else 200)
    told = way.send([AWAY])
    assert told.state is SendState.PENDING
    assert told.reason.startswith("address 2 of STRAVA_ALERT_URLS: ")
    receiver.answers(reply({}))
    again = way.send([AWAY], told.reached)
    assert again.state is SendState.SENT
    assert [asked.path for asked in receiver.asked] == ["/one1", "/two2", "/two2"]
    assert len(again.reached) == 2


class Heard(logging.Handler):
    """A handler of the process, as that of the bridge's log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[Heard]:
    handler = Heard()
    # Another library of the process may have set another level.
    caplog.set_level(logging.DEBUG, "urllib3")
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_neither_reason_nor_log_shows_an_address(
    push_to: Callable[..., AlertPush], receiver: Loopback, heard: Heard
) -> None:
    receiver.answers(reply({}, 500))
    way = push_to(address(receiver))
    told = way.send([AWAY])
    assert told.state is SendState.PENDING
    assert "500" in told.reason
    shown = f"{told} {way} {' '.join(record.getMessage() for record in heard.records)}"
    for secret in (KEY, "p4ssw0rd-of-it"):
        assert secret not in shown
    assert not [record for record in heard.records if record.name.startswith("apprise")]
    # The request itself is logged by the library that sends it, without the key.
    assert [record for record in heard.records if record.name.startswith("urllib3")]


def test_an_address_that_apprise_does_not_know_is_told_by_its_number(push_to: Callable[..., AlertPush]) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_ALERT_URLS: address 2 is none that Apprise knows") as error:
        push_to("json://127.0.0.1:1/x", "sl4ckk://t0ken-t0ken")
    assert "t0ken" not in str(error.value)


def test_without_the_package_the_extra_is_named(
    push_to: Callable[..., AlertPush], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigurationError, match=r"strava-pipeline\[apprise\]"):
        push_to("json://127.0.0.1:1/x")


def test_without_addresses_there_is_no_push_and_no_package_is_needed(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert AlertPush.from_settings(load_settings()) is None
