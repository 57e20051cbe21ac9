"""Who may see the operator's pages: on the machine itself everybody, beyond it whoever knows the token."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import Engine, select

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.ops_tables import operator_audit
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from webhook_bridge.app import create_app
from webhook_bridge.operator import TRACES_OF_A_PROXY

TOKEN = "a-token-of-the-operator"
NEEDED = "STRAVA_OPERATOR_TOKEN is not set"


@pytest.fixture
def open_browser(settings: Settings, engine: Engine) -> Browser:
    """On the machine itself, no token set."""
    return Browser(create_app(settings, engine))


@pytest.fixture
def guarded(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """Reached from elsewhere, a token set."""
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", TOKEN)
    return Browser(create_app(load_settings(), engine), host="rides.example.org", address="203.0.113.7")


def log_in(browser: Browser, token: str = TOKEN) -> int:
    return browser.submit("/login", "/login", {"token": token}).status_code


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_on_the_machine_itself_the_page_is_open(open_browser: Browser, host: str) -> None:
    open_browser.host = host
    assert open_browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "203.0.113.7"),
        ("192.168.1.4:8080", "192.168.1.9"),
        # A page elsewhere has pointed its own name to this machine, or a proxy here sends everything on.
        ("evil.example", "127.0.0.1"),
    ],
)
def test_beyond_it_a_token_is_asked_for_and_the_setting_named(open_browser: Browser, host: str, address: str) -> None:
    open_browser.host, open_browser.address = host, address
    for path in ("/", "/login", "/oauth/connect"):
        answer = open_browser.get(path)
        assert answer.status_code == 403
    assert NEEDED in words_of(open_browser.get("/"))


@pytest.mark.parametrize("header", TRACES_OF_A_PROXY)
def test_what_came_by_a_proxy_did_not_come_from_here(open_browser: Browser, header: str) -> None:
    answer = open_browser.get("/", **{header: "127.0.0.1"})
    assert answer.status_code == 403
    assert NEEDED in words_of(answer)


@pytest.mark.parametrize(
    ("name", "value"),
    [("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org"), ("STRAVA_TRUSTED_PROXIES", "1")],
)
def test_settings_that_speak_of_the_internet_ask_for_a_token(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = Browser(create_app(load_settings(), engine)).get("/")
    assert answer.status_code == 403
    assert NEEDED in words_of(answer)


def test_the_token_opens_the_page_until_logged_out(guarded: Browser, engine: Engine) -> None:
    for path in ("/", "/?page=2"):
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert log_in(guarded) == 303
    assert guarded.get("/").status_code == 200
    assert guarded.submit("/", "/logout").status_code == 303
    assert guarded.get("/").status_code == 303
    with engine.connect() as connection:
        rows = connection.execute(select(operator_audit.c.action, operator_audit.c.subject, operator_audit.c.outcome))
        assert [tuple(row) for row in rows] == [("login", "203.0.113.7", "ok")]


@pytest.mark.parametrize("token", ["", "x", TOKEN + "x", TOKEN.upper(), "é" * 20])
def test_a_wrong_token_opens_nothing_and_is_noted(guarded: Browser, engine: Engine, token: str) -> None:
    answer = guarded.submit("/login", "/login", {"token": token})
    assert answer.status_code == 401
    assert "That is not the token" in words_of(answer)
    assert guarded.get("/").status_code == 303
    with engine.connect() as connection:
        assert connection.execute(select(operator_audit.c.outcome)).scalars().all() == ["failed"]


def test_guessing_ends(guarded: Browser) -> None:
    csrf = csrf_in(guarded.get("/login"))
    told = [guarded.post("/login", {"csrf": csrf, "token": str(guess)}).status_code for guess in range(62)]
    assert told[:60] == [401] * 60
    assert told[60:] == [429] * 2
    assert guarded.post("/login", {"csrf": csrf, "token": TOKEN}).status_code == 429
    guarded.address = "198.51.100.9"
    assert log_in(guarded) == 303


def test_a_session_ends_after_twelve_hours(guarded: Browser) -> None:
    log_in(guarded)
    with time_machine.travel(time.time() + timedelta(hours=11).total_seconds(), tick=False):
        assert guarded.get("/").status_code == 200
    with time_machine.travel(time.time() + timedelta(hours=13).total_seconds(), tick=False):
        assert guarded.get("/").status_code == 303


def test_a_new_token_or_key_ends_all_sessions(
    guarded: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(guarded)
    for name, value in (
        ("STRAVA_OPERATOR_TOKEN", "another-token-of-the-operator"),
        ("STRAVA_TOKEN_KEYS", generate_key()),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            later = Browser(create_app(load_settings(), engine), guarded.host, guarded.address)
            for cookie in guarded.client._cookies.values():  # type: ignore[union-attr]  # werkzeug's own store
                later.client.set_cookie(cookie.key, cookie.value, domain=guarded.host)
            assert later.get("/").status_code == 303


def test_logging_in_gives_the_session_another_id(guarded: Browser) -> None:
    planted = csrf_in(guarded.get("/login"))
    assert guarded.post("/login", {"csrf": planted, "token": TOKEN}).status_code == 303
    assert csrf_in(guarded.get("/")) != planted


def test_a_cookie_made_up_is_worth_nothing(guarded: Browser) -> None:
    guarded.client.set_cookie("strava_pipeline", "eyJvcGVyYXRvciI6dHJ1ZX0.aaaa.bbbb", domain=guarded.host)
    assert guarded.get("/").status_code == 303


@pytest.mark.parametrize("path", ["/oauth/disconnect", "/invites", "/dead-letters/replay", "/dead-letters/1/discard"])
def test_nothing_is_done_for_whoever_is_not_logged_in(guarded: Browser, path: str) -> None:
    form = {"csrf": csrf_in(guarded.get("/login")), "athlete": "1", "because": "x"}
    assert guarded.post(path, form).status_code == 403


def test_pages_run_nothing_and_load_nothing_from_elsewhere(open_browser: Browser) -> None:
    for path in ("/", "/connect", "/oauth/connected"):
        answer = open_browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "<script" not in answer.text
        assert "style=" not in answer.text
        assert 'src="http' not in answer.text
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert open_browser.get("/static/pages.css").status_code == 200


def test_a_short_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", "short")
    with pytest.raises(ConfigurationError, match="STRAVA_OPERATOR_TOKEN"):
        load_settings()


def test_keys_for_cookies_differ_from_the_tokens_key_and_from_each_other(keyring: Keyring) -> None:
    derived = {keyring.derived_key(purpose) for purpose in ("session", "csrf", "operator", "invite")}
    assert len(derived) == 4
    assert derived.isdisjoint(keyring.keys.values())
    assert {len(key) for key in derived} == {32}
    assert keyring.derived_key("session") == keyring.derived_key("session")
