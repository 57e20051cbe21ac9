"""A whole installation at work: with no more connections than docs/database.md says, and through a PgBouncer."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine, make_url

from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.mock_strava.athletes import RUNNER
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up
from strava_pipeline_tests.e2e.live_path import deliver
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.inbox import states
from strava_pipeline_tests.pgbouncer import Pooling, pgbouncer
from strava_pipeline_tests.wishes import is_whole, wish_for

ATHLETE = RUNNER.athlete_id
RUNS_AT_ONCE = 3
# Of the pooler, for each of the two databases.
SERVERS = 4
# Not the code server: its schedules look at the tables by the clock, up to five minutes after the work has ended.
PARTS = {f"strava-pipeline {part}" for part in ("bridge", "dagster-webserver", "quota", "run", "up")}
RIDES = 3
DELIVERIES = 36
SENDERS = 12
LOOK_EVERY_SECONDS = 0.05
TABLES, DAGSTERS = "tables", "Dagster's"
# But for those of the test itself.
COUNTING = """
SELECT datname, application_name, count(*) FROM pg_stat_activity
WHERE datname IN (%s, %s) AND application_name <> 'strava-pipeline' AND backend_type = 'client backend' GROUP BY 1, 2
"""
PAGE = Path(__file__).parents[2] / "docs" / "database.md"
_ROW = re.compile(r"^\| [^|]+ \| \"([^\"]+)\" \| (tables|Dagster's) \| (\d+) \| (\d+) \|", re.MULTILINE)
# The lock's holder is told by its machine and process.
_HOLDER = re.compile(r"^up on .+, process \d+$")


def connections_by_the_guide() -> dict[tuple[str, str], int]:
    """The most connections of each part, by whose database and by name, with so many runs at once.

    One more run counts, since Dagster begins the next one before the process of a run that has ended is gone.
    """
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        (whose, name): int(most) + (RUNS_AT_ONCE + 1) * int(for_each_run) for name, whose, most, for_each_run in rows
    }


@contextmanager
def counting(server: Server, installation: Installation) -> Iterator[Counter[tuple[str, str]]]:
    """Count connections again and again during the block: yields the most at once, by whose database and by name."""
    most, is_over = Counter[tuple[str, str]](), threading.Event()
    names = {
        database_of(installation.environment["STRAVA_DATABASE_URL"]): TABLES,
        database_of(installation.environment["DAGSTER_POSTGRES_URL"]): DAGSTERS,
    }

    def count() -> None:
        with as_superuser(server.socket_dir, server.port) as connection:
            while not is_over.wait(LOOK_EVERY_SECONDS):
                for database, shown, number in connection.execute(COUNTING, tuple(names)):
                    name = _HOLDER.sub("up on HOST, process NUMBER", shown)
                    most[names[database], name] = max(most[names[database], name], number)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


def database_of(address: str) -> str:
    return str(make_url(address).database)


@pytest.fixture
def working(installation: Installation, start_mock: Callable[..., Mock], engine: Engine) -> Callable[[], None]:
    """Lets an installation work: an import of some months, deliveries beside it, pages and commands."""
    installation.environment["STRAVA_RUNS_AT_ONCE"] = str(RUNS_AT_ONCE)
    mock, month = start_mock("--months", "1"), datetime.now(UTC).date().replace(day=1)
    installation.output("connect", "--code", mock.new_code(ATHLETE))

    def work() -> None:
        with everything_up(installation):
            import_id = wish_for(engine, month, month, athlete_id=ATHLETE)
            bridge = f"http://127.0.0.1:{installation.environment['STRAVA_BRIDGE_PORT']}"
            secret = installation.environment["STRAVA_WEBHOOK_SIGNING_SECRETS"].encode()
            told = {"athlete_id": ATHLETE, "sport_type": "Ride", "silent": True}
            rides = [
                int(requests.post(f"{mock.url}/mock/activities", json=told, timeout=PATIENCE_SECONDS).json()["id"])
                for _ in range(RIDES)
            ]

            def send(number: int) -> bool:
                requests.get(f"{bridge}/health/ready", timeout=PATIENCE_SECONDS).raise_for_status()
                return deliver(bridge, secret, ATHLETE, rides[number % RIDES], "update", number)

            with ThreadPoolExecutor(SENDERS) as senders:
                assert all(senders.map(send, range(DELIVERIES)))
            installation.output("quota")
            eventually(lambda: is_whole(engine, import_id), "an import that is whole")
            eventually(lambda: set(states(engine)) == {"done"}, "events that all took effect")

    return work


def test_no_part_takes_more_connections_than_the_guide_says(
    server: Server, installation: Installation, working: Callable[[], None]
) -> None:
    said = connections_by_the_guide()
    with counting(server, installation) as most:
        working()
    assert {part: number for part, number in most.items() if number > said.get(part, 0)} == {}
    # Each was seen at work.
    assert {name for whose, name in most if whose == TABLES} >= PARTS


def test_all_of_it_works_through_a_pooler_that_lends_few_connections_for_one_transaction_each(
    server: Server, installation: Installation, working: Callable[[], None]
) -> None:
    with pgbouncer(server, Pooling(servers=SERVERS)) as bouncer:
        for name in ("STRAVA_DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            installation.environment[name] = bouncer.address(installation.environment[name])
        with counting(server, installation) as most:
            working()
    assert max(most.values()) <= SERVERS
