"""The operator's page: what it shows in each state, and what its buttons do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from markupsafe import escape
from sqlalchemy import Engine, func, insert, make_url, select, update

from strava_pipeline.months import Span, month_span
from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.imports.deletion_guard import note_compared
from strava_pipeline.warehouse.imports.failed_months import note_failed
from strava_pipeline.warehouse.imports.wishes import list_imports
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, save_progress
from strava_pipeline.warehouse.quota.app_status import note_inactive
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, athletes
from strava_pipeline.warehouse.states import ImportStep, WaitingFor
from strava_pipeline.warehouse.upkeep.due import add_missing
from strava_pipeline_tests.placed import PlacedLoopback, a_place
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from strava_pipeline_tests.wishes import change, wish, wish_for
from webhook_bridge.app import create_app
from webhook_bridge.status import WAITS

RIDER = 1001
DAY = datetime(2025, 6, 10, tzinfo=UTC)


STOPPED, RUNNING = "STOPPED", "RUNNING"


def automation(upkeep: str = RUNNING, theirs: str = STOPPED, sensor: str = RUNNING) -> Reply:
    """What Dagster tells of schedules and sensors: of ours, and of a host's."""
    schedules = [
        {
            "name": "strava_upkeep_every_five_minutes",
            "pipelineName": "strava_upkeep",
            "scheduleState": {"status": upkeep},
        },
        {"name": "nightly", "pipelineName": "retention", "scheduleState": {"status": theirs}},
    ]
    sensors = [
        {"name": "strava_training_load_automation", "sensorState": {"status": sensor}},
        {"name": "default_automation_condition_sensor", "sensorState": {"status": theirs}},
        {"name": "strava_rides_of_theirs", "sensorState": {"status": theirs}},
    ]
    told = {"__typename": "Repository", "schedules": schedules, "sensors": sensors}
    return reply({"data": {"answer": told}})


@pytest.fixture
def dagster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlacedLoopback]:
    with PlacedLoopback() as loopback:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", loopback.url)
        loopback.answers(automation())
        yield loopback


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def browser(dagster: Loopback, engine: Engine, woken: list[str]) -> Browser:
    return Browser(create_app(load_settings(), engine, wake=lambda: woken.append("dispatcher"))).logged_in()


def add_athlete(engine: Engine, athlete_id: int = RIDER, **more: Any) -> None:
    values = {"athlete_id": athlete_id, "scopes": ["read", "activity:read_all"], "state": "active", "generation": 1}
    with engine.begin() as connection:
        connection.execute(insert(users).values(values | more))
        connection.execute(
            insert(athletes).values(id=athlete_id, firstname="Mira", lastname="<b>Bo", fetched_at=func.now())
        )


def add_activity(engine: Engine, number: int, *, whole: bool) -> None:
    row = {"athlete_id": RIDER, "fetched_at": DAY}
    with engine.begin() as connection:
        connection.execute(
            insert(activities).values(
                id=number, resource_state=2, name="Ride", type="Ride", sport_type="Ride", start_date=DAY, **row
            )
        )
        if whole:
            connection.execute(insert(payloads).values(activity_id=number, kind="detail", body={}, digest="d", **row))
            connection.execute(insert(activity_streams).values(activity_id=number, point_count=0, **row))


def add_event(engine: Engine, number: int, state: str = "dead", **more: Any) -> int:
    values = {
        "event_key": f"event-{number}", "source": "webhook", "subscription_id": 1, "object_type": "activity",
        "object_id": number, "aspect_type": "create", "owner_id": RIDER, "event_time": DAY, "updates": {},
        "signed": True, "state": state,
    }  # fmt: skip
    if state == "dead":
        values |= {"error": "<i>Strava answered 404", "error_class": "permanent", "finished_at": func.now()}
    with engine.begin() as connection:
        return int(
            connection.execute(insert(webhook_events).values(values | more).returning(webhook_events.c.id)).scalar_one()
        )


def states(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        query = select(webhook_events.c.state).order_by(webhook_events.c.id)
        return list(connection.execute(query).scalars())


def audited(engine: Engine) -> list[tuple[str, ...]]:
    columns = operator_audit.c
    query = select(columns.actor, columns.action, columns.subject, columns.outcome).order_by(columns.id)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_an_empty_installation_says_what_to_do_next(browser: Browser) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert "Nobody is connected yet" in words_of(answer)
    assert 'href="/connect"' in answer.text
    assert "None: no event waits for a decision of yours" in words_of(answer)
    assert "quarter hour" in words_of(answer)


def test_an_athlete_shows_with_state_and_what_is_lacking(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    add_athlete(engine, 2002, state="needs_reauth")
    add_athlete(engine, 3003, state="revoked")
    shown = browser.get("/")
    assert "&lt;b&gt;Bo" in shown.text
    words = words_of(shown)
    assert "lacks profile:read_all" in words
    assert "must connect again" in words
    assert "disconnected" in words
    assert shown.text.count('action="/oauth/disconnect"') == 2


def import_cell(browser: Browser) -> str:
    """What the page says of the one athlete's import."""
    cell = re.search(r'data-label="Import">(.*?)</td>', browser.get("/").text, re.DOTALL)
    assert cell is not None
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", cell[1])).split())


def at_work(engine: Engine, doing: str, first: date | None = None, last: date | None = None) -> int:
    import_id = wish_for(engine)
    later = datetime.now(UTC) + timedelta(hours=1)
    change(engine, state="running", run_id="r", doing=doing, doing_first=first, doing_last=last, lease_until=later)
    return import_id


def test_progress_and_estimate_come_from_what_is_stored(browser: Browser, engine: Engine, dagster: Loopback) -> None:
    add_athlete(engine)
    for number in range(10):
        add_activity(engine, number, whole=number < 4)
    at_work(engine, "months", date(2025, 5, 1), date(2025, 6, 1))
    assert import_cell(browser).startswith("2025-05 to 2025-06 10 listed, 4 with details, 4 with samples Pause")
    words = words_of(browser.get("/"))
    assert "need 12 more requests" in words
    assert "UTC at the earliest" in words
    report = ProgressReport(
        "r", Span(RIDER, DAY, DAY + timedelta(days=31)), "activity_streams", Completeness(10, 4, 4), 8,
        waiting_for="Strava's quota", waiting_until=DAY, estimated_end=DAY + timedelta(days=1),
    )  # fmt: skip
    with engine.begin() as connection:
        save_progress(connection, report)
    cell = import_cell(browser)
    assert "2025-05 to 2025-06; waiting until 2025-06-10 00:00 UTC: Strava's quota" in cell
    assert "done about 2025-06-11 00:00 UTC" in cell
    assert dagster.asked[0].path == "/graphql"


@pytest.mark.parametrize(
    ("steps", "told", "requests"),
    [
        (["summary", "detail"], "10 listed, 4 with details Pause", "need 6 more requests"),
        (["summary"], "10 listed Pause", None),
    ],
)
def test_progress_is_of_what_imports_want(
    browser: Browser, engine: Engine, steps: list[str], told: str, requests: str | None
) -> None:
    add_athlete(engine)
    for number in range(10):
        add_activity(engine, number, whole=number < 4)
    at_work(engine, "months", date(2025, 5, 1), date(2025, 6, 1))
    change(engine, steps=steps)
    assert import_cell(browser).startswith(f"2025-05 to 2025-06 {told}")
    words = words_of(browser.get("/"))
    assert ("more requests" in words, requests is None or requests in words) == (requests is not None, True)


@pytest.mark.parametrize(
    ("doing", "words"),
    [("newest_month", "newest month"), ("listing", "listing the history"), ("profile", "profile")],
)
def test_what_a_run_does_is_said(browser: Browser, engine: Engine, doing: str, words: str) -> None:
    add_athlete(engine)
    at_work(engine, doing, date(2015, 5, 1), date(2025, 6, 1))
    assert import_cell(browser).startswith(f"{words} Pause")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "due: goes on by itself Pause"),
        ({"state": "launched"}, "launched: waits for its turn in Dagster Pause"),
        ({"attempts": 1, "error": "odd"}, "1 run without progress, again at 2025-06-10 00:00 UTC: odd Pause"),
        ({"attempts": 3, "error": "odd"}, "3 runs without progress, again at 2025-06-10 00:00 UTC: odd Pause"),
        ({"error": "used up"}, "again at 2025-06-10 00:00 UTC: used up Pause"),
        ({"whole_at": DAY}, "complete Pause"),
        ({"paused_at": DAY, "paused_by": "cancel"}, "paused by a canceled run since 2025-06-10 00:00 UTC Resume"),
    ],
)
def test_the_state_of_an_import_is_said(browser: Browser, engine: Engine, values: dict[str, Any], words: str) -> None:
    add_athlete(engine)
    wish_for(engine)
    change(engine, **({"next_at": DAY} | values))
    assert import_cell(browser).startswith(words)


def test_everything_stored_is_not_complete_before_a_look_said_so(browser: Browser, engine: Engine) -> None:
    """Three of thirty months, each of them whole, right after a run failed."""
    add_athlete(engine)
    add_activity(engine, 1, whole=True)
    wish_for(engine)
    change(engine, attempts=1, error="no answer")
    assert "complete" not in import_cell(browser)
    assert "%" not in import_cell(browser)


def test_what_an_import_leaves_out_is_said(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    add_activity(engine, 1, whole=False)
    wish_for(engine)
    month = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
    with engine.begin() as connection:
        add_to_quarantine(connection, month, ImportStep.DETAIL, {1: "does not map"})
        for _ in range(3):
            note_failed(connection, month, ImportStep.STREAMS, "ZeroDivisionError")
    assert "1 put aside; 2025-06 fails (3 times, tried again daily): ZeroDivisionError" in import_cell(browser)
    with engine.begin() as connection:
        row = {"activity_id": 1, "athlete_id": RIDER, "point_count": 0, "fetched_at": DAY}
        connection.execute(insert(activity_streams).values(row))
    assert "fails" not in import_cell(browser)


def test_what_a_listing_did_not_delete_is_said_beside_the_athlete(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    held = "Strava lists only 3 of 2,014 stored activities: nothing was deleted"
    with engine.begin() as connection:
        note_compared(connection, RIDER, held)
    assert held in words_of(browser.get("/"))
    with engine.begin() as connection:
        note_compared(connection, RIDER, None)
    assert held not in words_of(browser.get("/"))


def test_the_page_says_what_upkeep_needs_and_how_late_it_is(browser: Browser, engine: Engine) -> None:
    assert "Upkeep" not in words_of(browser.get("/"))
    for number in range(100):
        add_athlete(engine, RIDER + number)
    with engine.begin() as connection:
        add_missing(connection)
    told = words_of(browser.get("/"))
    assert "Upkeep: 100 athletes need 700 requests a day" in told
    assert "they need 4.7 times that; 200 due" in told


def test_an_import_waits_for_an_athlete_who_must_connect_again(browser: Browser, engine: Engine) -> None:
    add_athlete(engine, state="needs_reauth")
    wish_for(engine)
    assert import_cell(browser).startswith("goes on once the athlete connects again")


@pytest.mark.parametrize("scopes", [["read"], ["read", "profile:read_all"], []])
def test_an_import_waits_for_an_athlete_who_lets_no_activities_be_seen(
    browser: Browser, engine: Engine, scopes: list[str]
) -> None:
    add_athlete(engine, scopes=scopes)
    import_id = wish_for(engine)
    waits = "goes on once the athlete connects again and lets the app see activities"
    assert import_cell(browser).startswith(f"{waits} Pause")
    change(engine, import_id, paused_at=DAY, paused_by="operator")
    assert import_cell(browser).startswith(
        f"paused by the operator since 2025-06-10 00:00 UTC; after that it {waits} Resume"
    )
    change(engine, import_id, paused_at=None, paused_by=None)
    with engine.begin() as connection:
        connection.execute(update(users).values(scopes=["read", "activity:read"]))
    assert import_cell(browser).startswith("due: goes on by itself")


def test_of_several_imports_one_that_is_not_complete_is_shown(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    opened, bounded = wish_for(engine), wish_for(engine, date(2025, 5, 1), date(2025, 6, 1))
    change(engine, opened, whole_at=DAY)
    change(engine, bounded, attempts=1, error="odd", next_at=DAY)
    assert "without progress" in import_cell(browser)
    change(engine, bounded, whole_at=DAY)
    assert import_cell(browser).startswith("complete")


def test_an_import_is_paused_and_goes_on(engine: Engine, dagster: Loopback, woken: list[str]) -> None:
    browser = Browser(create_app(load_settings(), engine, dagster_tasks_wake=lambda: woken.append("tasks"))).logged_in()
    add_athlete(engine)
    import_id = wish_for(engine)
    assert browser.submit("/", f"/imports/{RIDER}/pause").status_code == 303
    assert f"The import of athlete {RIDER} is paused" in words_of(browser.get("/"))
    assert wish(engine, import_id).paused_by == "operator"
    browser.submit("/", f"/imports/{RIDER}/pause")
    assert browser.submit("/", f"/imports/{RIDER}/resume").status_code == 303
    assert f"The import of athlete {RIDER} goes on" in words_of(browser.get("/"))
    assert wish(engine, import_id).paused_at is None
    browser.submit("/", f"/imports/{RIDER}/resume")
    assert woken == ["tasks", "tasks"]
    assert audited(engine) == [
        ("operator", "pause", f"athlete {RIDER}", "ok"),
        ("operator", "pause", f"athlete {RIDER}", "failed"),
        ("operator", "resume", f"athlete {RIDER}", "ok"),
        ("operator", "resume", f"athlete {RIDER}", "failed"),
    ]


def test_an_import_that_nobody_asked_for_can_be_asked_for(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    assert import_cell(browser).startswith("not asked for Import")
    assert browser.submit("/", f"/imports/{RIDER}").status_code == 303
    with engine.connect() as connection:
        (asked,) = list_imports(connection)
    assert (asked.athlete_id, asked.is_open, asked.made_by) == (RIDER, True, "operator")
    assert browser.submit("/", "/imports/9999").status_code == 400
    assert audited(engine) == [("operator", "import", f"athlete {RIDER}", "ok")]


def test_the_imports_of_all_athletes_are_asked_for_by_one_button(
    engine: Engine, dagster: Loopback, woken: list[str]
) -> None:
    browser = Browser(create_app(load_settings(), engine, dagster_tasks_wake=lambda: woken.append("tasks"))).logged_in()
    add_athlete(engine)
    assert "Import all athletes 1 without an import" in words_of(browser.get("/"))
    assert browser.submit("/", "/imports").status_code == 303
    words = words_of(browser.get("/"))
    assert "Imports that begin by themselves, a few at a time: 1; that were asked for before: 0." in words
    assert "Import all athletes" not in words
    assert woken == ["tasks"]
    assert audited(engine) == [("operator", "import", f"athlete {RIDER}", "ok")]


def test_the_page_says_that_dagster_does_not_answer(settings: Settings, engine: Engine) -> None:
    add_athlete(engine)
    wish_for(engine)
    browser = Browser(create_app(settings, engine)).logged_in()
    assert "due: goes on by itself (Dagster does not answer)" in import_cell(browser)
    assert "Dagster does not answer at" in words_of(browser.get("/"))
    change(engine, whole_at=DAY)
    assert "Dagster" not in import_cell(browser)


def test_links_lead_to_where_browsers_reach_dagster(
    dagster: Loopback, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_PUBLIC_URL", "https://dagster.example.org/")
    add_athlete(engine)
    page = Browser(create_app(load_settings(), engine)).logged_in().get("/").text
    assert 'href="https://dagster.example.org/overview/activity"' in page
    assert dagster.url not in page


def test_the_page_says_that_dagster_has_none_of_our_jobs(
    browser: Browser, dagster: PlacedLoopback, engine: Engine
) -> None:
    add_athlete(engine)
    dagster.places, dagster.errors = [], {"theirs": "ImportError: no <b>x"}
    words = words_of(browser.get("/"))
    assert "Dagster works on nothing of ours: no code location of Dagster at" in words
    assert "this one has theirs, not loaded: ImportError: no <b>x. Events and imports are kept." in words
    assert "Dagster does not answer" not in words


def test_the_page_says_which_setting_tells_two_places_apart(browser: Browser, dagster: PlacedLoopback) -> None:
    dagster.places.append(a_place("other"))
    assert "has our jobs more than once: set STRAVA_DAGSTER_LOCATION" in words_of(browser.get("/"))


def test_the_page_says_what_of_ours_stands_still(browser: Browser, dagster: PlacedLoopback) -> None:
    assert "Stopped in Dagster" not in words_of(browser.get("/"))
    dagster.answers(automation(upkeep=STOPPED, sensor=STOPPED))
    assert (
        "Stopped in Dagster: strava_training_load_automation (training loads are not computed anew);"
        " strava_upkeep_every_five_minutes (what Strava does not tell of is not found)." in words_of(browser.get("/"))
    )


def test_a_location_that_was_renamed_meanwhile_is_no_fault(browser: Browser, dagster: PlacedLoopback) -> None:
    browser.get("/")
    dagster.places = [a_place("renamed")]
    dagster.answers(reply({"data": {"answer": {"__typename": "RepositoryNotFoundError"}}}), automation(upkeep=STOPPED))
    words = words_of(browser.get("/"))
    assert "Dagster works on nothing" not in words
    assert "Stopped in Dagster: strava_upkeep_every_five_minutes" in words


def test_a_link_to_an_athletes_runs_has_the_tag_that_they_have(
    browser: Browser, dagster: PlacedLoopback, engine: Engine
) -> None:
    add_athlete(engine)
    dagster.places = [a_place("sports", key_prefix=["company", "cycling"])]
    assert f"tag%3Acompany_cycling%2Fathlete%3D{RIDER}" in browser.get("/").text
    dagster.places = []
    dagster.answers(Reply(500))
    assert "tag%3A" not in browser.get("/").text


def test_a_database_that_is_away_is_a_page_with_503(settings: Settings, engine: Engine, database: str) -> None:
    nowhere = open_engine(make_url(database).set(host="127.0.0.1", port=9, query={}))
    browser = Browser(create_app(settings, nowhere)).logged_in(engine)
    for path in ("/", "/oauth/connect"):
        answer = browser.get(path)
        assert answer.status_code == 503
        assert answer.mimetype == "text/html"
        assert "The database does not answer" in words_of(answer)


def test_what_events_wait_for_is_said(browser: Browser, engine: Engine) -> None:
    later = datetime(2031, 5, 1, 12, tzinfo=UTC)
    for number in (1, 2):
        add_event(engine, number, "waiting", waiting_for="quota", not_before=later)
    add_event(engine, 3, "waiting", waiting_for="app", not_before=later)
    add_event(engine, 4, "waiting", waiting_for="replay", not_before=DAY)
    with engine.begin() as connection:
        note_inactive(connection, "Application inactive", later)
    words = words_of(browser.get("/"))
    assert "2 wait for room within Strava's limits, until 2031-05-01 12:00 UTC" in words
    assert "1 wait for the app to be switched on again" in words
    assert "tried again," not in words
    assert "Strava has the app switched off since 2031-05-01 12:00 UTC" in words


def test_the_page_says_that_strava_does_not_answer(browser: Browser, engine: Engine) -> None:
    since = datetime(2031, 5, 1, 12, tzinfo=UTC)
    probe_at = since + timedelta(minutes=5)
    state = Outage(9, since, several=True, away_since=since, probe_at=probe_at, reason="no connection")
    with engine.begin() as connection:
        for service in Service:
            store_outage(connection, service, state)
    words = words_of(browser.get("/"))
    assert (
        "Strava does not answer since 2031-05-01 12:00 UTC (no connection); tried again at 12:05:00 UTC."
        " Events and imports wait meanwhile; none is lost."
    ) in words
    assert "Strava's OAuth does not answer since" in words


def test_whatever_an_event_may_wait_for_has_words() -> None:
    reasons = {WaitingFor.DAGSTER, WaitingFor.ACTIVITY, WaitingFor.STREAMS}
    reasons |= {WaitingFor.QUOTA, WaitingFor.APP, WaitingFor.OUTAGE, WaitingFor.STRAVA}
    reasons |= {WaitingFor.DATABASE, WaitingFor.REPLAY}
    assert reasons == WAITS.keys()


def test_the_inbox_is_counted_with_its_lag(browser: Browser, engine: Engine) -> None:
    add_event(engine, 1, "received", received_at=func.now() - timedelta(minutes=7))
    add_event(engine, 2, "waiting")
    add_event(engine, 3, "done", finished_at=func.now())
    words = words_of(browser.get("/"))
    assert "Events open 2 oldest 7 min" in words
    assert re.search(r"Last event \d+ s ago", words)
    assert "received 1 launched 0 waiting 1 parked 0 dead 0 done last 24 h 1 discarded 0" in words


def test_parked_events_are_neither_open_nor_done(browser: Browser, engine: Engine) -> None:
    add_event(engine, 1, "parked")
    words = words_of(browser.get("/"))
    assert "Events open 0 1 parked" in words
    assert "1 parked until their athlete connects again" in words
    assert "None: no event waits for a decision of yours" in words


def test_a_dead_letter_is_replayed(browser: Browser, engine: Engine, woken: list[str]) -> None:
    first, second = add_event(engine, 7), add_event(engine, 8)
    shown = browser.get("/")
    assert "&lt;i&gt;Strava answered 404" in shown.text
    assert browser.submit("/", f"/dead-letters/{first}/replay").status_code == 303
    assert states(engine) == ["waiting", "dead"]
    assert woken == ["dispatcher"]
    assert f"Event {first} is worked on again" in words_of(browser.get("/"))
    assert f"Event {first} is worked on again" not in words_of(browser.get("/"))
    browser.submit("/", f"/dead-letters/{first}/replay")
    browser.submit("/", "/dead-letters/replay")
    assert states(engine) == ["waiting", "waiting"]
    assert audited(engine) == [
        ("operator", "replay", f"event {first}", "ok"),
        ("operator", "replay", f"event {first}", "failed"),
        ("operator", "replay", "all dead letters", "ok"),
    ]
    assert second


@pytest.mark.parametrize("number", ["9" * 19, "9" * 30, "9" * 5000, "-1"])
def test_a_number_that_no_event_can_have_is_no_event(browser: Browser, number: str) -> None:
    assert browser.submit("/", f"/dead-letters/{number}/replay").status_code == 404


def test_a_dead_letter_is_discarded_with_a_reason(browser: Browser, engine: Engine) -> None:
    event = add_event(engine, 7)
    csrf = csrf_in(browser.get("/"))
    for because in ("", "   ", "x" * 201, "two\nlines"):
        refused = browser.post(f"/dead-letters/{event}/discard", {"csrf": csrf, "because": because})
        assert refused.status_code == 400
    assert states(engine) == ["dead"]
    browser.post(f"/dead-letters/{event}/discard", {"csrf": csrf, "because": "a test ride"})
    assert states(engine) == ["discarded"]
    with engine.connect() as connection:
        row = connection.execute(select(webhook_events.c.discarded_by, webhook_events.c.discarded_because)).one()
    assert tuple(row) == ("operator", "a test ride")
    assert audited(engine) == [("operator", "discard", f"event {event}", "ok")]


def test_many_are_shown_in_part_with_their_number(browser: Browser, engine: Engine) -> None:
    for number in range(30):
        add_athlete(engine, 5000 + number)
    for number in range(25):
        add_event(engine, number)
    answer = browser.get("/")
    assert answer.text.count('<th scope="row"><bdi>Mira') == 25
    assert "page 1 of 2, 30 athletes" in words_of(answer)
    assert "The oldest 20 of 25" in words_of(answer)
    assert browser.get("/?page=2").text.count('<th scope="row"><bdi>Mira') == 5


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 40, "1e3", "\uff11"])
def test_an_odd_page_number_is_no_error(browser: Browser, engine: Engine, page: str) -> None:
    add_athlete(engine)
    assert browser.get(f"/?page={page}").status_code == 200


HOSTILE = "a\u202e\u2066b\x1b[31m\x07\x85\u200bc\u2028d\U000e0041<i>\u0627"


def test_no_word_of_others_changes_what_stands_beside_it(browser: Browser, engine: Engine) -> None:
    add_athlete(engine)
    with engine.begin() as connection:
        connection.execute(update(athletes).values(firstname=HOSTILE, lastname=HOSTILE))
        note_inactive(connection, HOSTILE, DAY)
    add_event(engine, 1, error=HOSTILE, error_class=HOSTILE)
    page = browser.get("/").text
    assert [char for char in page if not char.isprintable() and char != "\n"] == []
    shown = printable(f"{HOSTILE} {HOSTILE}")
    name = f"<bdi>{escape(shown)}</bdi>"
    for place in (f'<th scope="row">{name} ', f"all data of {name}", f"Disconnect {name}</button>"):
        assert place in page
    error = f"<bdi>{escape(printable(HOSTILE))}</bdi>"
    assert page.count(error) == 2
    assert escape(printable(HOSTILE)) in page.partition('id="quota"')[2]


@pytest.mark.parametrize("path", ["/connect?invite=%E2%80%AE", "/oauth/callback?state=%E2%80%AE", "/%E2%80%AE"])
def test_no_page_hands_back_what_nobody_sees(browser: Browser, path: str) -> None:
    assert "\u202e" not in browser.get(path).text


def test_an_address_that_is_none_comes_back_printable(browser: Browser) -> None:
    answer = browser.submit("/connect", "/oauth/connect", {"email": 'a\u202eb\x1bc"'})
    assert answer.status_code == 400
    assert 'value="ab\ufffdc&#34;"' in answer.text
