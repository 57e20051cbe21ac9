"""The operator's page while the primary is away: read from the replica, by whoever was logged in before."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine, Table, func, insert, make_url, select

from strava_pipeline.redaction import SecretPath
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse import reading
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.reading import Reader, open_reader
from strava_pipeline.warehouse.schema.access_tables import invites, operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.web.operator_door import cookie_name
from strava_pipeline_tests.conftest import OPERATOR_TOKEN, SETTINGS
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.moody_server import MoodyDatabase
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.streaming_replica import StreamingReplica
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from webhook_bridge.app import create_app
from webhook_bridge.seen_sessions import SeenSessions

RIDER = 1001


@pytest.fixture
def settings(moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(reading, "ASK_PRIMARY_AGAIN_SECONDS", 0.0)
    given = {
        "STRAVA_DATABASE_URL": moody.address,
        "STRAVA_DATABASE_REPLICA_URL": replica.address(moody.name),
    }
    for name, value in (SETTINGS | given).items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def engine(settings: Settings, moody: MoodyDatabase) -> Iterator[Engine]:
    """The primary, with an athlete."""
    engine = open_engine(make_url(moody.address))
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
    yield engine
    engine.dispose()


@pytest.fixture
def reader(settings: Settings) -> Iterator[Reader]:
    reader = open_reader(settings)
    yield reader
    reader.close()


@pytest.fixture
def browser(settings: Settings, engine: Engine, reader: Reader, replica: StreamingReplica) -> Browser:
    """A browser whose session stands in the primary and in the replica."""
    browser = Browser(create_app(settings, engine, reader=reader)).logged_in()
    replica.catch_up()
    return browser


def count(table: Table, engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_the_page_says_as_of_when_it_is_and_goes_back_to_the_primary(
    browser: Browser, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    note_success(engine, PeriodicJob.ALERTS)
    assert "replica" not in words_of(browser.get("/"))
    moody.on.stop()
    words = words_of(browser.get("/"))
    assert "Shown as of 20" in words
    assert f" UTC, from the replica at {replica.server.socket_dir}/{moody.name}: the database at " in words
    assert str(RIDER) in words
    assert "No alert was on when this was written" in words
    replica.follow()
    words = words_of(browser.get("/"))
    assert "replica" not in words
    assert "Nothing is wrong: no alert is on" in words
    assert "As of 20" in words


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"/imports/{RIDER}", {}),
        (f"/imports/{RIDER}/pause", {}),
        ("/invites", {"people": "1"}),
        ("/dead-letters/replay", {}),
        ("/oauth/disconnect", {"athlete": str(RIDER)}),
        ("/logout/everywhere", {}),
    ],
)
def test_a_button_says_in_one_line_that_it_did_nothing_and_does_nothing(
    browser: Browser, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica, path: str, form: dict[str, str]
) -> None:
    carried = {"csrf": csrf_in(browser.get("/"))}
    moody.on.stop()
    answer = browser.post(path, carried | form)
    assert answer.status_code == 503
    assert "What you asked for may not be done. Load the page once the database answers" in words_of(answer)
    replica.follow()
    engine.dispose()
    for table in (imports, invites, operator_audit):
        assert count(table, engine) == 0
    assert browser.get("/").status_code == 200


def test_nobody_logs_in_while_the_primary_is_away(
    browser: Browser, settings: Settings, engine: Engine, moody: MoodyDatabase
) -> None:
    with engine.begin() as connection:
        link = operator_sessions.new_sign_in_link(connection, "proof")
    stranger = Browser(browser.app)
    moody.on.stop()
    form = stranger.get("/login")
    assert form.status_code == 200
    assert stranger.post("/login", {"csrf": csrf_in(form), "token": OPERATOR_TOKEN}).status_code == 503
    assert stranger.get(f"{SecretPath.LOGIN}/{link}").status_code == 503
    assert cookie_name(settings) not in stranger.cookies()
    assert stranger.get("/").status_code == 303


def test_a_session_that_this_bridge_has_not_seen_at_the_primary_shows_nothing(
    browser: Browser, moody: MoodyDatabase
) -> None:
    moody.on.stop()  # before the session's first look, though the replica has it
    answer = browser.get("/")
    assert answer.status_code == 503
    assert str(RIDER) not in answer.text


@pytest.mark.parametrize("path", ["/logout", "/logout/everywhere"])
def test_a_session_that_was_ended_shows_nothing_though_the_replica_does_not_know_it_yet(
    browser: Browser, settings: Settings, moody: MoodyDatabase, replica: StreamingReplica, path: str
) -> None:
    thief = Browser(browser.app)
    thief.keep(cookie_name(settings), browser.cookies()[cookie_name(settings)])
    assert thief.get("/").status_code == 200
    replica.pause_replay()
    browser.submit("/", path)
    moody.on.stop()
    answer = thief.get("/")
    assert answer.status_code == 503
    assert str(RIDER) not in answer.text


def test_a_session_that_was_ended_elsewhere_shows_nothing_once_that_is_replayed(
    browser: Browser, engine: Engine, moody: MoodyDatabase, replica: StreamingReplica
) -> None:
    assert browser.get("/").status_code == 200
    with engine.begin() as connection:
        operator_sessions.end_all_sessions(connection)
    replica.catch_up()
    moody.on.stop()
    answer = browser.get("/")
    assert answer.status_code == 303
    assert str(RIDER) not in answer.text


def test_only_pages_that_show_what_is_stored_are_read_from_the_replica(browser: Browser, moody: MoodyDatabase) -> None:
    assert browser.get("/").status_code == 200
    moody.on.stop()
    assert "from the replica at" in words_of(browser.get(f"/months/{RIDER}/2026-06"))
    for path in ("/connect", "/oauth/connect", "/oauth/callback?state=none&code=code"):
        assert browser.get(path).status_code == 503


def test_a_bridge_in_a_process_of_its_own_shows_its_page_and_goes_back(
    browser: Browser, settings: Settings, moody: MoodyDatabase, replica: StreamingReplica, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        log.open("wb") as written,
        subprocess.Popen(PATIENT_BRIDGE, stdout=subprocess.PIPE, stderr=written, text=True) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]

        def page() -> str:
            answer = requests.get(address, cookies=browser.cookies(), timeout=PATIENCE_SECONDS, allow_redirects=False)
            return answer.text if answer.status_code == 200 else ""

        try:
            assert "As of 20" in page(), log.read_text()
            moody.on.stop()
            eventually(lambda: "from the replica at" in page(), "a page from the replica")
            replica.follow()
            eventually(lambda: "As of 20" in page(), "a page from the primary")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in log.read_text()
    assert "read from the replica at" in log.read_text()


def test_an_answer_from_before_a_logout_does_not_count() -> None:
    seen = SeenSessions()
    asked = seen.endings()
    seen.end("another")
    seen.note("secret", is_open=True, endings=asked)
    assert not seen.has("secret")
    seen.note("secret", is_open=True, endings=seen.endings())
    assert seen.has("secret")
    seen.note("secret", is_open=False, endings=asked)
    assert not seen.has("secret")


def test_a_logout_whose_answer_is_lost_counts(browser: Browser, moody: MoodyDatabase) -> None:
    assert browser.get("/").status_code == 200
    form = {"csrf": csrf_in(browser.get("/"))}
    moody.on.stop()
    assert browser.post("/logout", form).status_code == 503
    assert browser.get("/").status_code == 503
