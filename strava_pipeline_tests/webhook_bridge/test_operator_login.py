"""Who may do what the operator may: whoever knows the token or holds a link, wherever the request comes from."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import KeyPurpose, Keyring, generate_key
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.warehouse.schema.access_tables import invites, operator_audit, operator_sessions
from strava_pipeline.web.operator_door import session_proof
from strava_pipeline_tests.conftest import OPERATOR_TOKEN as TOKEN
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from webhook_bridge.app import create_app

PUBLIC = "https://rides.example.org"
PAGES = ("/", "/connect", "/oauth/connect", "/oauth/callback", "/oauth/connected", "/login", "/login/once/x")
ACTS = (
    "/oauth/disconnect",
    "/invites",
    "/invites/cancel",
    "/dead-letters/replay",
    "/dead-letters/1/replay",
    "/dead-letters/1/discard",
    "/logout/everywhere",
)
COOKIE = "strava_pipeline_operator"
NewApp = Callable[..., Browser]


@pytest.fixture
def new_browser(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> NewApp:
    """A browser before an app with some settings changed; an empty text removes one."""

    def make(**environment: str) -> Browser:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Browser(create_app(load_settings(), engine))

    return make


@pytest.fixture
def guarded(new_browser: NewApp) -> Browser:
    """Reached from elsewhere."""
    browser = new_browser(STRAVA_BRIDGE_PUBLIC_URL=PUBLIC)
    browser.host, browser.address, browser.scheme = "rides.example.org", "203.0.113.7", "https"
    return browser


def log_in(browser: Browser, token: str = TOKEN) -> int:
    return browser.submit("/login", "/login", {"token": token}).status_code


def thief_of(browser: Browser) -> Browser:
    """Another browser, with a copy of all cookies."""
    thief = Browser(browser.app, browser.host, "198.51.100.9", browser.scheme)
    for name, value in browser.cookies().items():
        thief.keep(name, value)
    return thief


def outcomes(engine: Engine) -> list[tuple[str, str, str]]:
    columns = operator_audit.c
    with engine.connect() as connection:
        rows = connection.execute(select(columns.action, columns.subject, columns.outcome).order_by(columns.id))
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST"])
def test_on_the_machine_itself_the_login_is_asked_for_as_well(new_browser: NewApp, host: str) -> None:
    browser = new_browser()
    browser.host = host
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    for path in ("/connect", "/oauth/connect"):
        assert browser.get(path).status_code == 403
    for path in ACTS:
        assert browser.post(path, {"csrf": csrf_in(browser.get("/login")), "athlete": "1"}).status_code == 403


@pytest.mark.parametrize("environment", [{}, {"STRAVA_BRIDGE_PUBLIC_URL": PUBLIC}, {"STRAVA_TRUSTED_PROXIES": "1"}])
def test_without_a_token_each_page_names_the_setting_and_who_makes_one(
    new_browser: NewApp, environment: dict[str, str]
) -> None:
    browser = new_browser(STRAVA_OPERATOR_TOKEN="", **environment)
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code == 403
        told = words_of(answer)
        assert "STRAVA_OPERATOR_TOKEN is not set: strava-pipeline init or strava-pipeline up makes one." in told
    assert browser.client.get("/health/live").status_code == 200
    # A cookie from when there was one, and a session with an empty token.
    assert browser.logged_in().get("/").status_code == 403


def test_the_token_opens_the_page_until_logged_out(guarded: Browser, engine: Engine) -> None:
    for path in ("/", "/?page=2"):
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert log_in(guarded) == 303
    assert guarded.get("/").status_code == 200
    assert guarded.get("/login").headers["Location"] == "/"
    assert guarded.submit("/", "/logout").status_code == 303
    assert guarded.get("/").status_code == 303
    assert outcomes(engine) == [("login", "203.0.113.7", "ok")]


@pytest.mark.parametrize("over_tls", [True, False])
def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_other_hosts(
    guarded: Browser, new_browser: NewApp, over_tls: bool
) -> None:
    browser = guarded if over_tls else new_browser(STRAVA_BRIDGE_PUBLIC_URL="")
    answer = browser.submit("/login", "/login", {"token": TOKEN})
    (cookie,) = [told for told in answer.headers.getlist("Set-Cookie") if COOKIE in told]
    assert cookie.startswith(f"__Host-{COOKIE}=" if over_tls else f"{COOKIE}=")
    told = {part.strip() for part in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= told
    assert ("Secure" in told) == over_tls
    assert "Domain" not in cookie


def test_a_cookie_that_was_copied_before_logout_is_worth_nothing_after(guarded: Browser) -> None:
    log_in(guarded)
    thief = thief_of(guarded)
    assert thief.get("/").status_code == 200
    csrf = csrf_in(thief.get("/"))
    guarded.submit("/", "/logout")
    assert thief.get("/").status_code == 303
    for path in ACTS:
        assert thief.post(path, {"csrf": csrf, "athlete": "1", "because": "x"}).status_code == 403


def test_one_browser_logs_out_all(guarded: Browser, engine: Engine) -> None:
    others = [Browser(guarded.app, guarded.host, scheme="https").logged_in() for _ in range(2)]
    with engine.begin() as connection:
        link = new_sign_in_link(connection, session_proof(load_settings()))
    guarded.logged_in().submit("/", "/logout/everywhere")
    assert [browser.get("/").status_code for browser in (guarded, *others)] == [303] * 3
    assert guarded.press(f"/login/once/{link}").status_code == 410
    assert outcomes(engine) == [("logout", "everywhere", "ok")]


@pytest.mark.parametrize("token", ["", "x", TOKEN + "x", TOKEN.upper(), "é" * 20, "\0", TOKEN + "\0"])
def test_a_wrong_token_opens_nothing_and_is_noted(guarded: Browser, engine: Engine, token: str) -> None:
    answer = guarded.submit("/login", "/login", {"token": token})
    assert answer.status_code == 401
    assert "That is not the token" in words_of(answer)
    assert guarded.get("/").status_code == 303
    assert [outcome for _, _, outcome in outcomes(engine)] == ["failed"]


def test_a_session_ends_after_twelve_hours(guarded: Browser, engine: Engine) -> None:
    log_in(guarded)
    with engine.begin() as connection:
        lasts = connection.execute(select(operator_sessions.c.expires_at - func.now())).scalar_one()
        assert 11.9 * 3600 < lasts.total_seconds() <= 12 * 3600
        connection.execute(update(operator_sessions).values(expires_at=func.now()))
    assert guarded.get("/").status_code == 303


@pytest.mark.parametrize(
    "environment",
    [
        {"STRAVA_OPERATOR_TOKEN": "another-token-of-the-operator"},
        {"STRAVA_TOKEN_KEYS": generate_key()},
        {"STRAVA_TRUSTED_PROXIES": "2"},
        {"STRAVA_BRIDGE_HOSTS": "rides.lan"},
        {"STRAVA_DAGSTER_HOSTS": "dagster.lan"},
    ],
)
def test_a_new_token_key_or_setting_of_the_door_ends_all_sessions(
    guarded: Browser, new_browser: NewApp, environment: dict[str, str]
) -> None:
    log_in(guarded)
    later = new_browser(**environment)
    guarded.app = later.app
    assert thief_of(guarded).get("/").status_code == 303


def test_logging_in_gives_the_session_another_id(guarded: Browser) -> None:
    planted = csrf_in(guarded.get("/login"))
    assert guarded.post("/login", {"csrf": planted, "token": TOKEN}).status_code == 303
    assert csrf_in(guarded.get("/")) != planted


@pytest.mark.parametrize("name", ["strava_pipeline", COOKIE, f"__Host-{COOKIE}", "__Host-strava_pipeline"])
@pytest.mark.parametrize("value", ["eyJvcGVyYXRvciI6dHJ1ZX0.aaaa.bbbb", "x" * 43, "%00", TOKEN])
def test_a_cookie_made_up_is_worth_nothing(guarded: Browser, name: str, value: str) -> None:
    guarded.keep(name, value)
    assert guarded.get("/").status_code == 303


def test_who_reads_the_table_of_sessions_is_logged_in_nowhere(guarded: Browser, engine: Engine) -> None:
    log_in(guarded)
    with engine.connect() as connection:
        stored = connection.execute(select(operator_sessions.c.secret_hash)).scalar_one()
    thief = Browser(guarded.app, guarded.host, scheme="https")
    thief.keep(f"__Host-{COOKIE}", stored)
    assert thief.get("/").status_code == 303


@pytest.mark.parametrize("path", ACTS)
def test_nothing_is_done_for_whoever_is_not_logged_in(guarded: Browser, engine: Engine, path: str) -> None:
    form = {"csrf": csrf_in(guarded.get("/login")), "athlete": "1", "because": "x"}
    assert guarded.post(path, form).status_code == 403
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(invites)).scalar_one() == 0
    assert outcomes(engine) == []


def test_a_link_signs_in_once(guarded: Browser, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with engine.begin() as connection:
        secret = new_sign_in_link(connection, session_proof(load_settings()))
    path = f"/login/once/{secret}"
    # Whatever follows links before a person does leaves it good.
    for _ in range(2):
        shown = guarded.get(path)
        assert shown.status_code == 200
        # The address goes nowhere, and the browser tells all the same that the form is ours.
        assert shown.headers["Referrer-Policy"] == "strict-origin"
        assert guarded.get("/").status_code == 303
    assert guarded.client.head(path, base_url=PUBLIC).status_code == 200
    button = re.search(r'<form[^>]* action="([^"]+)"', shown.text)
    assert button is not None
    before = csrf_in(guarded.get("/login"))
    assert guarded.post(button[1]).status_code == 403
    answer = guarded.post(button[1], {"csrf": csrf_in(shown)})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert csrf_in(guarded.get("/")) != before
    assert secret not in str(guarded.cookies())
    for again in (thief_of(guarded).get(path), Browser(guarded.app, guarded.host, scheme="https").press(path)):
        assert again.status_code == 410
        assert "strava-pipeline login-link" in words_of(again)
        assert again.headers["Referrer-Policy"] == "no-referrer"
        assert secret not in again.text
        assert "Set-Cookie" not in again.headers
    assert secret not in caplog.text
    assert outcomes(engine) == [("login", "203.0.113.7", "ok")]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("secret", ["x", "%00", "%ff", "é", "a" * 5000])
def test_a_link_made_up_signs_nobody_in(guarded: Browser, engine: Engine, method: str, secret: str) -> None:
    path = f"/login/once/{secret}"
    answer = guarded.get(path) if method == "GET" else guarded.press(path)
    assert answer.status_code == 410
    # Nobody fills the audit by making up links.
    assert outcomes(engine) == []


def test_a_link_ends_with_its_time_and_with_the_token(guarded: Browser, engine: Engine, new_browser: NewApp) -> None:
    with engine.begin() as connection:
        links = [new_sign_in_link(connection, session_proof(load_settings())) for _ in range(2)]
        old = operator_sessions.c.opened_at == select(func.min(operator_sessions.c.opened_at)).scalar_subquery()
        connection.execute(update(operator_sessions).where(old).values(expires_at=func.now()))
    assert guarded.press(f"/login/once/{links[0]}").status_code == 410
    guarded.app = new_browser(STRAVA_OPERATOR_TOKEN="another-token-of-the-operator").app
    assert thief_of(guarded).press(f"/login/once/{links[1]}").status_code == 410


def test_the_frightening_setting_opens_the_page_and_says_so(
    new_browser: NewApp, caplog: pytest.LogCaptureFixture
) -> None:
    browser = new_browser(STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN="true", STRAVA_OPERATOR_TOKEN="")
    assert "everybody who reaches the bridge's pages is the operator" in caplog.text
    shown = browser.get("/")
    assert shown.status_code == 200
    assert "No login is asked for" in words_of(shown)
    # Even then nothing is done for a page elsewhere.
    assert browser.post("/invites", {"csrf": "0" * 64}).status_code == 403
    csrf = csrf_in(browser.get("/"))
    assert browser.post("/invites", {"csrf": csrf}, Origin="https://evil.example").status_code == 403
    assert browser.post("/invites", {"csrf": csrf}).status_code == 303
    browser.host = "evil.example"
    assert browser.get("/").status_code == 403
    assert browser.post("/invites", {"csrf": csrf}).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1:8080:80",
        "127.0.0.1, evil.example",
        "rides.example.org.",
        "xrides.example.org",
        "192.168.1.4",
        "2130706433",
        "0",
        "[::]",
        "",
    ],
)
@pytest.mark.parametrize("path", PAGES)
def test_a_name_that_is_not_ours_reaches_no_page(guarded: Browser, host: str, path: str) -> None:
    guarded.logged_in()
    cookies = "; ".join(f"{name}={value}" for name, value in guarded.cookies().items())
    answer = guarded.get(path, Host=host, Cookie=cookies)
    assert answer.status_code == 403
    assert "is not served as" in words_of(answer)
    assert "csrf" not in answer.text
    # It would lead back here.
    assert "<a href" not in answer.text.replace('<a class="skip" href="#content">', "")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["rides.example.org", "RIDES.example.org:443", "localhost:8080", "rides.lan", "192.168.1.4:8080"]
)
def test_names_of_ours_reach_the_pages(new_browser: NewApp, host: str) -> None:
    browser = new_browser(STRAVA_BRIDGE_PUBLIC_URL=PUBLIC, STRAVA_BRIDGE_HOSTS=" Rides.lan , 192.168.1.4")
    browser.host = host
    assert browser.get("/login").status_code == 200


def test_deliveries_health_checks_links_of_mails_and_the_looks_are_answered_by_any_name(guarded: Browser) -> None:
    guarded.host = "10.0.0.3:8080"
    assert guarded.get("/health/live").status_code == 200
    handshake = guarded.get("/webhooks/strava?hub.mode=subscribe&hub.challenge=c&hub.verify_token=verify-token")
    assert handshake.status_code == 200
    assert "does not work" in words_of(guarded.get("/mail/unsubscribe/x"))
    looks = re.findall(r'<link [^>]*href="([^"]+)"', guarded.get("/").text)
    assert len(looks) == 2
    assert [guarded.get(path).status_code for path in looks] == [200, 200]


def test_pages_run_nothing_and_load_nothing_from_elsewhere(guarded: Browser) -> None:
    guarded.logged_in()
    for path in ("/", "/connect", "/oauth/connected"):
        answer = guarded.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "<script" not in answer.text
        assert "style=" not in answer.text
        assert 'src="http' not in answer.text
        assert answer.headers["X-Frame-Options"] == "DENY"
    assert guarded.get("/static/pages.css").status_code == 200


def test_a_short_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", "short")
    with pytest.raises(ConfigurationError, match="STRAVA_OPERATOR_TOKEN"):
        load_settings()


def test_keys_for_cookies_differ_from_the_tokens_key_and_from_each_other(keyring: Keyring) -> None:
    derived = {keyring.derive_key(purpose) for purpose in KeyPurpose}
    assert len(derived) == len(KeyPurpose)
    assert derived.isdisjoint(keyring.keys.values())
    assert {len(key) for key in derived} == {32}
    assert keyring.derive_key(KeyPurpose.SESSION) == keyring.derive_key(KeyPurpose.SESSION)
