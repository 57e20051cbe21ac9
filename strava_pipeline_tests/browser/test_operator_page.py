"""The operator's way through the pages, as in a browser: connect, import, replay, disconnect."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Engine, func, insert, select

from strava_pipeline.warehouse.analysis_tables import route_analyses
from strava_pipeline.warehouse.ops_tables import operator_audit, users, webhook_events
from strava_pipeline.warehouse.tables import activities
from strava_pipeline_tests.browser.conftest import Site

pytestmark = pytest.mark.browser

# The daemon takes up a backfill within half a minute; then come three runs, each a process of its own.
IMPORT_SECONDS = 300
REPLAY_SECONDS = 120
POLL_MILLISECONDS = 1000


def reload_until(page: Page, wanted: Locator, seconds: int) -> None:
    """Load the page again until it shows this."""
    for _ in range(seconds * 1000 // POLL_MILLISECONDS):
        page.reload()
        if wanted.first.is_visible():
            return
        page.wait_for_timeout(POLL_MILLISECONDS)
    raise AssertionError(f"{wanted} never stood on the page: {page.inner_text('main')}")


def test_an_athlete_comes_is_imported_and_goes(site: Site, engine: Engine) -> None:
    page = site.page
    page.goto(site.url)
    expect(page.get_by_text("Nobody is connected yet")).to_be_visible()
    page.get_by_role("link", name="Connect with Strava").click()
    page.get_by_label("E-mail for ride summaries").fill("rider@example.org")
    page.get_by_role("button", name="Connect with Strava").click()

    expect(page.get_by_role("heading", name="Mock Strava")).to_be_visible()
    name = page.get_by_label("Athlete").locator("option").first.inner_text()
    page.get_by_role("button", name="Authorize").click()

    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()
    assert page.url == f"{site.url}/oauth/connected"
    page.get_by_role("link", name="To the status page").click()
    expect(page.get_by_role("rowheader", name=name)).to_be_visible()
    reload_until(page, page.get_by_role("cell", name="complete"), IMPORT_SECONDS)

    with engine.begin() as connection:
        assert connection.execute(select(users.c.email)).scalar_one() == "rider@example.org"
        stored = connection.execute(select(func.count()).select_from(activities)).scalar_one()
        assert stored > 0
        assert connection.execute(select(func.count()).select_from(route_analyses)).scalar_one() > 0
        activity, owner = connection.execute(select(activities.c.id, activities.c.athlete_id).limit(1)).one()
        connection.execute(
            insert(webhook_events).values(
                event_key="dead", source="webhook", subscription_id=1, object_type="activity", object_id=activity,
                aspect_type="update", owner_id=owner, event_time=func.now(), updates={}, signed=True, state="dead",
                error="Strava answered 500", error_class="permanent", error_kind="RejectedRequest",
                finished_at=func.now(),
            )
        )  # fmt: skip
    page.reload()
    expect(page.get_by_role("heading", name=f"update of activity {activity}")).to_be_visible()
    page.get_by_role("button", name="Replay event").click()
    expect(page.get_by_role("status").first).to_contain_text("is worked on again")
    done = page.locator("dl div").filter(has=page.get_by_text("done", exact=True)).get_by_text("1", exact=True)
    reload_until(page, done, REPLAY_SECONDS)
    expect(page.get_by_text("None: every event has taken effect")).to_be_visible()

    page.get_by_text("Disconnect", exact=True).click()
    page.get_by_role("button", name=f"Disconnect {name}").click()
    expect(page.get_by_role("status").first).to_contain_text("is disconnected")
    expect(page.get_by_role("table").first).to_contain_text("disconnected")
    with engine.connect() as connection:
        assert connection.execute(select(users.c.state)).scalar_one() == "revoked"
        assert connection.execute(select(func.count()).select_from(activities)).scalar_one() == 0
        acted = connection.execute(select(operator_audit.c.action).order_by(operator_audit.c.id)).scalars().all()
    assert acted == ["connect", "replay", "forget"]
    assert site.complaints == []
