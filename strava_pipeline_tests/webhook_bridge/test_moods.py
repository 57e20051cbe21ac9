"""A bridge whose database refuses what it is given: 503 meanwhile, 200 as soon as it can write, and nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import requests
from sqlalchemy import insert, make_url, select

from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.conftest import SETTINGS, TEMPLATE, new_database
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.moody_server import MoodyDatabase, MoodyServer
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, RIDER, delivery, signed


@dataclass
class Served:
    """A bridge in a process of its own, its database, and what was answered so far."""

    url: str
    database: MoodyDatabase
    log: Path
    answers: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    accepted: list[int] = field(default_factory=list)

    def deliver(self, number: int) -> int:
        body = delivery(object_id=number)
        status = requests.post(
            f"{self.url}{PATH}", data=body, headers=signed(body), timeout=PATIENCE_SECONDS
        ).status_code
        self.answers.add(status)
        if status == 200:
            self.accepted.append(number)
        return status

    def health(self, which: str) -> int:
        return requests.get(f"{self.url}/health/{which}", timeout=PATIENCE_SECONDS).status_code

    def stored(self) -> list[int]:
        """The events in the inbox, by the number of their object."""
        engine = open_engine(make_url(self.database.address))
        with engine.connect() as connection:
            found = connection.execute(select(webhook_events.c.object_id).order_by(webhook_events.c.object_id))
            numbers = list(found.scalars())
        engine.dispose()
        return numbers


@pytest.fixture(scope="module")
def served(own_server: MoodyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One bridge for all moods: each begins with what the one before has left in the bridge."""
    home = tmp_path_factory.mktemp("bridge")
    with new_database(own_server.server, TEMPLATE) as name:
        database = MoodyDatabase(own_server, name)
        engine = open_engine(make_url(database.address))
        with engine.begin() as connection:
            connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
        engine.dispose()
        variables = SETTINGS | {"STRAVA_DATABASE_URL": database.address, "STRAVA_HOME": str(home)}
        log = home / "log"
        with (
            log.open("wb") as written,
            subprocess.Popen(
                PATIENT_BRIDGE, stdout=subprocess.PIPE, stderr=written, text=True, env=os.environ | variables
            ) as process,
        ):
            assert process.stdout is not None
            told = process.stdout.readline()
            assert told.startswith("bridge listening on "), log.read_text()
            yield Served(told.split()[-1], database, log)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_SECONDS)


@contextmanager
def read_only(database: MoodyDatabase) -> Iterator[None]:
    database.refuse_writes()
    yield
    database.accept_writes()


@contextmanager
def read_only_in_new_sessions(database: MoodyDatabase) -> Iterator[None]:
    """As a fail-over to a copy that is not written yet; afterwards the sessions that were opened meanwhile stay so."""
    database.refuse_writes_of_new_sessions()
    yield
    database.accept_writes_of_new_sessions()


@contextmanager
def replica_that_is_promoted(database: MoodyDatabase) -> Iterator[None]:
    database.on.become_replica()
    yield
    database.on.promote()


@contextmanager
def stopped(database: MoodyDatabase) -> Iterator[None]:
    database.on.stop()
    yield
    database.on.start()


MOODS: list[Callable[[MoodyDatabase], AbstractContextManager[None]]] = [
    read_only,
    read_only_in_new_sessions,
    replica_that_is_promoted,
    MoodyDatabase.full,
    stopped,
]


@pytest.mark.parametrize("mood", MOODS)
def test_deliveries_get_503_while_nothing_can_be_written_and_200_right_after(
    served: Served, mood: Callable[[MoodyDatabase], AbstractContextManager[None]]
) -> None:
    first, refused, after = (next(served.numbers) for _ in range(3))
    assert served.deliver(first) == 200
    eventually(lambda: served.health("ready") == 200, "a bridge that is ready")
    try:
        with mood(served.database):
            eventually(lambda: served.deliver(refused) == 503, "a refusal")
            eventually(lambda: served.health("ready") == 503, "a bridge that is not ready")
            assert served.deliver(refused) == 503
            assert served.health("live") == 200
    finally:
        served.database.on.cheer_up()
    eventually(lambda: served.deliver(refused) == 200, "an event that is delivered again")
    # Every pooled connection is of use again, not only the one that was tried first.
    assert [served.deliver(after) for _ in range(5)] == [200] * 5
    eventually(lambda: served.health("ready") == 200, "a bridge that is ready again")
    assert served.answers == {200, 503}
    assert set(served.stored()) == set(served.accepted)
    assert "Traceback" not in served.log.read_text()


def test_sessions_that_are_cut_refuse_no_delivery(served: Served) -> None:
    for number in [next(served.numbers) for _ in range(3)]:
        served.database.cut_all()
        assert served.deliver(number) == 200
    assert "Traceback" not in served.log.read_text()
