"""The guard with a real table of sessions, before an app that lets everything happen."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import Engine, delete, select, text

from strava_pipeline.dagster_guard import sessions as looking_up
from strava_pipeline.dagster_guard import sockets
from strava_pipeline.dagster_guard.guard import LOGINS_UNAVAILABLE, Guard
from strava_pipeline.dagster_guard.pages import local_path
from strava_pipeline.dagster_guard.sessions import Sessions
from strava_pipeline.dagster_guard.wrong_tokens import PER_MINUTE, WrongTokenLimit
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.access_tables import operator_sessions as sessions_table
from strava_pipeline.web.request_signature import HEADER
from strava_pipeline_tests.dagster_guard.asking import (
    COOKIE,
    FORM,
    HERE,
    JSON,
    TOKEN,
    Answer,
    Dagster,
    ask,
    door,
    gen_answer,
    signed,
)

ORIGIN = ("Origin", HERE)
EVIL_NEXTS = (
    "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)",
    "/\t/evil.example", "/\n/evil.example", " //evil.example", "/ /evil", "", "evil.example", "/\x00", "/é",
    "///evil.example", "/" + "x" * 2000, "/operator/login?next=/operator/login", "/operator/logout", "/<script>", '/"x',
)  # fmt: skip

TARGETS = (
    "/", "/runs", "/_next/static/a.js", "/server_info", "/dagit_info", "/logs/a", "/download_debug/x", "/notebook",
    "/health/ready/", "//health/ready", "/operator", "/operator/", "/operator/login/x", "/new",
)  # fmt: skip
SENDERS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("Sec-Fetch-Site", "none"),),
    (("Origin", "https://evil.example"),),
    (("Origin", "null"),),
    (("Sec-Fetch-Site", "same-site"), ORIGIN),
)


@pytest.fixture
def dagster() -> Dagster:
    return Dagster()


@pytest.fixture
def guard(dagster: Dagster, engine: Engine) -> Guard:
    return Guard(dagster, door(), Sessions(engine, "proof"))


@pytest.fixture
def cookie(engine: Engine) -> tuple[str, str]:
    """The cookie of a session opened at the bridge."""
    with engine.begin() as connection:
        return ("Cookie", f"{COOKIE}={operator_sessions.open_session(connection, 'proof')}")


def log_in(guard: Guard, token: str = TOKEN, **fields: str) -> Answer:
    form = urlencode({"token": token} | fields).encode()
    return ask(guard, "POST", "/operator/login", ORIGIN, FORM, body=form)


def cookie_of(answer: Answer) -> tuple[str, str]:
    return ("Cookie", (answer.header("set-cookie") or "").partition(";")[0])


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_told_to_whoever_is_not_logged_in(guard: Guard, dagster: Dagster, target: str) -> None:
    for headers in ((), (("Cookie", f"{COOKIE}=made-up"),), ((HEADER, "guessed"),)):
        assert ask(guard, "GET", target, *headers).status == 401
        assert ask(guard, "POST", target, JSON, *headers).status == 401
        assert ask(guard, "GET", "/graphql", *headers, websocket=True).status == 401
    people = ask(guard, "GET", target, ("Accept", "text/html"))
    assert (people.status, people.header("location")) == (
        303,
        f"/operator/login?next={quote(local_path(target), safe='')}",
    )
    assert dagster.reached == []


def test_a_session_opened_at_the_bridge_opens_everything_here(
    guard: Guard, dagster: Dagster, cookie: tuple[str, str]
) -> None:
    assert ask(guard, "GET", "/", cookie).body == b"dagster"
    assert ask(guard, "POST", "/graphql", JSON, ORIGIN, cookie).status == 200
    assert ask(guard, "GET", "/graphql", ORIGIN, cookie, websocket=True).messages == [{"type": "websocket.accept"}]
    assert len(dagster.reached) == 3


def test_a_session_of_another_token_or_other_settings_opens_nothing(
    dagster: Dagster, engine: Engine, cookie: tuple[str, str]
) -> None:
    assert ask(Guard(dagster, door(proof="other"), Sessions(engine, "other")), "GET", "/", cookie).status == 401


def test_a_link_to_sign_in_is_no_session(guard: Guard, engine: Engine) -> None:
    with engine.begin() as connection:
        link = operator_sessions.new_sign_in_link(connection, "proof")
    assert ask(guard, "GET", "/", ("Cookie", f"{COOKIE}={link}")).status == 401


def test_a_session_does_not_open_what_the_rules_refuse(guard: Guard, dagster: Dagster, cookie: tuple[str, str]) -> None:
    for credential in (cookie, signed()):
        for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):
            assert ask(guard, "POST", "/graphql", credential, ("Content-Type", kind)).status == 415
        assert ask(guard, "GET", "/graphql?query=mutation{x}", credential).status == 405
        assert ask(guard, "POST", "/graphql", JSON, credential, ("Origin", "https://evil.example")).status == 403
        assert ask(guard, "POST", "/graphql", JSON, credential, ("Host", "evil.example")).status == 421
        assert ask(guard, "GET", "/graphql", credential, ("Origin", "null"), websocket=True).status == 403
    assert dagster.reached == []


def test_our_own_processes_need_no_session(guard: Guard, dagster: Dagster) -> None:
    assert ask(guard, "POST", "/graphql", JSON, signed()).status == 200
    assert len(dagster.reached) == 1


def test_without_a_token_one_line_says_what_to_set(dagster: Dagster, engine: Engine) -> None:
    guard = Guard(dagster, door(token=None), Sessions(engine, "proof"))
    for answer in (
        ask(guard, "GET", "/"),
        ask(guard, "GET", "/operator/login"),
        log_in(guard, ""),
        ask(guard, "GET", "/", websocket=True),
    ):
        assert answer.status == 403
        assert b"STRAVA_OPERATOR_TOKEN is not set" in answer.body
        assert answer.body.count(b"\n") == 1
    assert dagster.reached == []


def test_a_door_that_stands_open_still_knows_foreign_pages_and_names(dagster: Dagster, engine: Engine) -> None:
    guard = Guard(dagster, door(token=None, stands_open=True), Sessions(engine, "proof"))
    assert ask(guard, "GET", "/").status == 200
    assert ask(guard, "POST", "/graphql", JSON, ("Origin", "https://evil.example")).status == 403
    assert ask(guard, "GET", "/", ("Host", "evil.example")).status == 421
    assert ask(guard, "POST", "/graphql", ("Content-Type", "text/plain")).status == 415


def test_readiness_tells_that_alone(guard: Guard, dagster: Dagster) -> None:
    answer = ask(guard, "GET", "/health/ready")
    assert (answer.status, answer.body) == (200, b"ready\n")
    assert ask(guard, "GET", "/health/ready", ("Host", "evil.example")).status == 421
    assert dagster.reached == []


def test_the_token_logs_in_and_logging_out_ends_the_session_everywhere(guard: Guard, engine: Engine) -> None:
    page = ask(guard, "GET", "/operator/login?next=%2Fruns%3Fq%3D1")
    assert b'name="next" value="/runs?q=1"' in page.body
    assert b"<script" not in page.body
    answer = log_in(guard, next="/runs?q=1")
    assert (answer.status, answer.header("location")) == (303, "/runs?q=1")
    given = answer.header("set-cookie") or ""
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=43200"} <= set(given.split("; "))
    cookie = cookie_of(answer)
    assert ask(guard, "GET", "/", cookie).status == 200
    assert b"Log out" in ask(guard, "GET", "/operator/logout").body
    out = ask(guard, "POST", "/operator/logout", ORIGIN, FORM, cookie)
    assert (out.status, out.header("location")) == (303, "/operator/login")
    assert ask(guard, "GET", "/", cookie).status == 401
    with engine.connect() as connection:
        rows = connection.execute(select(operator_audit.c.action, operator_audit.c.subject, operator_audit.c.outcome))
        assert [tuple(row) for row in rows] == [("login", "127.0.0.1", "ok")]
        assert connection.execute(select(sessions_table)).all() == []


def test_over_https_the_cookie_is_bound_to_this_very_host(dagster: Dagster, engine: Engine) -> None:
    guard = Guard(dagster, door(over_tls=True, cookie=f"__Host-{COOKIE}"), Sessions(engine, "proof"))
    given = log_in(guard).header("set-cookie") or ""
    assert given.startswith(f"__Host-{COOKIE}=")
    assert {"Secure", "Path=/", "HttpOnly"} <= set(given.split("; "))
    assert "Domain" not in given


def test_behind_a_proxy_that_ends_tls_the_cookie_keeps_to_tls(guard: Guard) -> None:
    name, form = "dagster.example.org", urlencode({"token": TOKEN}).encode()
    headers = (("Host", name), ("Origin", f"https://{name}"), FORM)
    given = ask(guard, "POST", "/operator/login", *headers, body=form).header("set-cookie") or ""
    assert "Secure" in given.split("; ")
    assert "Secure" not in (log_in(guard).header("set-cookie") or "").split("; ")


@pytest.mark.parametrize("token", ["", "x", TOKEN + "x", TOKEN.upper(), f" {TOKEN}", "é" * 20, "\0"])
def test_a_wrong_token_opens_nothing_and_is_noted(guard: Guard, engine: Engine, token: str) -> None:
    answer = log_in(guard, token)
    assert (answer.status, answer.header("set-cookie")) == (401, None)
    assert b"That is not the token" in answer.body
    with engine.connect() as connection:
        rows = connection.execute(select(operator_audit.c.action, operator_audit.c.outcome, operator_audit.c.detail))
        assert [tuple(row) for row in rows] == [("login", "failed", "at Dagster's UI")]


def test_guesses_beyond_the_limit_fill_neither_audit_nor_log(
    guard: Guard, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tried = [log_in(guard, str(guess)).status for guess in range(PER_MINUTE + 20)]
    assert tried == [401] * PER_MINUTE + [429] * 20
    with engine.connect() as connection:
        assert len(connection.execute(select(operator_audit)).all()) == PER_MINUTE
    assert len(caplog.records) == PER_MINUTE


def test_guesses_keep_out_nobody(guard: Guard, cookie: tuple[str, str]) -> None:
    assert log_in(guard, "first").status == 401
    assert {log_in(guard, str(guess)).status for guess in range(PER_MINUTE)} == {401, 429}
    answer = log_in(guard)
    assert answer.status == 303
    assert ask(guard, "GET", "/", cookie_of(answer)).status == 200
    assert log_in(guard, "wrong again").status == 429
    assert ask(guard, "GET", "/", cookie).status == 200
    assert ask(guard, "POST", "/graphql", JSON, signed()).status == 200


def test_a_minute_later_wrong_tokens_are_noted_again() -> None:
    now = 0.0
    wrong = WrongTokenLimit(lambda: now)
    assert [wrong.try_record() for _ in range(PER_MINUTE + 1)] == [True] * PER_MINUTE + [False]
    now = 59.9
    assert not wrong.try_record()
    now = 60.0
    assert wrong.try_record()


@pytest.mark.parametrize("headers", SENDERS)
def test_forms_come_from_pages_of_ours(
    guard: Guard, engine: Engine, cookie: tuple[str, str], headers: tuple[tuple[str, str], ...]
) -> None:
    form = urlencode({"token": TOKEN}).encode()
    assert ask(guard, "POST", "/operator/login", FORM, *headers, body=form).status == 403
    assert ask(guard, "POST", "/operator/logout", FORM, cookie, *headers).status == 403
    assert ask(guard, "GET", "/", cookie).status == 200
    with engine.connect() as connection:
        assert connection.execute(select(operator_audit)).all() == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_pages_of_ours_are_asked_in_their_own_way(guard: Guard, method: str) -> None:
    for path in ("/operator/login", "/operator/logout", "/health/ready", "/operator/pages.css"):
        assert ask(guard, method, path, FORM, ORIGIN).status in {405, 415}


def test_a_form_too_large_is_not_read(guard: Guard) -> None:
    assert log_in(guard, "x" * 5000).status == 413


@pytest.mark.parametrize("following", EVIL_NEXTS)
def test_a_login_leads_to_pages_of_ours_alone(guard: Guard, following: str) -> None:
    assert local_path(following) == "/"
    assert log_in(guard, next=following).header("location") == "/"
    page = ask(guard, "GET", f"/operator/login?next={quote(following, safe='')}")
    assert b'name="next" value="/"' in page.body


def test_a_login_leads_back_to_where_one_was(guard: Guard) -> None:
    for following in ("/", "/runs?q=a%20b&x=1", "/assets/a%2Fb", "/.//evil"):
        assert log_in(guard, next=following).header("location") == following


def test_every_answer_is_closed_to_other_pages(guard: Guard, cookie: tuple[str, str]) -> None:
    answers = [
        ask(guard, "GET", "/", cookie),
        ask(guard, "GET", "/"),
        ask(guard, "GET", "/operator/login"),
        ask(guard, "GET", "/", ("Host", "evil.example")),
        ask(
            guard, "OPTIONS", "/graphql", ("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")
        ),
        ask(guard, "GET", "/graphql", websocket=True),
    ]
    for answer in answers:
        names = [name for name, _ in answer.headers]
        assert not [name for name in names if name.startswith("access-control-")]
        assert answer.header("x-frame-options") == "SAMEORIGIN"
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("referrer-policy") == "same-origin"
    # Dagster's own policy holds beside.
    assert ("content-security-policy", "script-src 'self'") in answers[0].headers
    assert ("content-security-policy", "frame-ancestors 'self'") in answers[0].headers
    [ours] = [value for name, value in answers[2].headers if name == "content-security-policy"]
    assert "default-src 'none'" in ours
    assert "frame-ancestors 'none'" in ours


def test_while_the_database_is_away_nobody_passes(dagster: Dagster, engine: Engine, cookie: tuple[str, str]) -> None:
    away = open_engine(engine.url.set(database="no_such_database"))
    guard = Guard(dagster, door(), Sessions(away, "proof"))
    for answer in (
        ask(guard, "GET", "/", cookie),
        ask(guard, "GET", "/graphql", cookie, websocket=True),
        log_in(guard),
        log_in(guard, "wrong"),
    ):
        assert (answer.status, answer.body.decode().strip()) == (503, LOGINS_UNAVAILABLE)
        assert answer.header("set-cookie") is None
    assert dagster.reached == []
    away.dispose()


def test_a_table_that_is_locked_does_not_stop_other_requests(
    guard: Guard, engine: Engine, cookie: tuple[str, str]
) -> None:
    async def both() -> tuple[bool, Answer, Answer]:
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE ops.operator_sessions"))
            waiting = asyncio.ensure_future(gen_answer(guard, "GET", "/", cookie))
            # Its look-up begins here, and would wait here if it were done by the loop.
            await asyncio.sleep(0)
            ready = await gen_answer(guard, "GET", "/health/ready")
            waits = not waiting.done()
        return waits, ready, await waiting

    waits, ready, answer = asyncio.run(both())
    assert waits
    assert (ready.status, answer.status) == (200, 200)


def test_whoever_waits_for_the_database_too_long_does_not_pass(
    guard: Guard, dagster: Dagster, engine: Engine, cookie: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_up, "ANSWER_SECONDS", 0.05)

    async def while_locked() -> Answer:
        with engine.begin() as connection:
            connection.execute(text("LOCK TABLE ops.operator_sessions"))
            return await gen_answer(guard, "GET", "/", cookie)

    assert asyncio.run(while_locked()).status == 503
    assert dagster.reached == []


def test_a_websocket_ends_with_its_session(
    guard: Guard, dagster: Dagster, engine: Engine, cookie: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.01)
    guard._app = chatty = _Chatty()
    looks = 0
    is_open = operator_sessions.is_open

    def look(*arguments: object) -> bool:
        nonlocal looks
        looks += 1
        if looks == 4:
            with engine.begin() as connection:
                connection.execute(delete(sessions_table))
        return is_open(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(operator_sessions, "is_open", look)
    answer = ask(guard, "GET", "/graphql", cookie, websocket=True)
    assert answer.closed == 1008
    assert answer.messages[0]["type"] == "websocket.accept"
    assert answer.messages[-1]["type"] == "websocket.close"
    assert chatty.ended


class _Chatty:
    """Sends for ever, and notes that it was ended."""

    ended = False

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "news"})
                await asyncio.sleep(0)
        finally:
            self.ended = True
            await send({"type": "websocket.send", "text": "too late"})


def test_an_error_of_the_app_stays_its_own(guard: Guard, cookie: tuple[str, str]) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("of the app")

    guard._app = broken
    for websocket in (False, True):
        with pytest.raises(LookupError, match="of the app"):
            ask(guard, "GET", "/x", cookie, websocket=websocket)


def test_connections_of_a_kind_unknown_reach_nothing(guard: Guard, dagster: Dagster) -> None:
    with pytest.raises(ValueError, match="webtransport"):
        asyncio.run(guard({"type": "webtransport"}, None, None))  # type: ignore[arg-type]
    assert dagster.reached == []


def test_no_secret_is_logged(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(guard, "GET", "/?token=in-the-query")
    ask(guard, "GET", "/operator/sign-in?link=in-the-query")
    log_in(guard, "in-the-form")
    ask(guard, "GET", "/%0aforged", ("Cookie", f"{COOKIE}=in-the-cookie"))
    assert caplog.records
    assert "in-the" not in caplog.text
    assert "\nforged" not in caplog.text
