"""nginx and Caddy with the configurations of ``deploy/proxies``, a real bridge and a guarded Dagster behind them."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from sqlalchemy import Engine, insert, select
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests import patient_bridge
from strava_pipeline_tests.conftest import OPERATOR_TOKEN, SETTINGS, new_database, opened
from strava_pipeline_tests.dagster_guard import small_location
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.proxied import (
    DAGSTER_NAME,
    OPERATOR,
    PUBLIC_NAME,
    STRANGER,
    Answer,
    Browser,
    Ports,
    Proxy,
)
from strava_pipeline_tests.proxies import NAMES, running_proxy
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcesses
from strava_pipeline_tests.webhook_bridge.deliveries import RIDER, delivery, signed
from strava_pipeline_tests.webhook_bridge.uploads import Uploader, archive, json_of
from webhook_bridge.bad_requests import PER_MINUTE
from webhook_bridge.upload_tickets import PART_BYTES

PATH_TOKEN = "unguessable-part-of-the-path"
METRICS_TOKEN = "a-token-of-the-metrics"
WEBHOOK = f"/webhooks/strava/{PATH_TOKEN}"
HSTS = "max-age=31536000"
# Strava gives an answer two seconds.
STRAVAS_PATIENCE_SECONDS = 2
SLOW_CLIENTS = 200
TEN_MEGABYTES = 10**7
# Caddy 2.6 answers 502 where it ends a request that it has begun to pass on.
TOO_LARGE = {413, 502}
GUESSES = 3
A_BUFFER = 32_768


@dataclass(frozen=True)
class Behind:
    """The servers behind a proxy, and the database that they share."""

    ports: Ports
    engine: Engine


@pytest.fixture(scope="module")
def behind(
    server: Server, template: str, warm_processes: WarmProcesses, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    """A bridge and Dagster's webserver behind the guard, as they are set up for a proxy in front."""
    home, ports = tmp_path_factory.mktemp("behind"), Ports()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n", encoding="utf-8")
    workspace = home / "small.yaml"
    place = {"python_file": {"relative_path": small_location.__file__, "location_name": "small"}}
    workspace.write_text(json.dumps({"load_from": [place]}), encoding="utf-8")
    with new_database(server, template) as name, opened(server.url(name, Login.PIPELINE)) as engine:
        with engine.begin() as connection:
            connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
        variables = os.environ | SETTINGS | {
            "STRAVA_HOME": str(home),
            "DAGSTER_HOME": str(home),
            "STRAVA_DATABASE_URL": server.url(name, Login.PIPELINE),
            "STRAVA_BRIDGE_PUBLIC_URL": f"https://{PUBLIC_NAME}:{ports.https}",
            "STRAVA_DAGSTER_HOSTS": DAGSTER_NAME,
            "STRAVA_TRUSTED_PROXIES": "1",
            "STRAVA_WEBHOOK_PATH_TOKEN": PATH_TOKEN,
            "STRAVA_METRICS_TOKEN": METRICS_TOKEN,
            "DAGSTER_WEBSERVER_URL": f"http://127.0.0.1:{ports.dagster}",
        }  # fmt: skip
        commands = [
            (patient_bridge.__name__, "--port", str(ports.bridge)),
            (COMMAND, "dagster-webserver", "-w", str(workspace), "-p", str(ports.dagster)),
        ]
        processes = [
            warm_processes.start_silent(module, *command, env=variables, output=home / f"{module}.log")
            for module, *command in commands
        ]
        try:
            eventually(lambda: _answers(ports.bridge, "/health/live"), "a bridge that answers")
            eventually(lambda: _answers(ports.dagster, "/health/ready"), "a Dagster that answers")
            yield Behind(ports, engine)
        finally:
            for process in processes:
                process.send_signal(15)
                process.wait(PATIENCE_SECONDS)


def _answers(port: int, path: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS).ok
    return False


@pytest.fixture(scope="module", params=NAMES)
def proxy(request: pytest.FixtureRequest, behind: Behind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Each of the proxies in turn."""
    with running_proxy(request.param, tmp_path_factory.mktemp(request.param), behind.ports) as proxy:
        yield proxy


@pytest.fixture
def engine(behind: Behind) -> Engine:
    """The database behind, without events and audits of earlier tests."""
    with behind.engine.begin() as connection:
        for table in (webhook_events, operator_audit):
            connection.execute(table.delete())
    return behind.engine


def stored(engine: Engine) -> list[int]:
    """The activities of all events in the inbox."""
    with engine.connect() as connection:
        return [*connection.execute(select(webhook_events.c.object_id)).scalars()]


def deliver(proxy: Proxy, number: int, path: str = WEBHOOK) -> Answer:
    """Deliver an event as Strava does."""
    body = delivery(object_id=number)
    return proxy.send("POST", path, headers=signed(body), body=body)


def logged_in(proxy: Proxy) -> Browser:
    """The operator, who has logged in to the bridge's page by its form."""
    browser = Browser(proxy)
    form = urlencode({"token": OPERATOR_TOKEN, "csrf": csrf_of(browser.get("/login"))})
    assert browser.post("/login", form).status == 303
    return browser


def logged_in_to_dagster(proxy: Proxy) -> Browser:
    """The operator, who has logged in to Dagster."""
    browser = Browser(proxy, DAGSTER_NAME)
    assert browser.get("/operator/login").status == 200
    assert browser.post("/operator/login", urlencode({"token": OPERATOR_TOKEN})).status == 303
    return browser


def csrf_of(page: Answer) -> str:
    """The token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found is not None, page
    return found[1]


def test_a_signed_delivery_is_stored(proxy: Proxy, engine: Engine) -> None:
    answer = deliver(proxy, 1)
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "new"})
    assert stored(engine) == [1]


def test_strava_shakes_hands(proxy: Proxy) -> None:
    query = urlencode({"hub.mode": "subscribe", "hub.challenge": "c1", "hub.verify_token": "verify-token"})
    answer = proxy.send("GET", f"{WEBHOOK}?{query}")
    assert (answer.status, json.loads(answer.body)) == (200, {"hub.challenge": "c1"})


@pytest.mark.parametrize(
    "path", ["/connect", "/oauth/connected", "/static/pages.css", "/mail/unsubscribe/x", "/archive/upload/x"]
)
def test_athletes_reach_their_pages(proxy: Proxy, path: str) -> None:
    assert proxy.send("GET", path).is_of_the_bridge


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/login/once/x",
        "/months/1/2024-01",
        "/athletes/1/archive",
        "/invites",
        "/imports",
        "/wp-login.php",
        "/connected",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_of_the_operators_pages_strangers_see_nothing(proxy: Proxy, method: str, path: str) -> None:
    answer = proxy.send(method, path)
    assert (answer.status, answer.is_of_the_bridge) == (404, False)


@pytest.mark.parametrize("source", [OPERATOR, STRANGER])
@pytest.mark.parametrize(
    "path",
    [
        "/metrics", "/metrics/", "//metrics", "/./metrics", "/static/../metrics", "/static/%2e%2e/metrics",
        "/static/..%2fmetrics", "/%6detrics", "/webhooks/strava/../../metrics", "/health/live", "/health/ready",
        "/webhooks/other",
    ],
)  # fmt: skip
def test_metrics_and_health_are_for_nobody_here_however_they_are_spelled(proxy: Proxy, source: str, path: str) -> None:
    answer = proxy.send("GET", path, source=source, headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    assert answer.status in {400, 404}
    assert b"strava_pipeline_" not in answer.body
    assert b"ok" not in answer.body.splitlines()


def test_strangers_do_not_reach_dagster(proxy: Proxy) -> None:
    for method in ("GET", "POST"):
        answer = proxy.send(method, "/operator/login", name=DAGSTER_NAME)
        assert (answer.status, b"token" in answer.body) == (404, False)


@pytest.mark.parametrize(
    ("name", "host"), [("other.example.org", "other.example.org"), (PUBLIC_NAME, "other.example.org")]
)
def test_by_other_names_nothing_is_served(proxy: Proxy, name: str, host: str) -> None:
    # Or there is no TLS by this name, or the connection ends without an answer.
    with suppress(OSError):
        answer = proxy.send("GET", "/static/pages.css", name=name, headers={"Host": host})
        assert (answer.status, answer.is_of_the_bridge) == (421, False)


def test_http_leads_to_https(proxy: Proxy) -> None:
    answer = proxy.send_plain("/connect?invite=x")
    location = answer.header("location") or ""
    assert answer.status == 308
    assert re.fullmatch(rf"https://{PUBLIC_NAME}(:\d+)?/connect\?invite=x", location)


def test_browsers_come_by_https_from_then_on(proxy: Proxy) -> None:
    answers = [
        deliver(proxy, 2),
        proxy.send("GET", "/connect"),
        proxy.send("GET", "/login"),
        proxy.send("GET", "/", name=DAGSTER_NAME, source=OPERATOR),
    ]
    assert [answer.header("strict-transport-security") for answer in answers] == [HSTS] * len(answers)
    assert all("nginx/" not in (answer.header("server") or "") for answer in answers)


def test_ten_megabytes_are_refused(proxy: Proxy, engine: Engine) -> None:
    with proxy.over_tls() as connection:
        head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: {PUBLIC_NAME}\r\nContent-Length: {TEN_MEGABYTES}\r\n\r\n"
        with suppress(OSError):  # the connection may be closed before all is sent
            connection.sendall(head.encode() + b"x" * TEN_MEGABYTES)
        status = connection.recv(65536).split(maxsplit=2)[1]
    assert int(status) in TOO_LARGE
    assert stored(engine) == []


def test_ten_megabytes_in_chunks_are_refused(proxy: Proxy, engine: Engine) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(TEN_MEGABYTES // 65536):
            yield b"x" * 65536

    with suppress(OSError):  # the connection may be closed before all is sent
        assert proxy.send("POST", WEBHOOK, body=chunks()).status in TOO_LARGE
    assert stored(engine) == []
    assert deliver(proxy, 3).status == 200


def test_a_stranger_sends_no_part_of_an_upload(proxy: Proxy) -> None:
    """The answer comes before the body is there: Caddy passes on what fills a buffer of its own."""
    with proxy.over_tls() as connection:
        head = f"PUT /archive/parts/1 HTTP/1.1\r\nHost: {PUBLIC_NAME}\r\nContent-Length: {PART_BYTES}\r\n\r\n"
        connection.sendall(head.encode() + b"x" * A_BUFFER)
        assert connection.recv(65536).split(maxsplit=2)[1] == b"403"
        with suppress(OSError):
            connection.sendall(b"x" * TEN_MEGABYTES)


def test_an_athlete_uploads_by_a_link(proxy: Proxy, engine: Engine) -> None:
    athlete_id = {"nginx": 501, "caddy": 502}[proxy.name]
    operator = logged_in(proxy)
    page = f"/athletes/{athlete_id}/archive"
    assert operator.post(f"{page}/links", urlencode({"csrf": csrf_of(operator.get(page))})).status == 303
    link = re.search(r'id="new-link" type="text" readonly value="https://[^/]+(/[^"]+)"', operator.get(page).text)
    assert link is not None
    browser = Browser(proxy, source=STRANGER)

    def send(
        method: str, path: str, headers: Mapping[str, str], body: bytes | dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if isinstance(body, dict):
            answer = browser.post(path, urlencode(body))
        else:
            told = {"Origin": browser.origin, "Cookie": browser.cookie, **headers}
            answer = proxy.send(method, path, headers=told, body=body)
        return answer.status, json_of(answer.text)

    uploader = Uploader(send, link[1], csrf_of(browser.get(link[1])), archive(athlete_id, PART_BYTES))
    uploader.begin()
    uploader.put_rest()
    status, told = uploader.finish()
    assert status == 200, told


def test_an_address_that_a_sender_claims_is_not_believed(proxy: Proxy, engine: Engine) -> None:
    browser = Browser(proxy)
    csrf = csrf_of(browser.get("/login"))
    claims = {"X-Forwarded-For": "203.0.113.7", "X-Real-Ip": "203.0.113.8", "Forwarded": "for=203.0.113.9"}
    for _ in range(GUESSES):
        answer = browser.post("/login", urlencode({"token": "guess", "csrf": csrf}), **claims)
        assert answer.status == 401
    with engine.begin() as connection:
        failed = operator_audit.c.outcome == "failed"
        noted = connection.execute(select(operator_audit.c.subject).where(failed)).scalars().all()
    assert noted == [OPERATOR] * GUESSES


def test_who_claims_another_address_each_time_is_limited_all_the_same(proxy: Proxy) -> None:
    source = {"nginx": "127.0.0.3", "caddy": "127.0.0.4"}[proxy.name]
    statuses = [
        proxy.send(
            "POST", WEBHOOK, source=source, headers={"X-Forwarded-For": f"203.0.113.{number}"}, body=b"{}"
        ).status
        for number in range(PER_MINUTE + 5)
    ]
    assert statuses[-1] == 429
    assert deliver(proxy, 4).status == 200


def test_an_id_that_a_sender_gives_its_request_does_not_count(proxy: Proxy) -> None:
    answer = proxy.send("GET", "/static/pages.css", headers={"X-Request-Id": "chosen-by-the-sender"})
    assert answer.header("x-request-id") not in {None, "chosen-by-the-sender"}


def test_slow_clients_do_not_stop_others(proxy: Proxy) -> None:
    half_a_head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: ".encode()
    half_a_post = half_a_head + f"{PUBLIC_NAME}\r\nContent-Length: 500\r\n\r\n{{".encode()

    def all_are_answered_in_time() -> bool:
        seconds = []
        with ExitStack() as held:
            for number in range(SLOW_CLIENTS):
                slow = held.enter_context(proxy.over_tls(source="127.0.0.5"))
                slow.sendall(half_a_post if number % 2 else half_a_head)
            for number in range(10, 15):
                body, began = delivery(object_id=number), time.monotonic()
                answer = proxy.send("POST", WEBHOOK, source="127.0.0.6", headers=signed(body), body=body)
                assert answer.status == 200
                seconds.append(time.monotonic() - began)
        return max(seconds) < STRAVAS_PATIENCE_SECONDS

    # A machine that is busy with something else may be late, but not each time.
    eventually(all_are_answered_in_time, "answers in time beside slow clients")


def test_the_operator_logs_in_and_uses_a_form(proxy: Proxy, engine: Engine) -> None:
    browser = logged_in(proxy)
    assert [name.startswith("__Host-") for name in browser.cookies] == [True, True]
    page = browser.get("/")
    assert page.status == 200
    csrf = csrf_of(page)
    assert browser.post("/invites", urlencode({"csrf": csrf, "people": "1"})).status == 303
    assert browser.post("/invites", "people=1").status == 403
    elsewhere = browser.post("/invites", urlencode({"csrf": csrf}), Origin="https://other.example.org")
    assert elsewhere.status == 403


def test_the_way_back_from_a_login_stays_under_this_name(proxy: Proxy) -> None:
    browser = Browser(proxy)
    answer = browser.get("/")
    assert (answer.status, answer.header("location")) == (303, "/login")


def test_dagsters_ui_is_served_to_who_is_logged_in(proxy: Proxy) -> None:
    assert Browser(proxy, DAGSTER_NAME).get("/runs").status == 303
    browser = logged_in_to_dagster(proxy)
    page = browser.get("/runs")
    assert (page.status, 'id="root"' in page.text) == (200, True)
    asked = json.dumps({"query": "{ version }"})
    assert json.loads(browser.post("/graphql", asked, kind="application/json").body)["data"]["version"]
    foreign = browser.post("/graphql", asked, kind="application/json", Origin="https://other.example.org")
    assert foreign.status == 403


def test_a_request_as_large_as_a_backfills_reaches_dagster(proxy: Proxy) -> None:
    browser = logged_in_to_dagster(proxy)
    asked = json.dumps({"query": "{ version }", "variables": {"filling": "x" * TEN_MEGABYTES}})
    assert json.loads(browser.post("/graphql", asked, kind="application/json").body)["data"]["version"]


@contextmanager
def dagsters_socket(browser: Browser, origin: str) -> Iterator[ClientConnection]:
    """A WebSocket as Dagster's UI opens one."""
    proxy = browser.proxy
    with connect(
        f"wss://{DAGSTER_NAME}:{proxy.ports.https}/graphql",
        sock=proxy.connected(OPERATOR),
        ssl=proxy.context,
        server_hostname=DAGSTER_NAME,
        origin=Origin(origin),
        additional_headers={"Cookie": browser.cookie},
        subprotocols=[Subprotocol("graphql-ws")],
    ) as opened_socket:
        yield opened_socket


def test_dagsters_ui_gets_news_by_a_websocket(proxy: Proxy) -> None:
    browser = logged_in_to_dagster(proxy)
    with dagsters_socket(browser, browser.origin) as opened_socket:
        opened_socket.send(json.dumps({"type": "connection_init", "payload": {}}))
        assert json.loads(opened_socket.recv(PATIENCE_SECONDS)) == {"type": "connection_ack"}


def test_a_page_of_another_site_opens_no_websocket(proxy: Proxy) -> None:
    browser = logged_in_to_dagster(proxy)
    with pytest.raises(InvalidStatus, match="403"), dagsters_socket(browser, "https://other.example.org"):
        pass


def test_no_secret_part_of_an_address_is_logged(proxy: Proxy, engine: Engine) -> None:
    """But for the line of nginx's error log about an upstream that is away, which nothing changes."""
    secrets = {"path": "secret-of-the-path", "mail": "secret-of-a-mail", "code": "secret-code", "link": "secret-link"}
    secrets |= {"upload": "secret-of-an-upload"}
    proxy.send("POST", f"/webhooks/strava/{secrets['path']}", body=b"{}")
    proxy.send("GET", f"/mail/unsubscribe/{secrets['mail']}")
    proxy.send("GET", f"/archive/upload/{secrets['upload']}")
    proxy.send("GET", f"/oauth/callback?code={secrets['code']}&state=x")
    proxy.send("GET", f"/login/once/{secrets['link']}", source=OPERATOR)
    proxy.send("GET", "/connect", headers={"Referer": f"https://{PUBLIC_NAME}/?{secrets['code']}"})

    def logged() -> str:
        text = proxy.log.read_text(encoding="utf-8")
        return text if "/connect" in text.rpartition("/login/once/")[2] else ""

    text = eventually(logged, "the lines of these requests")
    assert [name for name, secret in secrets.items() if secret in text] == []
