"""The bridge as it is served, through a PgBouncer that lends its connections for one transaction each."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus

import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.pgbouncer import PgBouncer, Pooling, pgbouncer
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed

SENDERS = 18
DELIVERIES_EACH = 30


@pytest.fixture(scope="module", params=[Pooling(), Pooling(leaves_options_out=False)], ids=str)
def pooler(server: Server, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    with pgbouncer(server, request.param) as bouncer:
        yield bouncer


@pytest.fixture
def port(settings: Settings, rider: None, pooler: PgBouncer) -> Iterator[int]:
    """The port of a bridge that reaches the tables through the pooler."""
    assert settings.database_url is not None
    environment = os.environ | {"STRAVA_DATABASE_URL": pooler.address(settings.database_url.get_secret_value())}
    with subprocess.Popen(
        PATIENT_BRIDGE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rsplit(":", 1)[1])
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)


def test_each_of_many_deliveries_is_taken_once(port: int, engine: Engine) -> None:
    def send(sender: int) -> list[int]:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            return [answer(connection, sender * DELIVERIES_EACH + number) for number in range(DELIVERIES_EACH)]

    def answer(connection: http.client.HTTPConnection, activity_id: int) -> int:
        body = delivery(object_id=activity_id + 1)
        connection.request("POST", PATH, body, signed(body))
        told = connection.getresponse()
        told.read()
        return told.status

    with ThreadPoolExecutor(SENDERS) as senders:
        answers = [status for each in senders.map(send, range(SENDERS)) for status in each]
    assert answers == [HTTPStatus.OK] * (SENDERS * DELIVERIES_EACH)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(webhook_events)).scalar_one() == len(answers)


def test_it_is_ready_while_it_commits(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/health/ready")
        assert connection.getresponse().status == HTTPStatus.OK
