"""What a page elsewhere, or a stranger on this machine, can send to Dagster's webserver as ``up`` serves it.

The browser's session goes with each of them, as browsers may send it. What each attack wants is to add a partition.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from strava_pipeline_tests.dagster_guard.conftest import Served
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

SELECTOR = '{repositoryName: "__repository__", repositoryLocationName: "small"}'
EVIL = "https://evil.example"
JSON = ("Content-Type", "application/json")
PARTITIONS = "{ assetNodes { partitionKeys } }"
REFUSED = {400, 401, 403, 405, 415, 421}


WITHOUT_SESSION = (
    "/", "/runs", "/server_info", "/dagit_info", "/logs/x/y.out", "/favicon.ico", "/robots.txt", "/download_debug/x",
    "/notebook?path=x.ipynb", "/vendor/", "/_next/static/",
)  # fmt: skip
BOTH_LENGTHS = ("Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4")
ODD_HEADS = (
    *(
        f"POST /graphql HTTP/1.1\r\nHost: {{host}}\r\n{both}\r\n{{more}}\r\n0\r\n\r\n{{smuggled}}"
        for both in BOTH_LENGTHS
    ),
    "GET /graphql?{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: h2c\r\n{more}\r\n",
    "GET /graphql?{query} HTTP/1.0\r\n{more}\r\n",
    "GET http://{host}/graphql?{query} HTTP/1.1\r\nHost: evil.example\r\n{more}\r\n",
    "GET http://evil.example/graphql?{query} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n",
    "get /graphql?{query} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n",
)


@pytest.fixture
def name() -> str:
    """A partition that is not there yet."""
    return f"n{uuid4().hex[:8]}"


def adding(name: str) -> str:
    return (
        f'mutation {{ addDynamicPartition(repositorySelector: {SELECTOR}, partitionsDefName: "names",'
        f' partitionKey: "{name}") {{ __typename }} }}'
    )


def partitions(served: Served) -> list[str]:
    (asset,) = served.graphql(PARTITIONS)["assetNodes"]
    found: list[str] = asset["partitionKeys"]
    return found


def attacks(served: Served, name: str) -> Iterator[tuple[str, str, tuple[tuple[str, str], ...], str]]:
    """Requests that foreign pages and strangers can send: method, target, headers, body."""
    query, body = urlencode({"query": adding(name)}), json.dumps({"query": adding(name)})
    evil, cookie = ("Origin", EVIL), served.session
    yield "GET", f"/graphql?{query}", cookie, ""
    yield "GET", f"/graphql?{query}", (evil, *cookie), ""
    link = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
    yield "GET", f"/graphql?{query}", (*link, *cookie), ""
    image = (("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"))
    yield "GET", f"/graphql?{query}", (*image, *cookie), ""
    for path in ("/graphql%0A", "/%67raphql", "//graphql", "/graphql/", "/%2fgraphql", "/x/../graphql", "/./graphql"):
        yield "GET", f"{path}?{query}", cookie, ""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*"):
        yield "POST", f"/graphql?{query}", (("Content-Type", kind), *cookie), ""
    yield "POST", f"/graphql?{query}", cookie, ""
    yield "POST", "/graphql", (("Content-Type", "text/plain; application/json"), *cookie), body
    yield "POST", "/graphql", (("Content-Type", "text/plain"), JSON, *cookie), body
    yield "POST", "/graphql", (("Content-Type", "application/graphql"), *cookie), adding(name)
    for origin in (EVIL, "null", "http://127.0.0.1:9", f"http://localhost:{served.port}"):
        yield "POST", "/graphql", (JSON, ("Origin", origin), *cookie), body
    for host in ("evil.example", f"evil.example:{served.port}", f"127.0.0.1.evil.example:{served.port}", ""):
        yield "POST", "/graphql", (JSON, ("Host", host), ("Origin", f"http://{host}"), *cookie), body
    yield "POST", "/graphql", (JSON, ("Host", "127.0.0.1"), ("Host", "evil.example"), *cookie), body
    yield "POST", "/graphql", (JSON, ("Sec-Fetch-Site", "same-site"), *cookie), body
    yield "POST", "/graphql", (JSON,), body
    yield "POST", "/graphql", (JSON, ("Origin", served.origin)), body
    yield "POST", "/graphql", (JSON, ("X-Strava-Pipeline-Signature", "guessed")), body
    yield "POST", "/graphql", (JSON, ("Cookie", "strava_pipeline_operator=guessed")), body


def test_no_request_of_a_stranger_changes_anything(served: Served, name: str) -> None:
    for method, target, headers, body in attacks(served, name):
        reply = served.ask(method, target, *headers, body=body)
        assert (reply.status in REFUSED, name in partitions(served)) == (True, False), (method, target, headers, reply)


def test_what_is_refused_to_them_is_possible(served: Served, name: str) -> None:
    assert served.graphql(adding(name))["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"
    assert name in partitions(served)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize("route", ["materialization", "observation", "check"])
def test_no_event_is_reported_by_a_page_elsewhere(served: Served, route: str, kind: str | None) -> None:
    target = f"/report_asset_{route}/thing?partition=x&check_name=x&passed=true"
    typed = () if kind is None else (("Content-Type", kind),)
    for headers in (typed, (*typed, ("Origin", EVIL)), (*typed, ("Origin", "null"))):
        assert served.ask("POST", target, *headers, *served.session).status in REFUSED


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.4", "0.0.0.0"])  # noqa: S104  nothing listens there
def test_by_another_name_nothing_is_told(served: Served, host: str) -> None:
    for target in ("/", "/server_info", "/favicon.ico", "/operator/login", "/health/ready"):
        reply = served.ask("GET", target, ("Host", f"{host}:{served.port}"), *served.session)
        assert (reply.status, len(reply.text) < 200) == (421, True), target


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "POST"])
def test_no_preflight_allows_anything(served: Served, method: str) -> None:
    headers = (
        ("Origin", EVIL),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    )
    reply = served.ask(method, "/graphql", *headers)
    assert reply.status in REFUSED
    assert not [name for name in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("target", WITHOUT_SESSION)
def test_without_a_session_nothing_is_told(served: Served, target: str) -> None:
    assert served.ask("GET", target).status == 401
    assert served.ask("HEAD", target).status == 401
    assert served.ask("GET", target, ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")).status == 303


@pytest.mark.parametrize(
    ("origin", "host", "with_session"),
    [
        (EVIL, None, True),
        ("null", None, True),
        ("http://127.0.0.1:9", None, True),
        ("http://evil.example", "evil.example", True),
        (None, "evil.example", True),
        (None, None, False),
        ("own", None, False),
    ],
)
def test_no_websocket_of_a_stranger_is_opened(
    served: Served, origin: str | None, host: str | None, with_session: bool
) -> None:
    page = served.origin if origin == "own" else origin
    cookie = dict(served.session) if with_session else {}
    # The name in the address becomes the header; the connection itself goes to the server.
    with socket.create_connection(("127.0.0.1", served.port)) as line, pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://{host or '127.0.0.1'}:{served.port}/graphql",
            sock=line,
            origin=None if page is None else Origin(page),
            additional_headers=cookie,
            subprotocols=[Subprotocol("graphql-ws")],
        )
    assert refused.value.response.status_code in REFUSED


def test_a_second_request_on_the_line_is_judged_by_itself(served: Served, name: str) -> None:
    first = f"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n"
    second = f"GET /graphql?query={quote(adding(name))} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as line:
        line.sendall((first + second).encode())
        answers = b"".join(iter(lambda: line.recv(4096), b""))
    assert b" 421 " in answers
    assert name not in partitions(served)


@pytest.mark.parametrize("head", ODD_HEADS)
def test_odd_requests_on_the_wire_change_nothing(served: Served, name: str, head: str) -> None:
    query, host = f"query={quote(adding(name))}", f"127.0.0.1:{served.port}"
    more = f"Connection: close\r\nCookie: {served.cookie}\r\n"
    smuggled = f"GET /graphql?{query} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as line:
        line.sendall(head.format(host=host, query=query, more=more, smuggled=smuggled).encode())
        answers = b"".join(iter(lambda: line.recv(4096), b""))
    assert answers.startswith(b"HTTP/1.1 4")
    assert b" 200 " not in answers
    assert name not in partitions(served)
