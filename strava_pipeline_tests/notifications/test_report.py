"""The report page: whole, self-contained, and the same units and figures as the mail."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, update

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.report import load_ride, render_report
from strava_pipeline.settings import Settings
from strava_pipeline.sync.training_load import update_training_load
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.strava_stand_in import RIDER


def test_a_page_needs_nothing_else(engine: Engine, add_ride: Callable[..., None]) -> None:
    for number in range(1, 7):
        add_ride(number, days_ago=7 - number, watts=200 + number)
    update_training_load(engine, RIDER, datetime.now(UTC).date())
    with engine.begin() as connection:
        connection.execute(update(activities).values(name="<b>Loop</b>"))
    with engine.connect() as connection:
        ride = load_ride(connection, 6)
    assert ride is not None
    page = render_report(ride)
    assert "<bdi>&lt;b&gt;Loop&lt;/b&gt;</bdi>" in page
    assert "<script" not in page
    # Links out are for reading on; nothing is loaded from anywhere.
    assert not re.findall(r'(?:src|srcset)="(?!data:image/png;base64,)', page)
    assert re.findall(r'href="([^"]*)"', page) == ["https://www.strava.com/activities/6"]
    for heading in ("Route", "Elevation", "Power curve", "Fitness", "Climbs", "More figures"):
        assert f"<h2>{heading}</h2>" in page
    for told in (
        "24.0 km",
        "Splits per kilometre",
        "Time in zones of heart rate",
        "Records it holds",
        "times on this route",
    ):
        assert told in page
    assert page.count("data:image/png;base64,") == 8
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_page_of_a_ride_that_strava_does_not_know_links_nowhere(
    engine: Engine, add_ride: Callable[..., None]
) -> None:
    add_ride(6)
    with engine.begin() as connection:
        connection.execute(update(activities).values(id=-6))
    with engine.connect() as connection:
        ride = load_ride(connection, -6)
    assert ride is not None
    page = render_report(ride)
    assert "24.0 km" in page
    assert "href=" not in page
    assert "on Strava" not in page


def test_the_command_writes_the_page(
    engine: Engine, settings: Settings, add_ride: Callable[..., None], tmp_path: Path
) -> None:
    add_ride(7)
    target = tmp_path / "ride.html"
    done = CliRunner().invoke(cli, ["report", "7", "-o", str(target)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    printed = CliRunner().invoke(cli, ["report", "7"], catch_exceptions=False)
    assert printed.output.rstrip().endswith("</html>")


def test_a_page_without_the_libraries_that_draw_has_no_pictures_and_the_command_says_why(
    engine: Engine, settings: Settings, add_ride: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ride(7)
    monkeypatch.setitem(sys.modules, "PIL", None)
    done = CliRunner().invoke(cli, ["report", "7"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "24.0 km" in done.stdout
    assert "<img" not in done.stdout
    assert done.stderr == "a page with pictures needs the extra pictures: pip install 'strava-pipeline[pictures]'\n"


def test_the_command_takes_the_id_of_an_activity_that_only_a_file_tells_of(
    engine: Engine, settings: Settings, add_ride: Callable[..., None]
) -> None:
    add_ride(6)
    with engine.begin() as connection:
        connection.execute(update(activities).values(id=-(2**63) + 1))
    done = CliRunner().invoke(cli, ["report", "--", str(-(2**63) + 1)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "24.0 km" in done.stdout


def test_an_activity_that_is_not_stored_is_told(settings: Settings, engine: Engine) -> None:
    done = CliRunner().invoke(cli, ["report", "8"])
    assert isinstance(done.exception, ConfigurationError)
    assert "activity 8 is not in the tables" in str(done.exception)
