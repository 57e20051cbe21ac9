"""A bridge goes on, and starts again, while and after a later version upgrades the tables."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse import migrate as migrating
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.migrate import migrate, open_warehouse, stored_revision
from strava_pipeline.web.operator_door import cookie_name, session_proof
from strava_pipeline_tests.bridge_process import BRIDGE, bridge_process
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.later_revisions import later_revision
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed

pytestmark = pytest.mark.usefixtures("rider")
LATER = "0999"
MOST_REFUSED = 10
# Of each kind that a revision may be: new columns, tables and indexes, and words for what is to come.
ADDED = (
    "CREATE TABLE ops.seasons (id bigint PRIMARY KEY, athlete_id bigint NOT NULL)",
    "CREATE INDEX ix_seasons_athlete_id ON ops.seasons (athlete_id)",
    "ALTER TABLE strava.activities ADD COLUMN season text",
    "ALTER TABLE ops.users ADD COLUMN season text NOT NULL DEFAULT 'all'",
    "ALTER TABLE ops.api_calls ADD COLUMN season text",
    "ALTER TABLE ops.delivery_counts ADD COLUMN season text NOT NULL DEFAULT ''",
    "ALTER TABLE ops.heartbeats ADD COLUMN season text",
    "ALTER TABLE ops.operator_audit ADD COLUMN season text",
    "ALTER TABLE ops.webhook_events ADD COLUMN season text NOT NULL DEFAULT 'all', ADD COLUMN weight integer",
    "CREATE INDEX ix_webhook_events_season ON ops.webhook_events (season)",
    "ALTER TABLE ops.webhook_events DROP CONSTRAINT ck_webhook_events_state",
    """ALTER TABLE ops.webhook_events ADD CONSTRAINT ck_webhook_events_state CHECK (state IN ('received', 'launched',
        'waiting', 'parked', 'dead', 'discarded', 'done', 'resting'))""",
)
# What a later version's runs may leave there.
OF_LATER = """
INSERT INTO ops.webhook_events (event_key, source, subscription_id, object_type, object_id, owner_id, aspect_type,
    event_time, updates, signed, state)
VALUES ('of a later version', 'webhook', 5, 'activity', 4, 1001, 'update', now(), '{}', true, 'resting')
"""
WAITING = """
SELECT virtualtransaction FROM pg_locks
WHERE NOT granted AND relation = 'ops.webhook_events'::regclass AND mode = 'AccessExclusiveLock'
"""


@dataclass
class Sender:
    """Delivers events one after the other, each anew until it is taken, as Strava does."""

    addresses: list[str]
    taken: set[int] = field(default_factory=set)
    # Of one event in a row, at most. A bridge refuses one after 1.5 s.
    refused: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def send(self) -> None:
        for number in count(100):
            refused = 0
            while not self.stopping.is_set() and not self._is_taken(number):
                refused += 1
            self.refused = max(self.refused, refused)
            if self.stopping.is_set():
                return

    def _is_taken(self, number: int) -> bool:
        body = delivery(object_id=number)
        answer = requests.post(self.addresses[-1] + PATH, body, headers=signed(body), timeout=PATIENCE_SECONDS)
        if answer.status_code == HTTPStatus.OK:
            self.taken.add(number)
            return True
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, answer.text
        return False


@contextmanager
def sending(address: str) -> Iterator[Sender]:
    sender = Sender([address])
    thread = threading.Thread(target=sender.send)
    thread.start()
    try:
        yield sender
    finally:
        sender.stopping.set()
        thread.join()


@contextmanager
def upgraded(engine: Engine, folder: Path) -> Iterator[None]:
    """The tables of a later version; within the block this process is of that version, and afterwards of ours."""
    with later_revision(folder, LATER, *ADDED):
        assert migrate(engine) != LATER
        yield


def stored(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT object_id, state FROM ops.webhook_events"))
        return {row.object_id: row.state for row in rows}


def page_of(address: str, settings: Settings, engine: Engine) -> requests.Response:
    """The operator's page."""
    with engine.begin() as connection:
        secret = open_session(connection, session_proof(settings))
    return requests.get(f"{address}/", cookies={cookie_name(settings): secret}, timeout=PATIENCE_SECONDS)


def goes_on(sender: Sender) -> None:
    """Wait until another few events were taken."""
    before = len(sender.taken)
    eventually(lambda: len(sender.taken) > before + 10, "events are taken")


def test_a_bridge_goes_on_during_and_after_an_upgrade_and_may_start_again(
    settings: Settings, engine: Engine, owner_engine: Engine, dagster: DagsterStandIn, tmp_path: Path
) -> None:
    with bridge_process(tmp_path, os.environ, BRIDGE) as address, sending(address) as sender:
        goes_on(sender)
        with upgraded(owner_engine, tmp_path):
            pass
        with engine.begin() as connection:
            connection.execute(text(OF_LATER))
        goes_on(sender)
        assert requests.get(f"{address}/health/ready", timeout=PATIENCE_SECONDS).status_code == HTTPStatus.OK
        assert requests.get(f"{address}/health/live", timeout=PATIENCE_SECONDS).status_code == HTTPStatus.OK

        with bridge_process(tmp_path, os.environ, BRIDGE) as again:
            # This one first sees the tables as they are now.
            sender.addresses.append(again)
            goes_on(sender)
            assert requests.get(f"{again}/health/ready", timeout=PATIENCE_SECONDS).status_code == HTTPStatus.OK
            page = page_of(again, settings, engine)
            assert page.status_code == HTTPStatus.OK, page.text
            sender.stopping.set()
            states = stored(engine)
            assert sender.taken <= states.keys()
            # Its dispatcher claims and launches, and leaves alone what it does not know.
            eventually(lambda: set(stored(engine).values()) == {"launched", "resting"}, "all events are launched")
            assert stored(engine)[4] == "resting"
            assert dagster.launches
    # A machine that is busy may refuse some; a table that stays locked would refuse one after the other.
    assert sender.refused <= MOST_REFUSED


def test_all_else_of_an_earlier_version_is_refused_in_one_line(
    settings: Settings, owner_engine: Engine, tmp_path: Path
) -> None:
    with upgraded(owner_engine, tmp_path), open_warehouse(settings):
        pass
    with (
        pytest.raises(WarehouseError, match=rf"\Aa later version has upgraded the tables to revision {LATER}, .*\Z"),
        open_warehouse(settings),
    ):
        pass


@pytest.mark.usefixtures("settings")
def test_deliveries_go_on_while_a_migration_waits_for_a_reader(
    engine: Engine, owner_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a dump, which reads all tables in one transaction: who comes later waits behind who waits."""
    monkeypatch.setattr(migrating, "TRIES_FOR_SECONDS", PATIENCE_SECONDS)
    tries: set[str] = set()

    def upgrade() -> None:
        with upgraded(owner_engine, tmp_path):
            pass

    migration_thread = threading.Thread(target=upgrade)
    with bridge_process(tmp_path, os.environ, BRIDGE) as address, sending(address) as sender:
        with engine.connect() as reader:
            reader.exec_driver_sql("LOCK TABLE ops.webhook_events IN ACCESS SHARE MODE")
            migration_thread.start()
            eventually(lambda: waiting(engine, tries), "the migration waits for the reader")
            before = len(sender.taken)
            eventually(lambda: len(waiting(engine, tries)) > 1, "the migration is tried again")
            eventually(lambda: len(sender.taken) > before + 10, "events are taken meanwhile")
            assert stored_revision_of(engine) != LATER
        migration_thread.join()
        goes_on(sender)
    assert stored_revision_of(engine) == LATER


def waiting(engine: Engine, tries: set[str]) -> set[str]:
    """The transactions that were seen to wait for the inbox as a whole, with those of earlier looks."""
    with engine.connect() as connection:
        tries |= set(connection.execute(text(WAITING)).scalars())
    return tries


def stored_revision_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return stored_revision(connection)
