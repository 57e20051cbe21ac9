"""Several processes meet one athlete's expired token, and some are killed: one refreshes it, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock
from strava_pipeline_tests.warehouse.tokens.connected_store import audited, journal, user
from strava_pipeline_tests.warehouse.tokens.token_endpoint import Mode, TokenEndpoint
from strava_pipeline_tests.warehouse.tokens.token_processes import (
    POINTS,
    RIDER,
    TokenProcesses,
    gate_closed,
    wait_for_death,
)

# Whether the tokens had left Strava, and had not reached the journal: then the answer is lost with the process.
LOST = {"call", "answer"}


@pytest.fixture
def processes(settings: Settings, loopback: Loopback) -> Iterator[TokenProcesses]:
    """Processes that refresh at the loopback server, ended with the test."""
    processes = TokenProcesses.begin(STRAVA_OAUTH_URL=loopback.url)
    yield processes
    processes.end()


@pytest.mark.parametrize("mode", Mode)
def test_expired_token_is_refreshed_once_by_six_processes(
    store: PostgresTokenStore, processes: TokenProcesses, loopback: Loopback, mode: Mode
) -> None:
    endpoint = TokenEndpoint(mode, before_answering=lambda _: wait_for_a_lock(store.engine, waiting=5))
    loopback.answer = endpoint.answer
    with gate_closed(store.engine):
        crowd = [processes.fork("meet canary-access-1") for _ in range(6)]
    assert [processes.report(process) for process in crowd] == ["token canary-access-2"] * 6
    assert endpoint.calls == 1
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "ok")]


def test_a_failure_is_met_once_by_all_processes(
    store: PostgresTokenStore, processes: TokenProcesses, loopback: Loopback
) -> None:
    endpoint = TokenEndpoint(Mode.ROTATING, before_answering=lambda _: wait_for_a_lock(store.engine, waiting=2))
    endpoint.revoked = True
    loopback.answer = endpoint.answer
    with gate_closed(store.engine):
        crowd = [processes.fork("meet canary-access-1") for _ in range(3)]
    assert [processes.report(process) for process in crowd] == ["error NeedsReauthorization"] * 3
    assert endpoint.calls == 1
    assert audited(store.engine) == [("exchange", "ok"), ("refresh", "failed")]


@pytest.mark.parametrize("mode", [Mode.SAME, Mode.REVOKING])
@pytest.mark.parametrize("point", [*POINTS, "call"])
def test_a_process_killed_anywhere_loses_nothing_that_could_be_kept(
    store: PostgresTokenStore, processes: TokenProcesses, loopback: Loopback, mode: Mode, point: str
) -> None:
    def kill_in_its_first_call(call: int) -> None:
        if point == "call" and call == 1:
            processes.kill(process)

    endpoint = TokenEndpoint(mode, before_answering=kill_in_its_first_call)
    loopback.answer = endpoint.answer
    with gate_closed(store.engine):
        process = processes.fork(f"meet canary-access-1 {point}")
    wait_for_death(process)

    heir = processes.report(processes.fork("meet canary-access-1"))
    if point in LOST and mode is Mode.REVOKING:
        assert heir == "error NeedsReauthorization"
        assert user(store.engine).state == "needs_reauth"
    else:
        assert heir == f"token {endpoint.access_token}"
        assert store.access_token(RIDER).reveal() == endpoint.access_token
        assert store.token_pair(RIDER).refresh_token.reveal() == endpoint.refresh_token
        assert journal(store.engine) == []
    assert endpoint.calls == (2 if point in LOST else 1)
