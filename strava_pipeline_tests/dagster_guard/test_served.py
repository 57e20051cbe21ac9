"""What whoever is logged in can do at Dagster's webserver as ``up`` serves it, and our own processes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, make_url
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from strava_pipeline.local.postgres import Server
from strava_pipeline.secret import Secret
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.access_tables import operator_sessions
from strava_pipeline.web.operator_door import dagster_signing_key
from strava_pipeline.web.request_signature import HEADER
from strava_pipeline_tests.conftest import TOKEN_KEY
from strava_pipeline_tests.dagster_guard.conftest import TOKEN, Served, most_files, serving
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.placed import a_place
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge.dagster_api import launch_run, runs_to_come
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable

# More than Dagster may have files open unless it asks for more, and more than the guard takes.
STRANGERS = 2000
LOGS = """
subscription Logs($run: ID!) {
  pipelineRunLogs(runId: $run, cursor: null) {
    ... on PipelineRunLogsSubscriptionSuccess { messages { ... on MessageEvent { message } } }
  }
}
"""
RELOAD = 'mutation { reloadRepositoryLocation(repositoryLocationName: "small") { __typename } }'
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"


@pytest.fixture
def bridge(served: Served, monkeypatch: pytest.MonkeyPatch) -> DagsterServer:
    """Dagster as the bridge finds it by its settings."""
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", served.origin)
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", TOKEN_KEY)
    return DagsterServer.from_settings(load_settings())


@contextmanager
def open_socket(served: Served, cookie: str) -> Iterator[ClientConnection]:
    """As Dagster's UI opens one."""
    with connect(
        f"ws://127.0.0.1:{served.port}/graphql",
        origin=Origin(served.origin),
        additional_headers={"Cookie": cookie},
        subprotocols=[Subprotocol("graphql-ws")],
    ) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(socket.recv(PATIENCE_SECONDS)) == {"type": "connection_ack"}
        yield socket


def test_the_ui_and_its_files_are_served(served: Served) -> None:
    page = served.ask("GET", "/runs", ("Accept", "text/html"), *served.session)
    assert page.status == 200
    assert 'id="root"' in page.text
    assert json.loads(served.ask("GET", "/server_info", *served.session).text)["dagster_version"]
    for path in ("/favicon.ico", "/manifest.json", "/robots.txt"):
        file = served.ask("GET", path, *served.session)
        assert (file.status, file.headers["x-content-type-options"]) == (200, "nosniff")


def test_it_says_where_it_listens_and_nothing_of_dagsters_makers(server: Server, template: str, tmp_path: Path) -> None:
    """Of an instance of somebody's own, who has left Dagster's file as it came."""
    with serving(server, template, tmp_path, "") as served:
        said = served.log.read_text(encoding="utf-8")
    assert said == f"Dagster listening on {served.origin}, for the logged-in operator\n"


def test_the_bridge_launches_runs_without_a_session(served: Served, bridge: DagsterServer) -> None:
    assert runs_to_come(bridge, ["no run"]) == set()
    with pytest.raises(DagsterUnavailable, match="does not let us in"):
        runs_to_come(DagsterServer(bridge.url, Secret("of other keys")), ["no run"])
    run_id = launch_run(bridge, a_place("small"), "small_job", {}, {})
    runs = served.graphql(RUNS)["runsOrError"]["results"]
    assert run_id in {run["runId"] for run in runs}


def test_what_the_bridge_sends_serves_nobody_else(served: Served, bridge: DagsterServer) -> None:
    # Somebody took the port while Dagster was down.
    with Loopback() as thief:
        thief.answers(reply({}))
        with pytest.raises(DagsterUnavailable):
            runs_to_come(replace(bridge, url=thief.url), ["no run"])
        [sent] = thief.asked
    seen = tuple((name, value) for name, value in sent.headers.items() if name not in {"Host", "Content-Length"})
    for target in ("/server_info", "/"):
        assert served.ask("GET", target, *seen).status == 401
    # What the bridge wanted itself can be sent on once, while it is fresh.
    again = [served.ask("POST", "/graphql", *seen, body=sent.body.decode()).status for _ in range(2)]
    assert again == [200, 401]


def test_logs_of_a_run_come_by_the_websocket(served: Served, bridge: DagsterServer) -> None:
    run_id = launch_run(bridge, a_place("small"), "small_job", {}, {})
    with open_socket(served, served.cookie) as socket:
        start = {"type": "start", "id": "1", "payload": {"query": LOGS, "variables": {"run": run_id}}}
        socket.send(json.dumps(start))
        told = json.loads(socket.recv(PATIENCE_SECONDS))
    assert told["type"] == "data"
    assert told["payload"]["data"]["pipelineRunLogs"]["messages"] is not None


def test_logging_out_elsewhere_ends_an_open_websocket(served: Served) -> None:
    cookie = served.log_in()
    with open_socket(served, cookie) as socket, open_socket(served, served.cookie) as another:
        form = (("Content-Type", "application/x-www-form-urlencoded"), ("Origin", served.origin))
        assert served.ask("POST", "/operator/logout", *form, ("Cookie", cookie)).status == 303
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "logged out")
        # That of somebody else goes on.
        another.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(another.recv(PATIENCE_SECONDS)) == {"type": "connection_ack"}
    assert served.ask("GET", "/server_info", ("Cookie", cookie)).status == 401


def test_a_session_ended_in_the_database_is_ended_here(served: Served) -> None:
    cookie = served.log_in()
    assert served.ask("GET", "/server_info", ("Cookie", cookie)).status == 200
    engine = open_engine(make_url(served.database))
    with engine.begin() as connection:
        newest = operator_sessions.c.expires_at.desc()
        found = connection.execute(operator_sessions.select().order_by(newest)).first()
        assert found is not None
        connection.execute(delete(operator_sessions).where(operator_sessions.c.secret_hash == found.secret_hash))
    engine.dispose()
    assert served.ask("GET", "/server_info", ("Cookie", cookie)).status == 401


def test_no_secret_stands_in_the_log(served: Served, bridge: DagsterServer) -> None:
    served.ask("GET", "/operator/sign-in?token=a-link-of-somebody")
    served.ask("GET", f"/?token={TOKEN}", (HEADER, "wrong"))
    runs_to_come(bridge, ["no run"])
    log = served.log.read_text(encoding="utf-8")
    for secret in (
        "a-link-of-somebody",
        TOKEN,
        dagster_signing_key(load_settings()).reveal(),
        served.cookie.partition("=")[2],
    ):
        assert secret not in log


def reload_by(early: HTTPConnection, served: Served) -> Any:
    """Have the code location loaded anew; by another connection once there is room, should this one be too old."""
    headers = {"Content-Type": "application/json", **dict(served.session)}

    def answer() -> Any:
        try:
            early.request("POST", "/graphql", json.dumps({"query": RELOAD}), headers)
            return json.loads(early.getresponse().read())
        except (ConnectionError, HTTPException):
            early.close()
            return None

    return eventually(answer, "room for another connection")


def test_strangers_who_connect_and_say_nothing_keep_nobody_out(served: Served) -> None:
    early = HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_SECONDS)
    early.connect()
    with most_files(2 * STRANGERS), ExitStack() as held, open_socket(served, served.cookie) as websocket:
        for _ in range(STRANGERS):
            held.enter_context(socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS))
        # Who came before is served, and Dagster has files to spare for its code locations.
        told = reload_by(early, served)
        assert told["data"] == {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}
        websocket.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(websocket.recv(PATIENCE_SECONDS)) == {"type": "connection_ack"}
    early.close()
    assert served.graphql(RUNS)["runsOrError"]
