"""Connecting by Strava's consent page: the way through, and each way it can end otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import Engine, func, insert, select, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.imports.wishes import list_imports
from strava_pipeline.warehouse.mail.consent import confirm_address, consent_of
from strava_pipeline.warehouse.schema.access_tables import oauth_states, operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import HISTORY_STEPS
from strava_pipeline_tests.strava.loopback import Answer, Loopback, Reply, reply
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, state_in, words_of
from webhook_bridge.app import create_app
from webhook_bridge.dagster_tasks import DagsterTasks

RIDER = 1001
ALL = "read,activity:read_all,profile:read_all"
TOKENS = {
    "access_token": "access-1",
    "refresh_token": "refresh-1",
    "expires_at": 4102444800,
    "athlete": {"id": RIDER, "firstname": "Mira", "lastname": "<b>Bo"},
}
BeginConnection = Callable[[Browser], str]


def fault(resource: str, field: str, code: str) -> dict[str, Any]:
    return {"message": "Bad Request", "errors": [{"resource": resource, "field": field, "code": code}]}


@pytest.fixture
def strava(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        loopback.answers(reply(TOKENS))
        yield loopback


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def browser(strava: Loopback, engine: Engine, woken: list[str]) -> Browser:
    """The operator's, on the machine itself."""
    return Browser(create_app(load_settings(), engine, dagster_tasks_wake=lambda: woken.append("tasks"))).logged_in()


def come_back(browser: Browser, state: str, query: str = f"code=c0de&scope={ALL}") -> Any:
    return browser.get(f"/oauth/callback?state={state}&{query}")


def user(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(users)).one_or_none()


def test_connect_leads_to_stravas_consent_page(browser: Browser, strava: Loopback) -> None:
    answer = browser.get("/oauth/connect")
    assert answer.status_code == 302
    address = urlsplit(answer.headers["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{strava.url}/oauth/authorize"
    query = {name: given[0] for name, given in parse_qs(address.query).items()}
    assert query["redirect_uri"] == "http://127.0.0.1/oauth/callback"
    assert query["scope"] == ALL
    assert len(query["state"]) == 43  # 256 bits in base64
    assert query["state"] != state_in(browser.get("/oauth/connect"))
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_over_tls_the_cookie_belongs_to_this_host_alone(
    strava: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    browser = Browser(create_app(load_settings(), engine), host="rides.example.org", scheme="https")
    cookie = browser.get("/login").headers["Set-Cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert browser.submit("/login", "/login", {"token": "a-token-of-the-operator"}).status_code == 303
    query = parse_qs(urlsplit(browser.get("/oauth/connect").headers["Location"]).query)
    assert query["redirect_uri"] == ["https://rides.example.org/oauth/callback"]


def test_an_athlete_connects(browser: Browser, engine: Engine, strava: Loopback, woken: list[str]) -> None:
    sent = browser.submit("/connect", "/oauth/connect", {"email": " mira@example.org "})
    assert sent.status_code == 303
    answer = come_back(browser, state_in(sent))
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/oauth/connected"
    row = user(engine)
    assert (row.athlete_id, row.state, row.email, row.dagster_task) == (RIDER, "active", "mira@example.org", "register")
    assert row.email_confirmed_at is None
    assert row.scopes == ALL.split(",")
    assert open_tokens(load_settings(), engine).access_token(RIDER).reveal() == "access-1"
    assert woken == ["tasks"]
    with engine.connect() as connection:
        (asked,) = list_imports(connection)
    assert (asked.athlete_id, asked.is_open, asked.begins_newest, asked.made_by) == (RIDER, True, True, "connect")
    assert (asked.steps, asked.profile, asked.state) == (HISTORY_STEPS, True, "due")
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.firstname)).scalar_one() == "Mira"
        assert connection.execute(select(operator_audit.c.action)).scalars().all() == ["connect"]
        assert connection.execute(select(func.count()).select_from(oauth_states)).scalar_one() == 0
    shown = browser.get("/oauth/connected")
    assert shown.status_code == 200
    assert "starts by itself" in words_of(shown)
    assert "sends no mails yet" in words_of(shown)
    assert strava.asked[0].form["code"] == "c0de"


def test_no_page_gives_the_code_away(browser: Browser) -> None:
    answer = come_back(browser, "unknown", "code=c0de")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "c0de" not in answer.text


def test_who_connects_again_has_new_tokens_and_what_waited_goes_on(
    browser: Browser, engine: Engine, strava: Loopback
) -> None:
    come_back(browser, state_in(browser.submit("/connect", "/oauth/connect", {"email": "mira@example.org"})))
    with engine.begin() as connection:
        connection.execute(update(users).values(state="needs_reauth", dagster_task=None))
        connection.execute(
            insert(webhook_events).values(
                event_key="k", source="webhook", subscription_id=1, object_type="activity", object_id=7,
                aspect_type="create", owner_id=RIDER, event_time=func.now(), updates={}, signed=True, state="parked",
            )
        )  # fmt: skip
    strava.answers(reply(TOKENS | {"access_token": "access-2"}))
    assert come_back(browser, state_in(browser.get("/oauth/connect"))).status_code == 303
    row = user(engine)
    assert (row.state, row.dagster_task, row.email) == ("active", "register", "mira@example.org")
    assert open_tokens(load_settings(), engine).access_token(RIDER).reveal() == "access-2"
    with engine.connect() as connection:
        assert connection.execute(select(webhook_events.c.state)).scalar_one() == "received"


def test_what_was_not_allowed_is_said_with_a_way_to_try_again(browser: Browser, engine: Engine) -> None:
    answer = come_back(browser, state_in(browser.get("/oauth/connect")), "code=c&scope=read,activity:read_all")
    assert answer.status_code == 303
    shown = browser.get(answer.headers["Location"])
    assert shown.status_code == 200
    assert "profile:read_all" in words_of(shown)
    assert "activity:read_all" not in words_of(shown)
    assert 'href="/connect"' in shown.text
    assert user(engine).scopes == ["read", "activity:read_all"]


def test_without_activities_there_is_no_connection(browser: Browser, engine: Engine, strava: Loopback) -> None:
    answer = come_back(browser, state_in(browser.get("/oauth/connect")), "code=c&scope=read,profile:read_all")
    assert answer.status_code == 403
    assert "permission to see activities" in words_of(answer)
    assert 'href="/connect"' in answer.text
    assert user(engine) is None
    assert strava.asked == []


def test_a_refusal_stores_nothing(browser: Browser, engine: Engine, strava: Loopback) -> None:
    answer = come_back(browser, state_in(browser.get("/oauth/connect")), "error=access_denied")
    assert answer.status_code == 403
    assert "declined" in words_of(answer)
    assert user(engine) is None
    assert strava.asked == []


def test_a_state_works_once(browser: Browser, strava: Loopback) -> None:
    state = state_in(browser.get("/oauth/connect"))
    assert come_back(browser, state).status_code == 303
    answer = come_back(browser, state)
    assert answer.status_code == 400
    assert "finished before" in words_of(answer)
    assert len(strava.asked) == 1


def test_another_browser_cannot_finish_it(browser: Browser, engine: Engine, strava: Loopback) -> None:
    state = state_in(browser.get("/oauth/connect"))
    other = Browser(browser.app).logged_in()
    other.get("/oauth/connect")
    for stranger in (other, Browser(browser.app)):
        answer = come_back(stranger, state)
        assert answer.status_code == 403
        assert "Another browser" in words_of(answer)
    assert user(engine) is None
    assert strava.asked == []
    assert come_back(browser, state).status_code == 303


def test_a_state_ends_after_ten_minutes(browser: Browser, engine: Engine, strava: Loopback) -> None:
    states = [state_in(browser.get("/oauth/connect")) for _ in range(2)]
    with engine.begin() as connection:
        late = connection.execute(select(func.max(oauth_states.c.expires_at) - func.now())).scalar_one()
        assert timedelta(minutes=9, seconds=50) < late <= timedelta(minutes=10)
        connection.execute(update(oauth_states).values(expires_at=func.now() - timedelta(seconds=1)))
    answer = come_back(browser, states[0])
    assert answer.status_code == 410
    assert "ten minutes" in words_of(answer)
    assert strava.asked == []
    with engine.begin() as connection:
        connection.execute(update(oauth_states).values(expires_at=func.now() - timedelta(days=2)))
    browser.get("/oauth/connect")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(oauth_states)).scalar_one() == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "state=s",
        "code=c&error=access_denied&state=s",
        "code=c&code=d&state=s",
        "code=c&state=s&state=t",
        "error=a&error=b&state=s",
        "code=c&scope=read&scope=read&state=s",
        "code=%00&state=s",
        "code=c%0a&state=s",
        "code=c&state=%00",
        "code=c%00&scope=read&state=s",
        "code=c&state=s&scope=%00",
        "code=c&state=s&scope=activity:read_all%00",
        "code=c&state=s&scope=activity:read_all,%0d%0aX-Odd: 1",
        "code=c&state=s&scope=activity:read_all,%1b[2J",
        "code=c&state=s&scope=activity:read_all,%e2%80%ae",
        "error=%00&state=s",
        f"code={'c' * 257}&state=s",
        f"code=c&state={'s' * 101}",
        f"code=c&state=s&scope=activity:read_all,{'x' * 14_000}",
        f"error={'x' * 14_000}&state=s",
    ],
)
def test_what_is_no_answer_of_stravas_is_refused(browser: Browser, strava: Loopback, query: str) -> None:
    answer = browser.get(f"/oauth/callback?{query}")
    assert answer.status_code == 400
    assert "not an answer from Strava" in words_of(answer)
    assert strava.asked == []


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("activity:read_all", ["activity:read_all"]),
        ("profile:read_all,read,activity:read_all", ALL.split(",")),
        ("read,activity:read", ["read", "activity:read"]),
        # What was not asked for, what is nobody's, and what is told twice.
        ("activity:read_all,activity:write,profile:write,read_all", ["activity:read_all"]),
        ("activity:read_all,admin,*,operator,,activity:read_all, read ", ["read", "activity:read_all"]),
        (f"activity:read_all,{'x' * 200}", ["activity:read_all"]),
        ("activity:read_all,%ff,%ed%a0%80", ["activity:read_all"]),
        ("activity:read_all,<script>,../..,'--", ["activity:read_all"]),
    ],
)
def test_permissions_are_kept_as_far_as_they_were_asked_for(
    browser: Browser, engine: Engine, told: str, kept: list[str]
) -> None:
    answer = come_back(browser, state_in(browser.get("/oauth/connect")), f"code=c&scope={quote(told, safe='%')}")
    assert answer.status_code == 303
    assert user(engine).scopes == kept
    with engine.connect() as connection:
        assert connection.execute(select(operator_audit.c.detail)).scalars().all() == [f"scopes {','.join(kept)}"]


@pytest.mark.parametrize("told", ["", ",", "read", "activity:write", "ACTIVITY:READ_ALL", "activity:read_all2"])
def test_without_a_permission_that_is_known_the_code_is_not_spent(
    browser: Browser, engine: Engine, strava: Loopback, told: str
) -> None:
    answer = come_back(browser, state_in(browser.get("/oauth/connect")), f"code=c&scope={told}")
    assert answer.status_code == 403
    assert "permission to see activities" in words_of(answer)
    assert strava.asked == []
    assert user(engine) is None


def test_an_odd_answer_spends_neither_state_nor_code(browser: Browser, engine: Engine, strava: Loopback) -> None:
    state = state_in(browser.get("/oauth/connect"))
    for scope in ("activity:read_all%00", f"activity:read_all,{'x' * 14_000}"):
        assert come_back(browser, state, f"code=c&scope={scope}").status_code == 400
    assert strava.asked == []
    assert come_back(browser, state).status_code == 303
    assert user(engine).scopes == ALL.split(",")


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        (reply(fault("RequestToken", "code", "invalid"), 400), 400, "does not take the code"),
        (reply(fault("AuthorizationCode", "", "expired"), 400), 400, "does not take the code"),
        (reply(fault("Application", "Status", "Inactive"), 403), 503, "switched off"),
        (reply(fault("Application", "connected athletes", "exceeded"), 403), 403, "The app is full"),
        (reply({"message": "Forbidden"}, 403), 503, "does not answer"),
        (reply({}, 503), 503, "does not answer"),
        (Reply(200, b"<html>"), 503, "does not answer"),
        (reply({}, 429), 503, "does not answer"),
        (reply(fault("Application", "client_secret", "invalid"), 401), 502, "Strava refuses"),
    ],
)
def test_a_code_that_gives_no_tokens_ends_on_a_clear_page(
    browser: Browser, engine: Engine, strava: Loopback, told: Answer, status: int, words: str
) -> None:
    strava.answers(told)
    answer = come_back(browser, state_in(browser.get("/oauth/connect")))
    assert answer.status_code == status
    assert words in words_of(answer)
    assert answer.mimetype == "text/html"
    assert user(engine) is None


@pytest.mark.parametrize("missing", [["ID"], ["SECRET"], ["ID", "SECRET"]])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_app_that_is_not_set_is_named_to_the_operator_and_to_nobody_else(
    strava: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    missing: list[str], method: str,
) -> None:  # fmt: skip
    names = [f"STRAVA_CLIENT_{name}" for name in missing]
    for name in names:
        monkeypatch.delenv(name)
    app = create_app(load_settings(), engine)
    operator, guest = Browser(app).logged_in(), Browser(app)
    link = re.search(r'value="(http[^"]+invite=[^"]+)"', operator.get(operator.submit("/", "/invites").location).text)
    assert link is not None
    guest.get(link[1])
    for browser in (operator, guest):
        if method == "GET":
            answer = browser.get("/oauth/connect")
        else:
            answer = browser.submit("/connect", "/oauth/connect", {"email": "mira@example.org"})
        assert (answer.status_code, answer.mimetype) == (500, "text/html")
        assert "A setting is wrong here" in words_of(answer)
        told = [name for name in ("STRAVA_CLIENT_ID", "STRAVA_CLIENT_SECRET") if name in words_of(answer)]
        assert told == (names if browser is operator else [])
    assert str(load_settings().home) not in answer.text
    # One line in the log, and no traceback.
    assert [record.exc_info for record in caplog.records if names[0] in record.getMessage()] == [None, None]
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(oauth_states)).scalar_one() == 0


@pytest.mark.parametrize(
    "email",
    [
        "mira",
        "mira@home",
        "a b@example.org",
        "a@example.org\nBcc: x@y.org",
        "@",
        "a@b@c.org",
        "m\u00edra@example.org",
        '"quoted"@example.org',
        "a@[127.0.0.1]",
        "a" * 300 + "@example.org",
    ],
)
def test_what_is_no_address_is_shown_again(browser: Browser, engine: Engine, email: str) -> None:
    answer = browser.submit("/connect", "/oauth/connect", {"email": email})
    assert answer.status_code == 400
    assert "no e-mail address" in words_of(answer)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(oauth_states)).scalar_one() == 0


def test_who_is_asked_for_an_address_is_told_when_no_mails_are_sent(
    browser: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no mail server" in words_of(browser.get("/connect"))
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtps://mail.example.org")
    monkeypatch.setenv("STRAVA_MAIL_FROM", "rides@example.org")
    browser.app = create_app(load_settings(), engine)
    told = words_of(Browser(browser.app).logged_in().get("/connect"))
    assert "no mail server" not in told
    assert "You will first get a mail to confirm the address" in told


def test_an_address_that_is_confirmed_is_not_asked_again(
    strava: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_SMTP_URL", "smtps://mail.example.org")
    browser = Browser(create_app(load_settings(), engine)).logged_in()

    def connect_with(email: str) -> str:
        strava.answers(reply(TOKENS))
        come_back(browser, state_in(browser.submit("/connect", "/oauth/connect", {"email": email})))
        return words_of(browser.get("/oauth/connected"))

    told = connect_with("mira@example.org")
    assert "You will get a mail to confirm" in told
    # Limits may hold it back.
    assert "up to a day" in told
    with engine.begin() as connection:
        consent = consent_of(connection, RIDER)
        assert consent is not None
        confirm_address(connection, consent)
    assert "You will get a mail to confirm" not in connect_with("mira@EXAMPLE.org")
    assert user(engine).email_confirmed_at is not None
    assert "You will get a mail to confirm" in connect_with("another@example.org")
    assert user(engine).email_confirmed_at is None


def test_a_stranger_needs_a_link(strava: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    app = create_app(load_settings(), engine)
    operator, guest = (Browser(app, host="rides.example.org", scheme="https") for _ in range(2))
    for path in ("/connect", "/oauth/connect", "/connect?invite=made-up"):
        assert guest.get(path).status_code == 403
    assert guest.post("/oauth/connect", {"csrf": csrf_in(guest.get("/login"))}).status_code == 403

    operator.submit("/login", "/login", {"token": "a-token-of-the-operator"})
    operator.submit("/", "/invites")
    shown = operator.get("/").text
    link = urlsplit(shown.split('readonly value="')[1].split('"')[0])
    assert link.netloc == "rides.example.org"

    assert guest.get(f"{link.path}?{link.query}").status_code == 200
    assert come_back(guest, state_in(guest.get("/oauth/connect"))).status_code == 303
    assert user(engine).athlete_id == RIDER
    with engine.connect() as connection:
        actors = connection.execute(select(operator_audit.c.actor).where(operator_audit.c.action == "connect"))
        assert actors.scalars().all() == ["athlete"]
    assert guest.get("/").headers["Location"] == "/login"
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", "another-token-of-the-operator")
    late = Browser(create_app(load_settings(), engine), host="rides.example.org", scheme="https")
    assert late.get(f"{link.path}?{link.query}").status_code == 403


def test_an_athlete_is_disconnected(browser: Browser, engine: Engine, strava: Loopback, woken: list[str]) -> None:
    come_back(browser, state_in(browser.get("/oauth/connect")))
    strava.answers(reply({}))
    answer = browser.submit("/", "/oauth/disconnect", {"athlete": str(RIDER)})
    assert answer.status_code == 303
    assert strava.asked[-1].path == "/oauth/revoke"
    row = user(engine)
    assert (row.state, row.strava_access_token, row.dagster_task) == ("revoked", None, "erase")
    assert woken == ["tasks", "tasks"]
    assert f"Athlete {RIDER} is disconnected; the data are deleted from now on." in words_of(browser.get("/"))
    with engine.connect() as connection:
        assert connection.execute(select(operator_audit.c.actor)).scalars().all() == ["operator"] * 2
    DagsterTasks(load_settings(), engine).run_once()
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(athletes)).scalar_one() == 0
        assert connection.execute(select(operator_audit.c.action)).scalars().all()[-1] == "erase"


def test_whoever_is_back_before_the_data_are_deleted_waits_for_that(
    browser: Browser, engine: Engine, strava: Loopback
) -> None:
    come_back(browser, state_in(browser.get("/oauth/connect")))
    with engine.begin() as connection:
        connection.execute(update(athletes).values(city="Graz"))
    strava.answers(reply({}), reply(TOKENS))
    browser.submit("/", "/oauth/disconnect", {"athlete": str(RIDER)})
    assert come_back(browser, state_in(browser.get("/oauth/connect"))).status_code == 303
    assert user(engine).state == "active"
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.firstname, athletes.c.city)).all() == [("Mira", None)]
        actions = connection.execute(select(operator_audit.c.action).order_by(operator_audit.c.id)).scalars().all()
    assert actions == ["connect", "disconnect", "erase", "connect"]


def test_whoever_is_back_while_the_data_cannot_be_deleted_is_told_so(
    browser: Browser, engine: Engine, strava: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("s3://bucket: Access Denied")

    come_back(browser, state_in(browser.get("/oauth/connect")))
    strava.answers(reply({}), reply(TOKENS))
    browser.submit("/", "/oauth/disconnect", {"athlete": str(RIDER)})
    monkeypatch.setattr("strava_pipeline.warehouse.lake_files.erase_athlete_points", refuse)
    answer = come_back(browser, state_in(browser.get("/oauth/connect")))
    assert answer.status_code == 503
    assert "Your earlier data are still being deleted" in words_of(answer)
    assert user(engine).state == "revoked"


def test_data_stays_where_the_setting_says_so(
    strava: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_PURGE_ON_DEAUTHORIZATION", "false")
    browser = Browser(create_app(load_settings(), engine)).logged_in()
    come_back(browser, state_in(browser.get("/oauth/connect")))
    browser.submit("/", "/oauth/disconnect", {"athlete": str(RIDER)})
    assert "is disconnected; the data stay." in words_of(browser.get("/"))
    assert user(engine).state == "revoked"
    DagsterTasks(load_settings(), engine).run_once()
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.id)).scalars().all() == [RIDER]


@pytest.mark.parametrize("athlete", ["", "5", "x", "\uff11", "-1", "9" * 30])
def test_whoever_is_not_connected_cannot_be_disconnected(browser: Browser, athlete: str) -> None:
    assert browser.submit("/", "/oauth/disconnect", {"athlete": athlete}).status_code == 400


def test_a_form_from_elsewhere_does_nothing(browser: Browser, engine: Engine, strava: Loopback) -> None:
    come_back(browser, state_in(browser.get("/oauth/connect")))
    token = csrf_in(browser.get("/"))
    form = {"athlete": str(RIDER), "csrf": token}
    other = csrf_in(Browser(browser.app).get("/login"))
    assert browser.post("/oauth/disconnect", form, Origin="https://evil.example").status_code == 403
    assert browser.post("/oauth/disconnect", form, Origin="null", Sec_Fetch_Site="cross-site").status_code == 403
    assert browser.post("/oauth/disconnect", form, Origin="").status_code == 403
    assert browser.post("/oauth/disconnect", form, Origin="http://[").status_code == 403
    assert browser.post("/oauth/disconnect", form | {"csrf": other}).status_code == 403
    assert browser.post("/oauth/disconnect", form | {"csrf": "é"}).status_code == 403
    assert Browser(browser.app).post("/oauth/disconnect", form).status_code == 403
    assert user(engine).state == "active"
    assert browser.post("/oauth/disconnect", form, Origin="null", Sec_Fetch_Site="same-origin").status_code == 303
    assert user(engine).state == "revoked"


PUBLIC = "https://rides.example.org"


@pytest.mark.parametrize(
    ("public", "host", "origin", "is_ours"),
    [
        (PUBLIC, "rides.example.org", PUBLIC, True),
        ("https://Rides.Example.org:443/", "rides.example.org", PUBLIC, True),
        (PUBLIC, "127.0.0.1:8080", PUBLIC, True),
        (PUBLIC, "127.0.0.1:8080", "http://127.0.0.1:8080", True),
        (None, "127.0.0.1:8080", "http://127.0.0.1:8080", True),
        (None, "[::1]:8080", "http://[::1]:8080", True),
        ("http://localhost:8080", "localhost:8080", "http://localhost:8080", True),
        (PUBLIC, "rides.example.org", "http://rides.example.org", False),
        (PUBLIC, "rides.example.org:443", "http://rides.example.org:443", False),
        (PUBLIC, "rides.example.org", "http://rides.example.org:443", False),
        (PUBLIC, "rides.example.org", "ftp://rides.example.org", False),
        (PUBLIC, "rides.example.org", f"{PUBLIC}/", False),
        (PUBLIC, "rides.example.org", f"{PUBLIC}/path", False),
        (PUBLIC, "rides.example.org", f"{PUBLIC}?x", False),
        (PUBLIC, "rides.example.org", f"{PUBLIC}:8443", False),
        (PUBLIC, "rides.example.org", "https://x@rides.example.org", False),
        (PUBLIC, "other.example.org", "http://other.example.org", False),
        (PUBLIC, "other.example.org", "https://other.example.org", True),
        ("http://localhost:8080", "localhost:8080", "https://localhost:8080", False),
        (None, "127.0.0.1:8080", "ftp://127.0.0.1:8080", False),
        (None, "127.0.0.1:8080", "http://127.0.0.1:8080/x", False),
        (None, "127.0.0.1:8080", "http://127.0.0.1:8081", False),
        (None, "127.0.0.1:8080", "http://127.0.0.1", False),
        (None, "127.0.0.1:8080", "http://localhost:8080", False),
    ],
)
def test_a_form_comes_from_our_very_scheme_host_and_port(
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    public: str | None,
    host: str,
    origin: str,
    is_ours: bool,
) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_HOSTS", "other.example.org")
    if public is not None:
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", public)
    app = create_app(load_settings(), engine)
    browser = Browser(app, host=host, scheme="https" if public and public.startswith("https") else "http")
    form = {"token": "a-token-of-the-operator", "csrf": csrf_in(browser.get("/login"))}
    assert browser.post("/login", form, Origin=origin).status_code == (303 if is_ours else 403)
