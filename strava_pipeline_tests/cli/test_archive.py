"""``strava-pipeline archive`` on a machine with a database and nothing else: no app, no keys, no Dagster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import gpxpy
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, Executable, insert, update

from strava_pipeline.cli import cli
from strava_pipeline.settings import Settings
from strava_pipeline.sync import archive_import
from strava_pipeline.warehouse.schema import analysis_tables, archive_tables, tables, upload_tables
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.conftest import SETTINGS
from strava_pipeline_tests.sync.handing_in import (
    ARCHIVES,
    ATHLETE,
    EXPORT,
    FIT,
    HAZARDS,
    RUN,
    archive_of,
    here,
    rows_of,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
AS_OWNER = ("--athlete", str(ATHLETE))


@pytest.fixture(autouse=True)
def no_app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the settings there is the database alone, and recordings are read in this process."""
    assert settings.database_url is not None
    for name in SETTINGS:
        monkeypatch.delenv(name)
    monkeypatch.setattr(archive_import.import_archive, "__defaults__", (here,))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["archive", *map(str, arguments)], catch_exceptions=True)


def told(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_an_archive_becomes_an_analysed_history(engine: Engine) -> None:
    output = told("import", EXPORT, *AS_OWNER)
    assert "1 row, 0 of them of activities that Strava's API tells of; 1 recording" in output
    assert output.splitlines()[-1] == (
        f"athlete {ATHLETE}: 1 activity from 2022-05-29 to 2022-05-29, 1 with a recording;"
        " strava-pipeline up shows them"
    )
    assert [row["activity_id"] for row in rows_of(engine, analysis_tables.route_analyses)] == [RUN]
    assert len(rows_of(engine, analysis_tables.training_load)) > 1_000


def test_an_activity_of_the_archive_is_exported_as_gpx_without_keys_or_a_request() -> None:
    told("import", EXPORT, *AS_OWNER, "--no-analysis")
    result = CliRunner().invoke(cli, ["export-gpx", str(RUN)])
    assert result.exit_code == 0, result.output
    (track,) = gpxpy.parse(result.stdout).tracks
    assert len(track.segments[0].points) > 1
    assert track.name


def test_the_analysis_can_be_left_to_dagster(engine: Engine) -> None:
    told("import", EXPORT, *AS_OWNER, "--no-analysis")
    assert rows_of(engine, analysis_tables.route_analyses) == rows_of(engine, analysis_tables.training_load) == []


def test_the_same_archive_again_changes_nothing_and_says_so() -> None:
    told("import", EXPORT, *AS_OWNER)
    output = told("import", EXPORT, *AS_OWNER)
    assert "was imported before, by archive import 1: nothing was changed" in output


def test_an_analysis_that_was_interrupted_is_finished_by_the_same_command(engine: Engine) -> None:
    told("import", EXPORT, *AS_OWNER, "--no-analysis")
    told("import", EXPORT, *AS_OWNER)
    assert len(rows_of(engine, analysis_tables.route_analyses)) == 1


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(engine: Engine, tmp_path: Path) -> None:
    table = archive_of(tmp_path / "export", ARCHIVES / "csv" / "en87_spans.csv")
    output = told("import", table, "--athlete", "7", "--trust-athlete", "--dry-run")
    assert "112 rows in" in output
    assert "activities: 112 new, 0 that Strava's API tells of" in output
    assert "rows without a recording: 19" in output
    assert "recordings that the archive lacks: 93" in output
    assert output.splitlines()[-1] == "nothing was changed"
    for each in (tables.activities, archive_tables.archive_imports, archive_tables.archive_rows):
        assert rows_of(engine, each) == []


def test_a_dry_run_compares_with_what_is_stored(tmp_path: Path) -> None:
    told("import", EXPORT, *AS_OWNER)
    assert "by archive import 1: nothing would change" in told("import", EXPORT, *AS_OWNER, "--dry-run")
    other = told("import", HAZARDS / "deflate_bomb.zip", *AS_OWNER, "--trust-athlete", "--dry-run")
    assert "0 new, 0 that Strava's API tells of, 0 that an earlier archive tells otherwise, 1 unchanged" in other
    assert "would be refused: " in other


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()])
def test_somebody_elses_archive_is_refused_in_one_line(engine: Engine, dry_run: tuple[str, ...]) -> None:
    result = call("import", EXPORT, "--athlete", "7", *dry_run)
    assert result.exit_code == 1
    assert f"is the archive of athlete {ATHLETE}, not of athlete 7" in str(result.exception)
    assert rows_of(engine, tables.activities) == []


def test_options_that_mean_nothing_are_told_before_anything_is_done() -> None:
    for option in (("--timezone", "Rome"), ("--sport", "Corsa=Fly"), ("--taken", "yesterday")):
        assert call("import", EXPORT, *AS_OWNER, *option).exit_code != 0


def test_what_was_handed_in_is_listed_and_shown() -> None:
    assert "nothing was handed in" in told("list")
    told("import", HAZARDS / "traversal.zip", *AS_OWNER, "--trust-athlete")
    assert "traversal.zip" in told("list", *AS_OWNER)
    assert "nothing was handed in" in told("list", "--athlete", "7")
    shown = told("show", "1")
    assert "names that point out of the archive, not opened: 4" in shown
    (listed,) = json.loads(told("list", "--format", "json"))
    report = json.loads(told("show", "1", "--format", "json"))["report"]
    assert (listed["state"], report["strays"], report["requests"]) == ("done", 4, 0)


def test_an_undone_import_leaves_nothing(engine: Engine) -> None:
    told("import", EXPORT, *AS_OWNER)
    output = told("undo", "1", "--yes")
    assert "archive import 1 is undone: 1 activity deleted, 0 stay as other sources tell them; nothing else" in output
    gone = (tables.activities, tables.activity_streams, analysis_tables.training_load, tables.athletes, users)
    for each in (*gone, archive_tables.archive_imports):
        assert rows_of(engine, each) == []
    assert "1 activity from" in told("import", EXPORT, *AS_OWNER)


@pytest.mark.parametrize(
    "known",
    [
        update(users).values(dagster_task=None),
        update(users).values(email="a@b.example", email_given_at=NOW, email_nonce="n", unsubscribe_nonce="u"),
        insert(upload_tables.upload_links).values(
            athlete_id=ATHLETE, secret_hash="a" * 64, proof="b", made_at=NOW, expires_at=NOW
        ),
    ],
    ids=["partition", "address", "link"],
)
def test_an_athlete_of_whom_more_is_known_stays_after_an_undo(engine: Engine, known: Executable) -> None:
    told("import", EXPORT, *AS_OWNER)
    with engine.begin() as connection:
        connection.execute(known)
    assert told("undo", "1", "--yes").endswith("as other sources tell them\n")
    assert [row["athlete_id"] for row in rows_of(engine, users)] == [ATHLETE]
    assert "undone" in told("list")


def test_a_file_that_is_no_recording_fails_in_one_line_and_makes_no_athlete(engine: Engine, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff")
    for _ in range(2):
        result = call("import", photo, *AS_OWNER)
        assert (result.exit_code, str(result.exception)) == (
            1,
            "photo.jpg is neither FIT nor TCX nor GPX: it is not read",
        )
        assert rows_of(engine, users) == rows_of(engine, tables.athletes) == []
    told("import", EXPORT, *AS_OWNER)
    assert call("import", photo, *AS_OWNER).exit_code == 1
    states = [row["state"] for row in rows_of(engine, archive_tables.archive_imports)]
    assert sorted(states) == ["done", "failed"]


def test_a_folder_with_one_recording_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.fit").write_bytes((FIT / "plain_run.fit").read_bytes())
    (tmp_path / "b.fit").write_bytes(b"no recording")
    output = told("import", tmp_path, *AS_OWNER)
    assert "recordings of which nothing can be read: 1" in output
    assert "cannot be read: b.fit is neither FIT nor TCX nor GPX: it is not read" in output


def test_an_unknown_import_is_one_line() -> None:
    for command in (("show", "9"), ("undo", "9", "--yes")):
        result = call(*command)
        assert (result.exit_code, "archive import 9" in str(result.exception)) == (1, True)
