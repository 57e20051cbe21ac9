"""The code server's command: where it listens, that it serves our definitions, and forks its runs."""

from __future__ import annotations

import threading
from logging import getLogger

import pytest
from click.testing import CliRunner
from dagster._cli.api import grpc_command
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc import server
from dagster._grpc.server import DagsterApiServer

from strava_pipeline.cli import cli
from strava_pipeline.settings import Settings


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments with which Dagster's own command was called; it serves nothing here."""
    given: list[list[str]] = []
    monkeypatch.setattr(server, "DagsterApiServer", DagsterApiServer)
    monkeypatch.setattr(grpc_command, "main", lambda words, **_: given.append(words))
    return given


@pytest.mark.parametrize("options", [(), ("--socket", "a", "--port", "4000")])
def test_it_listens_at_one_place(served: list[list[str]], options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["code-server", *options])
    assert (done.exit_code, served) == (2, [])
    assert "name either a --socket or a --port" in done.output


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--socket", "/run/code"), ["--socket", "/run/code"]),
        (("--port", "4000"), ["--host", "127.0.0.1", "--port", "4000"]),
        (("--port", "4000", "--host", "10.0.0.1"), ["--host", "10.0.0.1", "--port", "4000"]),
    ],
)
def test_it_serves_what_workspaces_name(served: list[list[str]], options: tuple[str, ...], where: list[str]) -> None:
    done = CliRunner().invoke(cli, ["code-server", *options])
    assert done.exit_code == 0
    (words,) = served
    assert words[: len(where)] == where
    assert words[words.index("--module-name") + 1] == "strava_pipeline.definitions"
    assert words[words.index("--attribute") + 1] == "own_process_defs"


@pytest.mark.parametrize(("form", "told"), [("text", "colored"), ("json", "json")])
def test_it_writes_json_if_our_parts_do(
    served: list[list[str]], monkeypatch: pytest.MonkeyPatch, form: str, told: str
) -> None:
    monkeypatch.setenv("STRAVA_LOG_FORMAT", form)
    CliRunner().invoke(cli, ["code-server", "--port", "4000"])
    (words,) = served
    assert words[words.index("--log-format") + 1] == told


def test_its_runs_are_forked(served: list[list[str]]) -> None:
    CliRunner().invoke(cli, ["code-server", "--port", "4000"])
    made = server.DagsterApiServer(
        server_termination_event=threading.Event(),
        logger=getLogger(__name__),
        server_threadpool_executor=FuturesAwareThreadPoolExecutor(),
    )
    assert made._mp_ctx.get_start_method() == "forkserver"
