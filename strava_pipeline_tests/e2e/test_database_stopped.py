"""Postgres, with our database and Dagster's, refuses in the midst of a backfill: the command waits, and goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from strava_pipeline.local.logins import Login
from strava_pipeline_tests.conftest import EMPTY, new_database
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.e2e.test_backfill_interrupted import (
    arguments,
    asked,
    connected_mock,
    counts,
    run_states,
)
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.moody_server import MoodyDatabase


@pytest.fixture
def on_moody_server(embedded: Installation, moody: MoodyDatabase) -> Iterator[Installation]:
    """An installation both of whose databases are on a server of this test's own."""
    with new_database(moody.on.server, EMPTY, Login.DAGSTER) as dagsters:
        embedded.environment |= {
            "STRAVA_DATABASE_URL": moody.address,
            "DAGSTER_POSTGRES_URL": moody.on.server.url(dagsters, Login.DAGSTER),
        }
        yield embedded
        moody.on.cheer_up()


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (lambda moody: moody.on.stop(), lambda moody: moody.on.start()),
        (MoodyDatabase.refuse_writes, MoodyDatabase.accept_writes),
    ],
    ids=["stopped", "read-only"],
)
def test_a_backfill_waits_for_its_databases_and_asks_for_nothing_twice(
    on_moody_server: Installation,
    moody: MoodyDatabase,
    start_mock: Callable[..., Mock],
    begin: Callable[[MoodyDatabase], None],
    end: Callable[[MoodyDatabase], None],
) -> None:
    mock = connected_mock(on_moody_server, start_mock, 2)
    process = on_moody_server.start(*arguments())
    assert process.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        eventually(lambda: len(asked(mock)) >= 5, "five requests of the backfill")
        begin(moody)
        eventually(lambda: any("waiting" in line for line in lines.copy()), "a backfill that says that it waits")
        end(moody)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0, "".join(lines)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
        reader.join()
        process.stdout.close()
    assert "Traceback" not in "".join(lines)
    listed, detailed, streamed = counts(on_moody_server)
    assert listed == detailed == streamed > 10
    assert run_states(on_moody_server)[-1] == "SUCCESS"
    assert set(asked(mock).values()) == {1}
