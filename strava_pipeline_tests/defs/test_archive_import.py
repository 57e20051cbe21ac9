"""Archives in Dagster: a run imports one month by month, and months of an athlete without a grant need no request."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.defs import shown_archives
from strava_pipeline.defs.jobs import archive_import as of_job
from strava_pipeline.defs.jobs.upkeep import why_no_run
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.errors import ArchiveImportRunning
from strava_pipeline.months import month_span
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync import archive_import, archive_recordings
from strava_pipeline.sync.archive_import import import_archive
from strava_pipeline.sync.archive_recordings import read_recordings
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.warehouse.archives.athletes import ensure_athlete
from strava_pipeline.warehouse.archives.imports import ArchiveImport, begin_import, list_imports, load_import
from strava_pipeline.warehouse.archives.launches import claim_to_launch
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.kept import Kept
from strava_pipeline.warehouse.schema import archive_tables, tables
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses as figures
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import ArchiveKind, CameBy
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    PLAN,
    activities,
    activity_details,
    activity_streams,
    archive_files,
    athletes_and_gear,
    key_of,
    op,
    route_analyses,
    upkeep,
)
from strava_pipeline_tests.defs.own_definitions import (
    archive_import as archive_import_job,
)
from strava_pipeline_tests.files.archive.made_archives import LAYOUTS, cells, made_zip, table_bytes
from strava_pipeline_tests.handed_in import HandIn, archive_row
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.handing_in import ATHLETE, EXPORT, HAZARDS, RUN, handing, here, rows_of


@pytest.fixture(autouse=True)
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings are read in this process."""
    monkeypatch.setattr(archive_import, "import_archive", partial(import_archive, readers=here))
    monkeypatch.setattr(archive_recordings, "read_recordings", partial(read_recordings, readers=here))


def run(location: CodeLocation, **config: Any) -> dg.ExecuteInProcessResult:
    return archive_import_job.execute_in_process(
        run_config={"ops": {op("import_handed_in"): {"config": {"athlete_id": ATHLETE, **config}}}},
        instance=location.instance,
        resources=location.resources(),
        raise_on_error=False,
    )


def waiting(engine: Engine, place: Path, athlete: int = ATHLETE, content: str = "not known yet") -> int:
    """An upload that waits, as the bridge notes it."""
    with engine.begin() as connection:
        ensure_athlete(connection, athlete)
        return begin_import(
            connection,
            athlete_id=athlete,
            kind=ArchiveKind.ARCHIVE,
            name=place.name,
            content_hash=content,
            taken_at=now(connection),
            came_by=CameBy.UPLOAD,
            place=str(place),
            waiting=True,
        ).id


def uploaded(folder: Path, archive: Path = EXPORT) -> Path:
    """A file where uploads lie."""
    place = folder / str(ATHLETE) / "1" / "export.zip"
    place.parent.mkdir(parents=True)
    (folder / ".shared").touch()
    shutil.copy(archive, place)
    return place


def stored(engine: Engine, import_id: int) -> ArchiveImport:
    with engine.connect() as connection:
        return load_import(connection, import_id)


def all_of(engine: Engine) -> list[ArchiveImport]:
    with engine.connect() as connection:
        return list_imports(connection)


def why(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = result.filter_events(lambda event: event.is_step_failure)
    data = failed.step_failure_data
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


def month_of(engine: Engine) -> str:
    (activity,) = rows_of(engine, tables.activities)
    return str(cell(ATHLETE, activity["start_date"]))


def test_an_archive_becomes_months_without_a_request(location: CodeLocation, engine: Engine) -> None:
    result = run(location, path=str(EXPORT))
    assert result.success
    month = month_of(engine)
    for asset in ("activities", "activity_streams", "route_analyses"):
        assert location.materialized(asset) == {month}, asset
    assert location.materialized("activity_details") == set()
    assert [row["activity_id"] for row in rows_of(engine, figures)] == [RUN]
    assert location.lanes == []
    assert location.instance.has_dynamic_partition("strava_athletes", str(ATHLETE))
    last = location.instance.get_latest_materialization_event(key_of("activities"))
    assert last is not None
    assert last.asset_materialization is not None
    told = {name: entry.value for name, entry in last.asset_materialization.metadata.items()}
    assert (told["requests"], told["cause"], told["in the archive"]) == (0, "archive", 1)
    assert told["dagster/partition_row_count"] == 1


def test_months_that_the_command_imported_show_with_the_next_upkeep(
    location: CodeLocation, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    by_command(engine, settings, EXPORT)
    month = month_of(engine)
    assert location.materialized("activities") == set()
    assert why_no_run(location.instance, engine, PLAN) is None
    assert upkeep_run(location) == {"activities", "activity_streams", "route_analyses"}
    for asset in ("activities", "activity_streams", "route_analyses"):
        assert location.materialized(asset) == {month}, asset
    assert location.strava.asked == []
    # It is shown once, whatever is imported later.
    assert why_no_run(location.instance, engine, PLAN) == "nothing is due"
    assert upkeep_run(location) == set()
    by_command(engine, settings, another_month(tmp_path))
    assert why_no_run(location.instance, engine, PLAN) is None
    assert upkeep_run(location) == {"activities", "activity_streams", "route_analyses"}
    assert len(location.materialized("activities")) == 2


def test_of_many_months_the_next_run_shows_the_rest(
    location: CodeLocation, engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_archives.show_archives, "__defaults__", (1,))
    by_command(engine, settings, EXPORT)
    by_command(engine, settings, another_month(tmp_path))
    for shown in (1, 2):
        assert why_no_run(location.instance, engine, PLAN) is None
        upkeep_run(location)
        assert len(location.materialized("activities")) == shown
    assert why_no_run(location.instance, engine, PLAN) == "nothing is due"


def test_months_that_a_run_has_shown_are_not_shown_again(location: CodeLocation, engine: Engine) -> None:
    assert run(location, path=str(EXPORT)).success
    assert upkeep_run(location) == set()
    assert why_no_run(location.instance, engine, PLAN) == "nothing is due"


def by_command(engine: Engine, settings: Settings, path: Path) -> None:
    """Import as the command does, outside of Dagster."""
    for _ in import_archive(engine, settings, handing(path), here):
        pass


def another_month(folder: Path) -> Path:
    """An archive of the same athlete with an activity of another month."""
    row = cells(LAYOUTS["103"], id="5", filename="")
    return made_zip(folder / "more.zip", {"activities.csv": table_bytes([row], LAYOUTS["103"])})


def upkeep_run(location: CodeLocation) -> set[str]:
    """Run upkeep, and return the plain names of the assets of months that it shows as materialized."""
    result = upkeep.execute_in_process(instance=location.instance, resources=location.resources(), raise_on_error=False)
    assert result.success
    shown = {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key}
    return shown - {"training_load"}


def test_what_was_handed_in_shows_with_its_report(location: CodeLocation, engine: Engine) -> None:
    run(location, path=str(EXPORT))
    assert location.materialized("archive_files") == {str(ATHLETE)}
    again = location.materialize(archive_files, partition_key=str(ATHLETE))
    assert again.success
    for event in (
        location.instance.fetch_materializations(key_of("archive_files"), limit=2).records[place] for place in (0, 1)
    ):
        assert event.asset_materialization is not None
        told = {name: entry.value for name, entry in event.asset_materialization.metadata.items()}
        assert (told["archive imports"], told["rows"], told["recordings"], told["matched"]) == (1, 1, 1, 1)
        assert "`export_en94.zip` | command | done" in str(told["imports"])
    assert location.lanes == []


def test_an_upload_that_waits_is_imported_by_its_number(location: CodeLocation, engine: Engine, tmp_path: Path) -> None:
    import_id = waiting(engine, uploaded(tmp_path))
    with engine.begin() as connection:
        assert claim_to_launch(connection) is not None
    assert run(location, import_id=import_id).success
    (found,) = all_of(engine)
    assert (found.id, found.state, found.came_by, found.place) == (import_id, "done", "upload", None)
    assert found.report is not None
    assert found.report["rows"] == 1
    # Launched a second time, since the answer to the first launch was lost.
    before = rows_of(engine, tables.activities)
    assert run(location, import_id=import_id).success
    assert rows_of(engine, tables.activities) == before
    assert stored(engine, import_id).state == "done"


def test_the_same_archive_twice_changes_nothing(location: CodeLocation, engine: Engine, tmp_path: Path) -> None:
    assert run(location, path=str(EXPORT)).success
    before = rows_of(engine, tables.activities), rows_of(engine, archive_tables.archive_rows)
    assert run(location, path=str(EXPORT)).success
    again = waiting(engine, uploaded(tmp_path))
    assert run(location, import_id=again).success
    assert (rows_of(engine, tables.activities), rows_of(engine, archive_tables.archive_rows)) == before
    found = stored(engine, again)
    assert found.state == "failed"
    assert "was imported before, by archive import" in (found.failure or "")


def test_an_archive_that_is_cut_off_fails_the_run_in_one_line(
    location: CodeLocation, engine: Engine, tmp_path: Path
) -> None:
    import_id = waiting(engine, uploaded(tmp_path, HAZARDS / "cut.zip"))
    for result in (run(location, import_id=import_id), run(location, path=str(HAZARDS / "cut.zip"))):
        assert not result.success
        assert "download" in why(result)
        assert "\n" not in why(result)
    found = stored(engine, import_id)
    assert found.state == "failed"
    assert "download" in (found.failure or "")
    assert rows_of(engine, tables.activities) == []
    with engine.begin() as connection:
        assert claim_to_launch(connection) is None


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "either import_id or path"),
        ({"import_id": 1, "path": "/a"}, "either import_id or path"),
        ({"import_id": 7}, "no archive import 7"),
        ({"path": "/nowhere/export.zip"}, "export.zip"),
        ({"path": "export.zip"}, "is not absolute"),
        ({"path": "/"}, "/ is refused"),
        ({"path": "/proc/self/environ"}, "is no place for archives"),
    ],
)
def test_a_config_that_cannot_be_is_said_in_one_line(
    location: CodeLocation, engine: Engine, config: dict[str, Any], told: str
) -> None:
    result = run(location, **config)
    assert not result.success
    assert told in why(result)
    assert all_of(engine) == []


@pytest.mark.parametrize("details", ["false", "true"])
def test_details_of_an_archives_activities_are_asked_for_if_the_setting_says_so(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch, details: str
) -> None:
    connect_riders(engine, RIDER)
    day = datetime(2025, 6, 10, tzinfo=UTC)
    location.strava.add(1, day)
    HandIn(engine).archive([archive_row(1, day)])
    monkeypatch.setenv("STRAVA_ARCHIVE_DETAILS", details)
    assert location.materialize(activities, partition_key=f"{RIDER}|2025-06-01").success
    kept: list[Kept] = []

    @dg.op
    def look(strava_client: StravaResource) -> None:
        kept.append(strava_client.sync(Lane.BACKFILL).kept)

    @dg.job
    def looking() -> None:
        look()

    client = StravaResource(warehouse=WarehouseResource(is_own=True))
    assert looking.execute_in_process(instance=location.instance, resources={"strava_client": client}).success
    import_details(replace(location.strava.sync(engine), kept=kept[0]), month_span(RIDER, day.replace(day=1)))
    assert ("/activities/1" in location.strava.asked) is (details == "true")


def test_an_upload_that_the_runs_do_not_see_fails_with_what_to_do(
    location: CodeLocation, engine: Engine, tmp_path: Path
) -> None:
    place = uploaded(tmp_path)
    (tmp_path / ".shared").unlink()
    import_id = waiting(engine, place)
    result = run(location, import_id=import_id)
    assert "STRAVA_UPLOAD_URL must name a folder" in why(result)
    assert stored(engine, import_id).state == "failed"


def test_an_archive_of_another_athlete_fails(location: CodeLocation, engine: Engine) -> None:
    result = run(location, athlete_id=4711, path=str(EXPORT))
    assert "is the archive of athlete 111111111, not of athlete 4711" in why(result)
    assert all_of(engine) == []


def test_a_run_that_dies_goes_on_in_the_next_one(
    location: CodeLocation, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = waiting(engine, uploaded(tmp_path))
    with monkeypatch.context() as patched:

        def dies(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(of_job, "month_metadata", dies)
        assert not run(location, import_id=import_id).success
    with engine.begin() as connection:
        # As where the process had no time to note anything.
        changes = {"state": "running", "failure": None, "alive_at": None}
        connection.execute(update(archive_imports).values(changes))
        assert claim_to_launch(connection) is not None
    assert run(location, import_id=import_id).success
    assert stored(engine, import_id).state == "done"
    assert location.materialized("activities") == {month_of(engine)}


def test_one_that_finds_another_at_work_goes_on_waiting(
    location: CodeLocation, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = waiting(engine, uploaded(tmp_path))

    def taken(*_: object) -> None:
        raise ArchiveImportRunning("archive import 9 is at work: try again once it has ended", 9)

    monkeypatch.setattr(archive_import, "import_archive", taken)
    assert "archive import 9 is at work" in why(run(location, import_id=import_id))
    assert stored(engine, import_id).state == "waiting"


def test_months_of_an_athlete_without_a_grant_are_derived_again(location: CodeLocation, engine: Engine) -> None:
    run(location, path=str(EXPORT))
    month = month_of(engine)
    with engine.begin() as connection:
        # Something that only a merge corrects, and a recording that is to be read.
        connection.execute(update(tables.activities).values(name="odd"))
        connection.exec_driver_sql("DELETE FROM strava.activity_streams")
    chosen = (activities, activity_details, activity_streams, route_analyses)
    assert location.materialize(*chosen, partition_key=month).success
    (activity,) = rows_of(engine, tables.activities)
    assert activity["name"] != "odd"
    (streams,) = rows_of(engine, tables.activity_streams)
    assert streams["source"] == "file"
    assert all(not sync.monitor.requests for sync in location.syncs)
    assert location.strava.asked == []
    for asset in ("activities", "activity_details", "activity_streams"):
        last = location.instance.get_latest_materialization_event(key_of(asset))
        assert last is not None
        assert last.asset_materialization is not None
        told = last.asset_materialization.metadata
        assert "handed in" in str(told["asked of Strava"].value), asset


def test_the_profile_of_an_athlete_without_a_grant_is_not_asked_for(location: CodeLocation, engine: Engine) -> None:
    run(location, path=str(EXPORT))
    assert location.materialize(athletes_and_gear, partition_key=str(ATHLETE)).success
    assert location.strava.asked == []
    with engine.connect() as connection:
        assert connection.execute(select(users.c.state)).scalar_one() == "archive_only"


def test_without_activities_nothing_is_imported(location: CodeLocation, engine: Engine, settings: Settings) -> None:
    warehouse = WarehouseResource(is_own=True, assets=["athletes", "gear"])
    result = archive_import_job.execute_in_process(
        run_config={"ops": {op("import_handed_in"): {"config": {"athlete_id": ATHLETE, "path": str(EXPORT)}}}},
        instance=location.instance,
        resources=location.resources() | {"strava_warehouse": warehouse},
        raise_on_error=False,
    )
    assert "activities is left out" in why(result)
    assert all_of(engine) == []


def test_what_waits_where_no_activities_are_kept_has_failed_at_once(
    location: CodeLocation, engine: Engine, tmp_path: Path
) -> None:
    """Else run after run would be launched for it."""
    import_id = waiting(engine, uploaded(tmp_path))
    warehouse = WarehouseResource(is_own=True, assets=["athletes", "gear"])
    archive_import_job.execute_in_process(
        run_config={
            "ops": {op("import_handed_in"): {"config": {"athlete_id": ATHLETE, "import_id": import_id}}},
        },
        instance=location.instance,
        resources=location.resources() | {"strava_warehouse": warehouse},
        raise_on_error=False,
    )
    assert "activities is left out" in (stored(engine, import_id).failure or "")


def test_a_run_that_a_person_ends_says_so_and_how_to_go_on(
    location: CodeLocation, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = waiting(engine, uploaded(tmp_path))

    def ended(*_: object) -> None:
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr(of_job._Shown, "_show", ended)
    with contextlib.suppress(dg.DagsterExecutionInterruptedError):
        run(location, import_id=import_id)
    assert stored(engine, import_id).failure == "it was interrupted: hand in the same again, and it goes on"
