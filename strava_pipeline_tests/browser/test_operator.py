"""The operator's ways through the bridge's pages and Dagster's, as in a browser.

They are in one module for the sake of its one installation, which takes long to start.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Select, Table, func, insert, select

from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.browser.conftest import OPERATOR_TOKEN, Running, Site
from strava_pipeline_tests.browser.dagster_ui import PAGE_MILLISECONDS, DagsterUI
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.eventually import eventually

pytestmark = [pytest.mark.browser, pytest.mark.long]

# The daemon takes up a backfill within half a minute; then come three runs, each a process of its own.
IMPORT_SECONDS = 900
REPLAY_SECONDS = RUN_SECONDS = 400
POLL_MILLISECONDS = 1000
# Each tells what the page learned.
TRIES_OF_A_FOREIGN_PAGE = """async url => {
    const asks = {credentials: "include", mode: "no-cors"};
    const json = {"Content-Type": "application/json"};
    const tries = [
        () => fetch(url + "/graphql?query={version}", asks),
        () => fetch(url + "/graphql", {...asks, method: "POST", body: "{}"}),
        () => fetch(url + "/graphql", {credentials: "include", method: "POST", body: "{}", headers: json}),
        () => new Promise((yes, no) => {
            const line = new WebSocket(url.replace("http", "ws") + "/graphql", "graphql-ws");
            line.onopen = yes; line.onerror = no;
        }),
        () => new Promise((yes, no) => {
            const image = new Image();
            image.onload = yes; image.onerror = no; image.src = url + "/favicon.png";
        }),
    ];
    const told = await Promise.allSettled(tries.map(attempt => attempt()));
    return told.map(one => one.status == "rejected" ? "refused" : one.value.type);
}"""


def reload_until(page: Page, wanted: Locator, seconds: int) -> None:
    """Load the page again until it shows this."""
    for _ in range(seconds * 1000 // POLL_MILLISECONDS):
        page.reload()
        if wanted.first.is_visible():
            return
        page.wait_for_timeout(POLL_MILLISECONDS)
    raise AssertionError(f"{wanted} never stood on the page: {page.inner_text('main')}")


def acted(running: Running) -> list[str]:
    """What the audit says was done, but for logins."""
    actions = select(operator_audit.c.action).where(operator_audit.c.action != "login").order_by(operator_audit.c.id)
    with running.engine.connect() as connection:
        return list(connection.execute(actions).scalars())


def test_an_athlete_comes_is_imported_and_goes(site: Site, running: Running) -> None:
    page, athlete = site.page, RUNNER.athlete_id
    page.goto(site.url)
    page.get_by_role("link", name="Connect with Strava").click()
    page.get_by_label("E-mail for ride summaries").fill("rider@example.org")
    page.get_by_role("button", name="Connect with Strava").click()

    expect(page.get_by_role("heading", name="Mock Strava")).to_be_visible()
    page.get_by_label("Athlete").select_option(str(athlete))
    name = page.get_by_label("Athlete").locator("option:checked").inner_text()
    page.get_by_role("button", name="Authorize").click()

    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()
    assert page.url == f"{site.url}/oauth/connected"
    page.get_by_role("link", name="To the status page").click()
    expect(page.get_by_role("rowheader", name=name)).to_be_visible()
    row = page.get_by_role("row").filter(has_text=str(athlete))
    reload_until(page, row.get_by_role("cell", name="complete"), IMPORT_SECONDS)
    row.get_by_role("button", name="Pause the import").click()
    expect(page.get_by_role("status").first).to_contain_text("is paused")
    expect(row).to_contain_text("paused by the operator since")
    row.get_by_role("button", name="Resume the import").click()
    expect(page.get_by_role("status").first).to_contain_text("goes on")
    reload_until(page, row.get_by_role("cell", name="complete"), IMPORT_SECONDS)

    with running.engine.begin() as connection:
        user = connection.execute(select(users).where(users.c.athlete_id == athlete)).one()
        assert user.email == "rider@example.org"
        assert connection.execute(rows_of(route_analyses, athlete)).scalar_one() > 0
        activity = connection.execute(
            select(activities.c.id).where(activities.c.athlete_id == athlete).limit(1)
        ).scalar_one()
        connection.execute(
            insert(webhook_events).values(
                event_key="dead", source="webhook", subscription_id=1, object_type="activity", object_id=activity,
                aspect_type="update", owner_id=athlete, event_time=func.now(), updates={}, signed=True, state="dead",
                error="Strava answered 500", error_class="permanent", error_kind="RejectedRequest",
                finished_at=func.now(),
            )
        )  # fmt: skip
    page.reload()
    expect(page.get_by_role("heading", name=f"update of activity {activity}")).to_be_visible()
    page.get_by_role("button", name="Replay event").click()
    expect(page.get_by_role("status").first).to_contain_text("is worked on again")
    done = page.locator("dl div").filter(has_text="done").get_by_text("1", exact=True)
    reload_until(page, done, REPLAY_SECONDS)
    expect(page.get_by_text("None: no event waits for a decision of yours")).to_be_visible()

    row.get_by_text("Disconnect", exact=True).click()
    page.get_by_role("button", name=f"Disconnect {name}").click()
    expect(page.get_by_role("status").first).to_contain_text("is disconnected")
    expect(row).to_contain_text("disconnected")
    with running.engine.connect() as connection:
        state = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete)).scalar_one()
    assert state == "revoked"
    eventually(lambda: acted(running)[-1] == "erase", "the deletion of the data")
    assert acted(running) == ["connect", "pause", "resume", "replay", "disconnect", "erase"]
    with running.engine.connect() as connection:
        assert connection.execute(rows_of(activities, athlete)).scalar_one() == 0
    assert site.complaints == []


def test_a_backfill_turns_months_green_and_a_failing_month_says_why(
    running: Running, dagster: DagsterUI, screenshots: Screenshots
) -> None:
    page, athlete, months = dagster.page, CYCLIST.athlete_id, running.months
    running.connect(athlete)

    dagster.choose_assets("activities", "activity_details", "activity_streams", "route_analyses")
    dialog = dagster.fill_launch_dialog(athlete, months[0], months[-1])
    expect(dialog.get_by_text(f"{len(months)} partitions")).to_be_visible()
    screenshots.take(page, "launch", only=dialog)
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_text("Created backfill")).to_be_visible()

    # Nobody loads the page again: it shows by itself what is done.
    dagster.open_months("route_analyses")
    expect(page.get_by_text(f"Materialized ({len(months)})")).to_be_visible(timeout=IMPORT_SECONDS * 1000)
    dagster.open_month(months[-2])
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()
    screenshots.take(page, "months")
    link = page.get_by_role("row", name="route and elevation").get_by_role("link").first
    expect(link).to_have_attribute("href", f"{running.bridge_url}/months/{athlete}/{months[-2]:%Y-%m}")
    # Dagster's UI and the bridge share the operator's session.
    page.goto(str(link.get_attribute("href")))
    expect(page.get_by_role("img", name="Route, north up")).to_be_visible()
    screenshots.take_whole(page, "month")
    dagster.open_columns("route_analyses")
    expect(page.get_by_role("row", name="elevation_gain_m")).to_contain_text("metres climbed, m")
    screenshots.take(page, "columns")
    dagster.open_graph()
    screenshots.take(page, "assets")

    running.break_strava(path="*/athlete/activities", fault="status", status=200, body=[])
    dagster.open_months("activities")
    dagster.open_month(months[-2])
    dagster.rerun_month()
    expect(page.get_by_text("Failed (1)")).to_be_visible(timeout=RUN_SECONDS * 1000)
    page.reload()
    page.get_by_role("button", name="View logs").click(timeout=PAGE_MILLISECONDS)
    reason = page.get_by_text(f"stored activities from {months[-2]} on: nothing was deleted").last
    expect(reason).to_be_in_viewport(timeout=PAGE_MILLISECONDS)
    trace = page.get_by_text("Stack Trace:").last
    screenshots.take(page, "failure", only=page.get_by_role("dialog"), above=trace)
    assert dagster.refused == []


def test_a_run_is_launched_and_its_log_is_followed_live(dagster: DagsterUI) -> None:
    page = dagster.page
    told: list[str] = []
    page.on("websocket", lambda line: line.on("framereceived", lambda text: told.append(str(text))))
    dagster.launch_job("retention")
    page.wait_for_url("**/runs/*", timeout=PAGE_MILLISECONDS)
    # Nobody loads the page again.
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible(timeout=RUN_SECONDS * 1000)
    assert any("pipelineRunLogs" in text and "RUN_SUCCESS" in text for text in told)
    assert dagster.refused == []


def test_logging_out_ends_what_is_open_in_another_window(dagster: DagsterUI) -> None:
    page = dagster.page
    with page.expect_websocket(timeout=PAGE_MILLISECONDS) as opened:
        page.goto(f"{dagster.url}/runs")
    other = page.context.new_page()
    other.goto(f"{dagster.url}/operator/logout")
    other.get_by_role("button", name="Log out").click()
    expect(other.get_by_label("Operator's token")).to_be_visible()

    def is_closed() -> bool:
        # The page may have opened its connection anew since.
        page.wait_for_timeout(50)
        return opened.value.is_closed()

    eventually(is_closed, "the end of the other window's connection")
    page.goto(f"{dagster.url}/runs?view=all")
    expect(page.get_by_label("Operator's token")).to_be_visible()
    page.get_by_label("Operator's token").fill("not-the-token-of-the-operator")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.get_by_label("Operator's token").fill(OPERATOR_TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{dagster.url}/runs?view=all")


def test_a_page_on_another_port_can_do_nothing_to_dagster(dagster: DagsterUI, running: Running) -> None:
    # The same site, so that the cookie goes along; the mock's front page stands for it.
    page = dagster.page
    page.goto(f"{running.mock.url}/mock/athletes")
    fetched = page.evaluate(
        TRIES_OF_A_FOREIGN_PAGE,
        dagster.url,
    )
    # Some of these are sent, and none tells the page anything.
    assert fetched == ["refused"] * 5
    assert {one.split()[0] for one in dagster.refused} <= {"403", "405"}


def rows_of(table: Table, athlete: int) -> Select[int]:
    """How many rows of a table are of an athlete."""
    return select(func.count()).select_from(table).where(table.c.athlete_id == athlete)
