"""Dagster's webserver as ``up`` serves it, with a small code location, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.services import dagster_services
from strava_pipeline.local.supervisor import Supervisor
from strava_pipeline_tests.conftest import TOKEN_KEY, new_database
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

TOKEN = "a-token-of-the-operator"
WORKSPACE = """\
load_from:
  - python_file: {relative_path: %s, location_name: small}
"""
QUIET = "telemetry: {enabled: false}\nnux: {enabled: false}\n"
# What most systems give a process.
USUAL_FILES = 1024


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its headers by name in lower case (the last of each), its body."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def data(self) -> Any:
        """What GraphQL answered."""
        return json.loads(self.text)["data"]


@dataclass(frozen=True)
class Served:
    """A running webserver, and the session of whoever has logged in there ('' where nobody can)."""

    port: int
    database: str
    log: Path
    cookie: str = ""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, target: str, *headers: tuple[str, str], body: str = "") -> Reply:
        """Send exactly these headers; ``Host`` is the server's own unless one is among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        own = () if any(name == "Host" for name, _ in headers) else (("Host", f"127.0.0.1:{self.port}"),)
        length = (("Content-Length", str(len(body.encode()))),) if body or method == "POST" else ()
        for name, value in (*own, *headers, *length):
            connection.putheader(name, value)
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        found = Reply(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read().decode("utf-8", "replace"),
        )
        connection.close()
        return found

    def graphql(self, query: str, **variables: object) -> Any:
        """What Dagster's own UI gets when it asks this, logged in."""
        body = json.dumps({"query": query, "variables": variables})
        headers = (("Content-Type", "application/json"), ("Origin", self.origin), *self.session)
        reply = self.ask("POST", "/graphql", *headers, body=body)
        assert reply.status == 200, reply
        return reply.data

    @property
    def session(self) -> tuple[tuple[str, str], ...]:
        """The cookie that a browser sends with whatever page asks."""
        return (("Cookie", self.cookie),) if self.cookie else ()

    def log_in(self) -> str:
        """Log in by the form; returns the cookie, or '' from a server that has no login."""
        form = (("Content-Type", "application/x-www-form-urlencoded"), ("Origin", self.origin))
        reply = self.ask("POST", "/operator/login", *form, body=urlencode({"token": TOKEN}))
        return reply.headers.get("set-cookie", "").partition(";")[0]


@contextmanager
def most_files(count: int) -> Iterator[None]:
    """This process, and those it starts meanwhile, may open as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def served(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The webserver that ``up`` starts, logged in."""
    with serving(server, template, tmp_path_factory.mktemp("served"), QUIET) as served:
        yield replace(served, cookie=served.log_in())


@contextmanager
def serving(server: Server, template: str, home: Path, instance: str) -> Iterator[Served]:
    """The webserver that ``up`` starts, with an instance file in its home; nobody is logged in."""
    (home / "dagster.yaml").write_text(instance, encoding="utf-8")
    workspace = home / "small.yaml"
    workspace.write_text(WORKSPACE % json.dumps(str(Path(__file__).parent / "small_location.py")), encoding="utf-8")
    with (
        new_database(server, template) as name,
        open_listener("127.0.0.1", 0, "the test") as listener,
        Supervisor() as supervisor,
    ):
        port = listener.getsockname()[1]
        database = server.url(name, Login.PIPELINE)
        environment = {
            "STRAVA_HOME": str(home),
            "STRAVA_DATABASE_URL": database,
            "STRAVA_TOKEN_KEYS": TOKEN_KEY,
            "STRAVA_OPERATOR_TOKEN": TOKEN,
            "DAGSTER_HOME": str(home),
        }
        service = dagster_services(home, listener, workspace, os.environ | environment)[0]
        with most_files(USUAL_FILES):
            supervisor.start(replace(service, environment=environment))
        supervisor.wait_until_ready()
        yield Served(port, database, service.log)
