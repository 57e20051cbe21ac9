"""Deliveries and launches are counted where they happen, by labels that begin at 0."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from strava_pipeline_tests.placed import PLACE
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from strava_pipeline_tests.webhook_bridge.samples import Samples, samples_from
from webhook_bridge.app import create_app
from webhook_bridge.counters import Counters
from webhook_bridge.dagster_api import launch_run
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

TOKEN = "unguessable"  # the secret part of the path
SECRET_PATH = f"{PATH}/{TOKEN}"


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def client(
    settings: Settings, engine: Engine, rider: None, monkeypatch: pytest.MonkeyPatch, counters: Counters
) -> FlaskClient:
    monkeypatch.setenv("STRAVA_WEBHOOK_PATH_TOKEN", TOKEN)
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "5")
    return create_app(load_settings(), engine, counters=counters).test_client()


def risen(counters: Counters) -> Samples:
    """Counters of deliveries above 0."""
    found = samples_from(counters)
    return {name: value for name, value in found.items() if name.startswith("deliveries_") and value}


def rejected(reason: RejectReason) -> Samples:
    return {"deliveries_received_total": 1, f"deliveries_rejected_total{{reason={reason}}}": 1}


def test_each_label_begins_at_0_and_none_tells_when_it_was_made(counters: Counters) -> None:
    found = samples_from(counters)
    assert set(found.values()) == {0}
    assert {f"deliveries_rejected_total{{reason={reason}}}" for reason in RejectReason} <= set(found)
    assert "launches_total{dagster_job=webhook_sync,result=failed}" in found
    assert not [name for name in found if "_created" in name]


def test_what_is_answered_200_is_counted_by_what_became_of_it(client: FlaskClient, counters: Counters) -> None:
    for body in (delivery(), delivery(), delivery(owner_id=999)):
        assert client.post(SECRET_PATH, data=body, headers=signed(body)).status_code == 200
    assert risen(counters) == {
        "deliveries_received_total": 3,
        "deliveries_accepted_total{outcome=stored}": 1,
        "deliveries_accepted_total{outcome=duplicate}": 1,
        "deliveries_accepted_total{outcome=stranger}": 1,
    }
    assert [(count.outcome, count.deliveries) for count in counters.slots.unstored()] == [
        (DeliveryOutcome.STORED, 1),
        (DeliveryOutcome.DUPLICATE, 1),
        (DeliveryOutcome.STRANGER, 1),
    ]
    assert samples_from(counters)["acknowledgement_seconds_count"] == 3


# How the delivery is sent: its path, its body, and what makes its headers; a signature is good for five minutes.
REJECTED: dict[RejectReason, tuple[str, bytes, Callable[[], dict[str, str]]]] = {
    RejectReason.PATH: (f"{PATH}/guess", delivery(), lambda: signed(delivery())),
    RejectReason.TOO_LARGE: (SECRET_PATH, b"x" * 20_000, lambda: signed(b"")),
    RejectReason.SIGNATURE_MISSING: (SECRET_PATH, delivery(), dict),
    RejectReason.SIGNATURE_MALFORMED: (SECRET_PATH, delivery(), lambda: {"X-Strava-Signature": "t=1"}),
    RejectReason.SIGNATURE_WRONG: (SECRET_PATH, delivery(), lambda: signed(delivery(), "wrong")),
    RejectReason.SIGNATURE_EXPIRED: (SECRET_PATH, delivery(), lambda: signed(delivery(), age=400)),
    RejectReason.MALFORMED: (SECRET_PATH, b"{}", lambda: signed(b"{}")),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_what_is_rejected_is_counted_by_its_reason(
    client: FlaskClient, counters: Counters, reason: RejectReason
) -> None:
    path, body, headers = REJECTED[reason]
    assert client.post(path, data=body, headers=headers()).status_code >= 400
    assert risen(counters) == rejected(reason)
    (count,) = counters.slots.unstored()
    assert (count.outcome, count.reason, count.subscription_id) == (DeliveryOutcome.REJECTED, reason, None)
    # What is refused at once would make acknowledgements look faster than they are.
    assert samples_from(counters)["acknowledgement_seconds_count"] == 0


def test_the_subscription_of_others_is_kept_and_told_with_ours(
    client: FlaskClient, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    body = delivery(subscription_id=66)
    assert client.post(SECRET_PATH, data=body, headers=signed(body)).status_code == 403
    assert risen(counters) == rejected(RejectReason.SUBSCRIPTION)
    assert [count.subscription_id for count in counters.slots.unstored()] == [66]
    assert "a delivery is of subscription 66, ours is 5" in caplog.text


def test_a_sender_over_the_limit_is_counted_by_what_was_wrong(client: FlaskClient, counters: Counters) -> None:
    statuses = [client.post(PATH, data=b"").status_code for _ in range(61)]
    assert (statuses[0], statuses[-1]) == (404, 429)
    assert risen(counters) == {"deliveries_received_total": 61, "deliveries_rejected_total{reason=path}": 61}


def test_what_the_database_does_not_store_is_counted_with_its_time(settings: Settings, counters: Counters) -> None:
    with engine_away() as away:
        client = create_app(settings, away, counters=counters).test_client()
        assert client.post(PATH, data=delivery(), headers=signed(delivery())).status_code == 503
    assert risen(counters) == rejected(RejectReason.DATABASE)
    assert samples_from(counters)["acknowledgement_seconds_count"] == 1


def test_an_error_of_ours_is_counted(client: FlaskClient, counters: Counters, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ops.webhook_events DROP COLUMN updates")
    assert client.post(SECRET_PATH, data=delivery(), headers=signed(delivery())).status_code == 500
    assert risen(counters) == rejected(RejectReason.FAULT)


def test_strava_asking_who_we_are_is_no_delivery(client: FlaskClient, counters: Counters) -> None:
    assert client.get(SECRET_PATH).status_code == 403
    assert client.put(SECRET_PATH).status_code == 405
    assert risen(counters) == {}


def test_launches_are_counted_by_job_and_result(dagster: DagsterStandIn, counters: Counters) -> None:
    server = DagsterServer.from_settings(load_settings(), counters.launched)
    launch_run(server, PLACE, "webhook_sync", {}, {})
    launch_run(server, PLACE, "remap", {}, {})
    dagster.refusal = (500, b"")
    with pytest.raises(DagsterUnavailable):
        launch_run(server, PLACE, "import_history", {}, {})
    launches = {name: value for name, value in samples_from(counters).items() if name.startswith("launches_") and value}
    assert launches == {
        "launches_total{dagster_job=webhook_sync,result=succeeded}": 1,
        "launches_total{dagster_job=other,result=succeeded}": 1,
        "launches_total{dagster_job=import_history,result=failed}": 1,
    }
