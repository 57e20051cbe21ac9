"""A newcomer's way without any app at Strava, on a machine with nothing but the program."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strava_pipeline.mock_strava.archive import WrittenArchive, write_archive
from strava_pipeline.mock_strava.archive_recordings import Way
from strava_pipeline.mock_strava.history import generate_history
from strava_pipeline_tests.e2e.conftest import Installation

SEED = 11


@pytest.fixture
def newcomer(embedded: Installation) -> Installation:
    """An installation of whose settings none is set: no app, no keys, no token, no database of its own."""
    embedded.environment.clear()
    return embedded


def count(installation: Installation, table: str) -> int:
    """How many rows a table has."""
    printed = installation.output("sql", f"TABLE strava.{table}", "--format", "json")
    return len(json.loads(printed))


def archive_of(folder: Path) -> WrittenArchive:
    athlete = generate_history(8, datetime(2026, 11, 20, tzinfo=UTC).timestamp())
    path = folder / f"export_{athlete.id}.zip"
    return write_archive(path, athlete=athlete, activities=list(athlete.activities.values()), seed=SEED)


def test_an_archive_becomes_a_history_with_figures_page_and_queries(newcomer: Installation, tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    athlete = str(archive.athlete_id)
    told = newcomer.output("archive", "import", str(archive.path), "--athlete", athlete)
    assert "8 rows, 0 of them of activities that Strava's API tells of" in told
    assert "0 requests to Strava" in told
    recorded = [number for number, way in archive.ways.items() if way not in {Way.NONE, Way.FAILED}]
    assert count(newcomer, "activities") == len(archive.ways) == count(newcomer, "archive_figures")
    assert count(newcomer, "recordings") == len(recorded) == count(newcomer, "route_analyses")
    samples = newcomer.output("sql", "SELECT count(*) AS found FROM strava.activity_points", "--format", "csv")
    assert int(samples.split()[1]) > 1_000 * len(recorded)
    assert count(newcomer, "training_load") >= 8
    page = newcomer.output("report", str(max(recorded)))
    assert "<svg" in page or "<img" in page
    assert "was imported before" in newcomer.output("archive", "import", str(archive.path), "--athlete", athlete)


def test_the_demo_of_an_archive_shows_all_of_it_and_ends_by_itself(newcomer: Installation) -> None:
    shown = newcomer.output("demo", "--archive", "--seed", str(SEED), "--activities", "7")
    assert re.search(rf"^seed {SEED}, \d+ s\. The page of the newest recording: .+$", shown, re.MULTILINE)
    assert "an archive is made up, by seed 11" in shown
    assert "7 rows" in shown
    for table in ("activities", "activity_streams", "recordings", "archive_figures", "route_analyses", "training_load"):
        found = re.search(rf"strava\.{table} +([0-9,]+)", shown)
        assert found
        assert found[1] != "0", table
    assert "The windiest outings" in shown
    assert "samples are in" in shown
    files = sorted(path.relative_to(newcomer.home) for path in newcomer.home.rglob("*.parquet"))
    assert files
    page = (newcomer.home / "demo" / "newest-activity.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
