"""What is refused whoever asks, over all that a page elsewhere can have a browser send, and more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strava_pipeline.dagster_guard.asked import RequestHead, request_head
from strava_pipeline.dagster_guard.rules import check_request
from strava_pipeline.web.request_signature import HEADER
from strava_pipeline_tests.dagster_guard.asking import FORM, HERE, HOST, JSON, asked, door, scope_of

LINK = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "post", "BREW")
FOREIGN_ORIGINS = (
    "https://evil.example", "null", "", "http://127.0.0.1:9999", "http://127.0.0.1", "https://127.0.0.1",
    "http://localhost:3000", "http://127.0.0.1:3000.evil.example", "http://127.0.0.1:3000@evil.example",
    "http://evil.example:3000", "file://", "chrome-extension://abc", f"{HERE}/", f"{HERE} https://evil.example",
)  # fmt: skip
FOREIGN_HOSTS = (
    "evil.example", "evil.example:3000", "", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost",
    "127.0.0.1:3000@evil.example", "127.0.0.1, evil.example", "0.0.0.0:3000", "127.0.0.2", "127.1", "2130706433",
    "0x7f.1", "[::]:3000", "[::ffff:127.0.0.1]", "localhost.", "localhost:", "localhost:99999", "192.168.1.4:3000",
    "example.org", "xdagster.example.org",
)  # fmt: skip
FORGEABLE_TYPES = (
    None, "", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x", "application/graphql", "text/plain; application/json",
    "text/plain;application/json", "application/jsonp", "application/json, text/plain", "application/json+x",
    "x-application/json", "application/octet-stream", "json", "*/*",
)  # fmt: skip
GRAPHQL_PATHS = (
    "/graphql", "/graphql/", "//graphql", "/%67raphql", "/%2fgraphql", "/x/../graphql", "/./graphql", "/GraphQL",
    "/graphql%20", "/x/%2e%2e/graphql",
)  # fmt: skip


def status_of(request: RequestHead, **changed: object) -> int | None:
    found = check_request(request, door(**changed), forms_at=frozenset({"/operator/login"}))
    return None if found is None else found.status


def to_host(host: str, *headers: tuple[str, str], method: str = "GET", websocket: bool = False) -> RequestHead:
    return request_head(
        scope_of(method, "/graphql" if websocket else "/", (("Host", host), *headers), websocket=websocket)
    )


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:3000", "localhost:8", "LocalHost", "[::1]", "[::1]:3000", "dagster.example.org:8443"],
)
@pytest.mark.parametrize("websocket", [False, True])
def test_known_names_are_served_on_any_port(host: str, websocket: bool) -> None:
    assert status_of(to_host(host, websocket=websocket)) is None


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("websocket", [False, True])
def test_other_names_are_refused(host: str, websocket: bool) -> None:
    assert status_of(to_host(host, websocket=websocket)) == 421
    # Whatever else the request says for itself.
    assert status_of(to_host(host, ("Origin", f"http://{host}"), JSON, method="POST")) == 421
    assert status_of(to_host(host, ("X-Forwarded-Host", "localhost"), ("Forwarded", "host=localhost"))) == 421


@pytest.mark.parametrize("method", METHODS)
def test_no_name_or_two_names_are_refused(method: str) -> None:
    assert status_of(request_head(scope_of(method, "/", ()))) == 421
    assert status_of(asked(method, "/", HOST)) == 421
    assert status_of(asked(method, "/", ("Host", "evil.example"))) == 421


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("method", METHODS)
def test_pages_of_other_origins_may_ask_nothing(method: str, origin: str) -> None:
    for path in ("/graphql", "/", "/logs/x", "/report_asset_materialization/a", "/anything/new"):
        assert status_of(asked(method, path, ("Origin", origin), JSON)) == 403


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_their_websockets_are_refused(origin: str) -> None:
    assert status_of(request_head(scope_of("GET", "/graphql", (HOST, ("Origin", origin)), websocket=True))) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "anything"])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_browser_says_comes_from_another_site_is_refused(method: str, site: str) -> None:
    for more in (
        (),
        (("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")),
        (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")),
    ):
        assert status_of(asked(method, "/", ("Sec-Fetch-Site", site), JSON, *more)) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_on_another_site_may_be_followed_and_nothing_more(site: str) -> None:
    link = (("Sec-Fetch-Site", site), *LINK[1:])
    assert status_of(asked("GET", "/runs", *link)) is None
    for method in set(METHODS) - {"GET"}:
        assert status_of(asked(method, "/runs", JSON, *link)) == 403
    assert status_of(request_head(scope_of("GET", "/graphql", (HOST, *link), websocket=True))) == 403


@pytest.mark.parametrize("path", GRAPHQL_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?query=mutation{x}", "?operationName=x", "?%71uery=x"])
def test_graphql_is_not_asked_by_get(path: str, method: str, query: str) -> None:
    assert status_of(asked(method, path + query)) == 405
    assert status_of(asked(method, path + query, ("Accept", "text/html"))) == 405
    if method == "GET":
        assert status_of(asked(method, path + query, *LINK)) == 405


@pytest.mark.parametrize(
    "path",
    ["/graphql%0A", "/graphql%00", "/graphql%0d", "/graphql\\", "/%5cgraphql", "/a%09b", "graphql", "*", "", "/%7f"],
)
@pytest.mark.parametrize("method", METHODS)
def test_odd_paths_are_refused(path: str, method: str) -> None:
    assert status_of(asked(method, path, JSON)) == 400


@pytest.mark.parametrize("kind", FORGEABLE_TYPES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "BREW", "PROPFIND"])
def test_what_changes_something_is_json_on_every_route(method: str, kind: str | None) -> None:
    headers = () if kind is None else (("Content-Type", kind),)
    for path in (*GRAPHQL_PATHS, "/", "/report_asset_check/a", "/report_asset_observation/a", "/not/known/yet"):
        assert status_of(asked(method, path, ("Origin", HERE), *headers)) == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json;charset=utf-8", "Application/JSON ; charset=utf-8"]
)
@pytest.mark.parametrize("origin", [None, HERE])
def test_json_of_our_own_pages_and_of_programs_passes(kind: str, origin: str | None) -> None:
    headers = () if origin is None else (("Origin", origin), ("Sec-Fetch-Site", "same-origin"))
    for path in ("/graphql", "/report_asset_materialization/a"):
        assert status_of(asked("POST", path, ("Content-Type", kind), *headers)) is None


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "TRACK", "CONNECT"])
def test_methods_that_only_tell_or_tunnel_are_not_answered(method: str) -> None:
    assert status_of(asked(method, "/", JSON)) == 405
    assert status_of(asked(method, "/graphql", JSON, ("Origin", HERE))) == 405


def test_a_form_is_sent_to_a_page_of_forms_alone() -> None:
    assert status_of(asked("POST", "/operator/login", FORM, ("Origin", HERE))) is None
    assert status_of(asked("POST", "/operator/login", JSON, ("Origin", HERE))) == 415
    for path in ("/operator/login/", "//operator/login", "/operator/login2", "/graphql"):
        assert status_of(asked("POST", path, FORM, ("Origin", HERE))) == 415


@pytest.mark.parametrize(
    "name",
    ["Origin", "Content-Type", "Content-Length", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", HEADER],
)
def test_what_counts_once_is_not_said_twice(name: str) -> None:
    good = {"Origin": HERE, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}.get(name, "1")
    assert status_of(asked("POST", "/graphql", JSON, (name, good), (name, good))) == 400


def test_the_page_itself_is_loaded_by_people_and_programs() -> None:
    assert status_of(asked("GET", "/")) is None
    assert status_of(asked("GET", "/runs?q=x", ("Sec-Fetch-Site", "none"), *LINK[1:])) is None
    own = (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"))
    assert status_of(asked("GET", "/_next/static/a.js", *own)) is None
    # Dagster's UI shows notebooks so.
    assert (
        status_of(
            asked(
                "GET",
                "/notebook",
                ("Sec-Fetch-Site", "same-origin"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "iframe"),
            )
        )
        is None
    )


def test_where_browsers_come_by_https_a_page_that_came_without_is_a_strangers() -> None:
    page = to_host("dagster.example.org", ("Origin", "http://dagster.example.org"), JSON, method="POST")
    assert status_of(page) is None
    assert status_of(page, over_tls=True) == 403
    secure = replace(page, headers={**page.headers, "origin": ("https://dagster.example.org",)})
    assert status_of(secure, over_tls=True) is None
    # On the machine itself there is no TLS, and nobody in between.
    assert status_of(asked("POST", "/graphql", ("Origin", HERE), JSON), over_tls=True) is None
