"""The operator's page with much going on, as a browser shows it: everything is on it, and its picture is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Connection, Engine, insert
from werkzeug.serving import make_server

from strava_pipeline.months import Span
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import WANTED_SCOPES
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, save_progress
from strava_pipeline.warehouse.schema.alert_tables import alerts
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.quota_tables import api_calls, quota_windows
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, athletes
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import HISTORY_STEPS, AlertState, DeliveryOutcome
from strava_pipeline.warehouse.watch.deliveries import CountedDeliveries, add_deliveries
from strava_pipeline.web.operator_door import session_proof
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava.loopback import reply
from webhook_bridge.app import create_app

pytestmark = pytest.mark.browser

NOW = datetime.now(UTC)
IMPORTING = 48213377
CALLS, EVENTS = 900, 300
CHARTS = (
    "Calls to Strava, hour by hour",
    "Deliveries from Strava, hour by hour",
    "Time until an event is done, hour by hour",
)


@dataclass(frozen=True)
class Rider:
    """A made-up athlete: ``whole`` of the activities have details and samples, the last event came so long ago."""

    athlete_id: int
    firstname: str
    lastname: str
    state: str
    activities: int
    whole: int
    last_event: timedelta | None
    scopes: tuple[str, ...] = WANTED_SCOPES
    wish: dict[str, Any] | None = None


RIDERS = (
    Rider(
        9120455,
        "Jonas",
        "Reiter",
        "active",
        308,
        308,
        timedelta(minutes=4),
        WANTED_SCOPES[:-1],
        wish={"whole_at": NOW},
    ),
    Rider(
        IMPORTING,
        "Mira",
        "Holm",
        "active",
        112,
        58,
        timedelta(seconds=40),
        wish={
            "state": "running",
            "run_id": "run",
            "doing": "months",
            "doing_first": date(2025, 2, 1),
            "doing_last": date(2026, 1, 1),
            "lease_until": NOW + timedelta(hours=1),
        },
    ),
    Rider(77120093, "Aiko", "Tanabe", "active", 0, 0, timedelta(hours=3)),
    Rider(3301876, "Lena", "Fuchs", "needs_reauth", 55, 55, timedelta(hours=4), wish={}),
    Rider(5520871, "Jonas", "Weber", "active", 0, 0, timedelta(hours=5), ("read",), wish={}),
)
DEAD: tuple[dict[str, Any], ...] = (
    {
        "object_id": 16007158776,
        "owner_id": 9120455,
        "error": "GET /activities/16007158776 of athlete 9120455: Strava answered 500 error",
        "error_class": "transient",
        "finished_at": NOW - timedelta(hours=4),
        "redrive_at": NOW + timedelta(hours=2),
    },
    {
        "object_id": 16007166695,
        "owner_id": IMPORTING,
        "error": "activity 16007166695: Strava's field start_date is missing",
        "error_class": "permanent",
        "finished_at": NOW - timedelta(hours=29),
        "run_id": "c0ffee00",
    },
)


@pytest.fixture
def busy(engine: Engine) -> Engine:
    """Athletes in every state, an import that waits, events in several states, and two dead letters."""
    with engine.begin() as connection:
        for rider in RIDERS:
            _add(connection, rider)
            if rider.wish is not None:
                values = {"state": "due", "next_at": NOW, "steps": list(HISTORY_STEPS), "profile": True} | rider.wish
                connection.execute(insert(imports).values(athlete_id=rider.athlete_id, made_by="connect", **values))
        for number, letter in enumerate(DEAD):
            _event(connection, f"dead-{number}", state="dead", **letter)
        _event(connection, "open", state="received", owner_id=IMPORTING, received_at=NOW - timedelta(minutes=4))
        connection.execute(insert(quota_windows), list(_used_of_limits()))
        connection.execute(insert(api_calls), list(_calls_of_a_day()))
        connection.execute(insert(alerts), list(_alerts()))
        _add_events_of_a_day(connection)
        report = ProgressReport(
            run_id="run", span=Span(IMPORTING, NOW - timedelta(days=330), NOW), step="activity_streams",
            done=Completeness(112, 112, 58), requests=90, waiting_for="Strava's quota",
            waiting_until=NOW + timedelta(minutes=12), estimated_end=NOW + timedelta(hours=2),
        )  # fmt: skip
        save_progress(connection, report)
    add_deliveries(engine, list(_deliveries_of_a_day()))
    return engine


@pytest.fixture
def address(busy: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A link that signs in where the page is served, beside a Dagster in which nothing is requested."""
    with PlacedLoopback() as dagster:
        dagster.answers(reply({"data": {"answer": {"__typename": "Repository", "schedules": [], "sensors": []}}}))
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", dagster.url)
        with busy.begin() as connection:
            link = new_sign_in_link(connection, session_proof(load_settings()))
        server = make_server("127.0.0.1", 0, create_app(load_settings(), busy), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/login/once/{link}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(address: str, chromium: Browser) -> Iterator[Page]:
    """The page, in a window of an operator who has logged in."""
    context = chromium.new_context(viewport={"width": 1180, "height": 800}, locale="en-US", timezone_id="UTC")
    page = context.new_page()
    page.goto(address)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Status").wait_for()
    yield page
    context.close()


def test_the_status_page_shows_all_that_goes_on(page: Page, screenshots: Screenshots) -> None:
    alert = page.get_by_role("list", name="Alerts that are on").get_by_role("listitem")
    expect(alert.first).to_contain_text("Webhook events were given up")
    for chart in CHARTS:
        expect(page.get_by_role("img", name=chart)).to_be_visible()
    for rider in RIDERS:
        expect(page.get_by_role("rowheader", name=f"{rider.firstname} {rider.lastname}")).to_be_visible()
    row = page.get_by_role("row").filter(has_text=str(IMPORTING))
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row).to_contain_text("2025-02 to 2026-01; waiting until ")
    expect(row.get_by_role("button", name="Pause the import of Mira Holm")).to_be_visible()
    expect(page.get_by_role("button", name="Import the history of Aiko Tanabe")).to_be_visible()
    for letter in DEAD:
        expect(page.get_by_text(letter["error"])).to_be_visible()
    expect(page.get_by_role("heading", name="Strava's limits")).to_be_visible()
    screenshots.take_whole(page, "status")


def test_on_a_phone_nothing_is_wider_than_the_window(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    for name in CHARTS:
        chart = page.get_by_role("figure", name=name.partition(",")[0])
        chart.locator("summary").click()
        expect(chart.get_by_role("rowheader", name="12:00")).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == 375


def _calls_of_a_day() -> Iterator[dict[str, Any]]:
    """Backfill at night, live calls by day; some were refused, some got no answer."""
    for number in range(CALLS):
        at = NOW - timedelta(days=1) * (number / CALLS) ** 1.3
        lane = "backfill" if number % 5 or at.hour < 6 else "live"
        status = {7: 429, 13: 503}.get(number % 97, 200)
        yield {
            "lane": lane, "endpoint": "/activities/{id}", "athlete_id": IMPORTING, "reserved_at": at,
            "settled_at": at, "status": status, "duration_ms": 240,
        }  # fmt: skip


def _deliveries_of_a_day() -> Iterator[CountedDeliveries]:
    for back in range(24):
        slot = (NOW - timedelta(hours=back)).replace(minute=0, second=0, microsecond=0)
        busy = 2 + 9 * (6 <= slot.hour < 20) + 14 * (slot.hour in {8, 17, 18})
        counts = {DeliveryOutcome.STORED: busy, DeliveryOutcome.DUPLICATE: busy // 6}
        if back in {5, 6}:
            counts[DeliveryOutcome.REJECTED] = 3
        for outcome, count in counts.items():
            yield CountedDeliveries(slot, outcome, "", "bridge", count, 11)


def _add_events_of_a_day(connection: Connection) -> None:
    for number in range(EVENTS):
        at = NOW - timedelta(days=1) * (1 - number / EVENTS)
        seconds = 2 + number % 7 + (240 if number % 31 == 0 else 0)
        _event(
            connection, f"done-{number}", state="done", owner_id=IMPORTING, finished_at=at,
            received_at=at - timedelta(seconds=seconds),
        )  # fmt: skip


def _alerts() -> Iterator[dict[str, Any]]:
    alert = {"athlete_id": 0, "changed_at": NOW, "state": AlertState.FIRING}
    for rule, athlete_id, since, detail in (
        ("dead_letters", 0, timedelta(hours=29), f"{len(DEAD)} dead letters, the oldest of event 1"),
        ("athlete_must_reconnect", 3301876, timedelta(hours=4), "Strava answered 401: Authorization Error"),
    ):
        times = {"since": NOW - since, "fired_at": NOW - since}
        yield alert | times | {"rule": rule, "athlete_id": athlete_id, "detail": detail}


def _used_of_limits() -> Iterator[dict[str, Any]]:
    """The windows that are on, and the next ones, should one of them end meanwhile."""
    for length_s, booked in ((900, 71), (86_400, 463)):
        begun = NOW.timestamp() // length_s * length_s
        for start in (begun, begun + length_s):
            yield {
                "scope": "app", "length_s": length_s, "starts_at": datetime.fromtimestamp(start, UTC),
                "booked": booked, "read_foreign": 0, "overall_foreign": 0,
            }  # fmt: skip


def _add(connection: Connection, rider: Rider) -> None:
    owner = {"athlete_id": rider.athlete_id}
    connection.execute(insert(users).values(scopes=list(rider.scopes), state=rider.state, generation=1, **owner))
    if rider.firstname:
        name = {"firstname": rider.firstname, "lastname": rider.lastname}
        connection.execute(insert(athletes).values(id=rider.athlete_id, fetched_at=NOW, **name))
    what = {"resource_state": 2, "name": "Ride", "type": "Ride", "sport_type": "Ride", "fetched_at": NOW}
    rows = [
        owner | what | {"id": rider.athlete_id * 1000 + number, "start_date": NOW - timedelta(days=number)}
        for number in range(rider.activities)
    ]
    if rows:
        connection.execute(insert(activities), rows)
        for row in rows[: rider.whole]:
            part = owner | {"activity_id": row["id"], "fetched_at": NOW}
            for kind in ("summary", "detail"):
                connection.execute(insert(payloads).values(kind=kind, body={}, digest="same", **part))
            connection.execute(insert(activity_streams).values(point_count=0, **part))
    if rider.last_event is not None:
        state = "parked" if rider.state == "needs_reauth" else "done"
        _event(
            connection, str(rider.athlete_id), state=state, owner_id=rider.athlete_id,
            received_at=NOW - rider.last_event,
        )  # fmt: skip


def _event(connection: Connection, key: str, **more: Any) -> None:
    values = {
        "event_key": key, "source": "webhook", "subscription_id": 1, "object_type": "activity", "object_id": 1,
        "aspect_type": "create", "event_time": NOW, "updates": {}, "signed": True,
        "received_at": NOW - timedelta(hours=30), "attempts": 1,
    }  # fmt: skip
    connection.execute(insert(webhook_events).values(values | more))
