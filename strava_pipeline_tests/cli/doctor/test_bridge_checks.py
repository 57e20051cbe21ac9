"""The bridge, its callback, the subscription at a mock Strava, and the alerts that are on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, func, insert, select

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.state import EXTENSION
from strava_pipeline.redaction import MASK
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.alert_tables import alerts, heartbeats
from strava_pipeline.warehouse.schema.quota_tables import api_calls, quota_windows
from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from strava_pipeline.warehouse.watch.deliveries import CountedDeliveries, add_deliveries
from strava_pipeline.warehouse.watch.heartbeats import Role
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.doctor_checks import finding_of, findings_of, told_by
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.served_apps import served
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply, reply
from webhook_bridge.app import create_app

SUBSCRIPTION = 9
SINCE = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


@pytest.fixture
def bridge(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The public address of a bridge whose callback ends in a secret."""
    monkeypatch.setenv("STRAVA_WEBHOOK_PATH_TOKEN", "canary/path")
    with served(create_app(load_settings(), engine)) as port:
        monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(port))
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def strava(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A mock Strava for the app of the settings."""
    mock = create_mock(MockConfig(client_id="4711", client_secret="client-secret", subscription_id=SUBSCRIPTION))
    with served(mock) as port:
        monkeypatch.setenv("STRAVA_API_URL", f"http://127.0.0.1:{port}/api/v3")
        yield mock
    mock.extensions[EXTENSION].deliveries.stop()


def subscribed(strava: Flask, callback: str) -> None:
    strava.extensions[EXTENSION].subscription = {"id": SUBSCRIPTION, "callback_url": callback}


def test_a_bridge_on_this_machine_answers_or_is_said_to_be_missing(
    bridge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told_by("bridge") == (Verdict.OK, f"{bridge} answers")
    monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
    assert told_by("bridge")[0] is Verdict.WARN
    with Loopback() as ailing:
        ailing.answers(Reply(503, b"ended: dispatcher"))
        monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(ailing.port))
        finding = finding_of("bridge")
    assert finding.verdict is Verdict.FAIL
    assert finding.message.endswith("/health/live answers 503: ended: dispatcher")
    assert "restart the bridge" in finding.what_to_do


@pytest.mark.parametrize(
    ("process", "ago", "verdict"),
    [
        ("another:7:bridge", timedelta(seconds=30), Verdict.OK),
        ("another:7:bridge", timedelta(minutes=5), Verdict.WARN),
        (f"{socket.gethostname()}:7:bridge", timedelta(seconds=30), Verdict.WARN),
    ],
)
def test_a_bridge_on_another_host_counts_while_it_gives_signs_of_life(
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    process: str,
    ago: timedelta,
    verdict: Verdict,
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
    beat = {"started_at": func.now(), "beat_at": func.now() - ago, "findings": []}
    with engine.begin() as connection:
        connection.execute(insert(heartbeats).values(process=process, role=Role.BRIDGE, **beat))
    found, message = told_by("bridge")
    assert found is verdict
    assert ("the one on another gave a sign of life" in message) is (verdict is Verdict.OK)


def test_a_callback_that_answers_is_told_without_its_secret(bridge: str) -> None:
    assert told_by("callback") == (Verdict.OK, f"{bridge}/webhooks/strava/{MASK} answers a handshake")


@pytest.mark.parametrize(
    ("name", "value", "verdict", "says"),
    [
        ("STRAVA_WEBHOOK_VERIFY_TOKEN", "canary-other", Verdict.FAIL, "answers 403 to a handshake"),
        ("STRAVA_WEBHOOK_PATH_TOKEN", "canary-other", Verdict.FAIL, "answers 404 to a handshake"),
        ("STRAVA_BRIDGE_PUBLIC_URL", "http://127.0.0.1:1", Verdict.WARN, "cannot be reached"),
        ("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.invalid", Verdict.FAIL, "rides.invalid has no address"),
        ("STRAVA_BRIDGE_PUBLIC_URL", "", Verdict.OK, "STRAVA_BRIDGE_PUBLIC_URL is not set"),
    ],
)
def test_a_callback_that_does_not_answer_as_strava_wants_is_told(
    bridge: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, verdict: Verdict, says: str
) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, *more: Any, **others: Any) -> Any:
        if host == "rides.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv(name, value)
    finding = finding_of("callback")
    assert finding.verdict is verdict
    assert says in finding.message
    assert "canary" not in finding.message


def test_a_certificate_that_nobody_trusts_is_a_fault(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback() as public:
        public.speak_tls(*make_certificate(tmp_path))
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", f"https://127.0.0.1:{public.port}")
        verdict, message = told_by("callback")
    assert verdict is Verdict.FAIL
    assert "has no valid certificate" in message
    assert "let the proxy in front get one" in message


def test_a_name_that_is_private_here_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def echo(asked: Asked) -> Reply:
        return reply({"hub.challenge": asked.query["hub.challenge"]})

    real = socket.getaddrinfo
    with Loopback() as public:
        public.answer = echo
        # Only this machine's own addresses may be named by plain http.
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *more, **others: real("127.0.0.1" if host == "rides.example.org" else host, *more, **others),
        )
        public_url = f"http://rides.example.org:{public.port}"
        told = findings_of("callback", load_settings().model_copy(update={"bridge_public_url": public_url}))
    assert [finding.verdict for finding in told] == [Verdict.OK, Verdict.WARN]
    assert told[1].message == "rides.example.org is 127.0.0.1 here, which is no address in the Internet"


def test_the_apps_subscription_is_ours_and_the_look_at_it_is_no_row(
    bridge: str, strava: Flask, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(strava, f"{bridge}/webhooks/strava/canary%2Fpath")
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", str(SUBSCRIPTION))
    assert told_by("subscription") == (Verdict.OK, f"9, to {bridge}/webhooks/strava/{MASK}")
    with engine.connect() as connection:
        for table in (api_calls, quota_windows):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0


def test_another_id_or_callback_is_a_fault_and_none_a_warning(
    bridge: str, strava: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = finding_of("subscription")
    assert none.verdict is Verdict.WARN
    assert none.what_to_do == "run strava-pipeline webhook subscribe"
    subscribed(strava, "https://elsewhere.example.org/webhooks/strava/canary")
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "8")
    other_id, other_callback = findings_of("subscription")
    assert (other_id.verdict, other_callback.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert other_id.message == "Strava delivers for subscription 9, and the bridge refuses all but 8"
    assert other_id.what_to_do == "set STRAVA_WEBHOOK_SUBSCRIPTION_ID=9, and restart the bridge"
    assert other_callback.message == (
        f"subscription 9 delivers to https://elsewhere.example.org/webhooks/strava/{MASK}, and not to"
        f" {bridge}/webhooks/strava/{MASK}"
    )
    monkeypatch.delenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID")
    assert findings_of("subscription")[0].verdict is Verdict.WARN


@pytest.mark.usefixtures("strava")
def test_credentials_that_strava_refuses_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "canary-secret")
    verdict, message = told_by("subscription")
    assert verdict is Verdict.FAIL
    assert "refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET" in message
    assert "canary" not in message


def test_strava_is_not_asked_when_no_request_is_left(strava: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SHORT_LIMIT", "1")
    monkeypatch.setattr("strava_pipeline.strava.quota.lanes.RateLimits.calls_left", lambda *_: 0)
    assert told_by("subscription") == (Verdict.WARN, "not asked: no request is left of Strava's limits")
    assert strava.extensions[EXTENSION].calls.body()["totals"]["calls"] == 0


def test_deliveries_of_another_subscription_are_told_with_both_ids(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told_by("deliveries") == (Verdict.OK, "none within the last day")
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "9")
    slot = datetime.now(UTC)
    stored = CountedDeliveries(slot, DeliveryOutcome.STORED, "", "a-bridge", 12, 30)
    foreign = CountedDeliveries(slot, DeliveryOutcome.REJECTED, RejectReason.SUBSCRIPTION, "a-bridge", 3, 5, 8)
    add_deliveries(engine, [stored, foreign])
    warning, told = findings_of("deliveries")
    assert warning.verdict is Verdict.WARN
    assert warning.message == "3 of the last day were refused: they are of subscription 8, and ours is 9"
    assert (told.verdict, told.message) == (Verdict.OK, "of the last day: 3 rejected subscription, 12 stored")
    # The setting was corrected meanwhile.
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "8")
    assert told_by("deliveries")[0] is Verdict.OK
    # Or was unset: then those of any are taken.
    monkeypatch.delenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID")
    assert told_by("deliveries")[0] is Verdict.OK


def test_alerts_that_are_on_are_told_with_what_to_do(settings: Settings, engine: Engine) -> None:
    assert told_by("alerts") == (Verdict.OK, "none is on")
    row = {"state": "firing", "since": SINCE, "changed_at": SINCE, "fired_at": SINCE}
    with engine.begin() as connection:
        connection.execute(insert(alerts).values(row | {"rule": "of_a_later_version", "athlete_id": 0, "detail": ""}))
    assert told_by("alerts") == (Verdict.OK, "none is on that this version knows")
    with engine.begin() as connection:
        connection.execute(
            insert(alerts),
            [
                row | {"rule": "dead_letters", "athlete_id": 0, "detail": "2 dead letters"},
                row | {"rule": "foreign_subscription", "athlete_id": 0, "detail": "8, and ours is 9"},
                row | {"rule": "athlete_silent", "athlete_id": 5, "detail": "none for 20 days"},
                row | {"rule": "disk_full", "athlete_id": 0, "detail": "no", "state": "pending", "fired_at": None},
            ],
        )
    told = {finding.message: finding for finding in findings_of("alerts")}
    assert [finding.verdict for finding in told.values()] == [Verdict.WARN, Verdict.FAIL, Verdict.WARN]
    foreign = told["Deliveries come from another subscription, since 2026-11-30 08:15 UTC: 8, and ours is 9"]
    assert "webhook status" in foreign.what_to_do
    assert "No events from an athlete who usually has some (athlete 5), since 2026-11-30 08:15 UTC" in "\n".join(told)
