"""What the operator's page says of athletes without a grant, and of what was handed in."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import Engine, text

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.archives.imports import end_import, fail_import
from strava_pipeline.warehouse.archives.overview import told_counts
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.webhook_bridge.browser import Browser, words_of
from strava_pipeline_tests.webhook_bridge.test_archive_launches import OTHER, handed_in, stored
from strava_pipeline_tests.webhook_bridge.test_status import add_athlete, audited, automation, import_cell
from webhook_bridge.app import create_app

if TYPE_CHECKING:
    from strava_pipeline.warehouse.archives.imports import ArchiveImport

REPORT = {"rows": 1204, "recordings": 1100, "merged": 3, "skipped": {"a": 1, "b": 2}, "unreadable": 0}


@pytest.fixture
def browser(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    add_athlete(engine, RIDER, state="archive_only", scopes=[], generation=0)
    with PlacedLoopback() as dagster:
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", dagster.url)
        dagster.answers(automation())
        yield Browser(create_app(load_settings(), engine)).logged_in()


def test_an_athlete_without_a_grant_shows_and_no_import_of_theirs_is_offered(browser: Browser, engine: Engine) -> None:
    shown = browser.get("/")
    assert "archive only" in words_of(shown)
    assert "Erases tokens, address and all data" in words_of(shown)
    assert "Revokes the grant" not in words_of(shown)
    assert import_cell(browser).startswith("-")
    assert f"/imports/{RIDER}" not in shown.text
    assert audited(engine) == []


def test_the_last_ones_are_shown_with_counts_or_the_reason(browser: Browser, engine: Engine) -> None:
    add_athlete(engine, OTHER)
    assert "Handed in" not in words_of(browser.get("/"))
    done, failed, waiting = handed_in(engine), handed_in(engine, "b"), handed_in(engine, "c", OTHER)
    with engine.begin() as connection:
        end_import(connection, done, REPORT)
        fail_import(connection, failed, "<b>cut off: download it again")
    words = words_of(browser.get("/"))
    assert "export_a.zip" in words
    assert "1,204 activities, 1,100 recordings, 3 known to Strava's API, 3 skipped" in words
    assert "failed <b>cut off: download it again" in words
    assert "export_c.zip 2002" in words
    assert "waits for its run" in words
    assert browser.get("/").text.count("/again") == 1
    assert stored(engine, waiting).state == "waiting"


def test_one_that_failed_is_tried_again(browser: Browser, engine: Engine) -> None:
    failed = handed_in(engine)
    with engine.begin() as connection:
        fail_import(connection, failed, "no room")
    assert browser.submit("/", f"/archives/{failed}/again").status_code == 303
    assert stored(engine, failed).state == "waiting"
    assert f"Archive import {failed} is tried again." in words_of(browser.get("/"))
    assert audited(engine) == [("operator", "import", f"archive import {failed}", "ok")]


def test_files_of_a_watched_folder_do_not_push_archives_off_the_page(browser: Browser, engine: Engine) -> None:
    archive = handed_in(engine)
    with engine.begin() as connection:
        end_import(connection, archive, REPORT)
    ids = [handed_in(engine, f"lot{number}") for number in range(20)]
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE ops.archive_imports SET came_by = 'folder', state = 'done' WHERE id = ANY(:ids)"), {"ids": ids}
        )
    words = words_of(browser.get("/"))
    assert "export_a.zip" in words
    assert "export_lot" not in words


def test_one_of_a_kind_is_told_in_the_singular() -> None:
    found = cast("ArchiveImport", SimpleNamespace(report={"rows": 1, "recordings": 1, "unreadable": 1}))
    assert told_counts(found) == "1 activity, 1 recording, 1 unreadable"
