"""Nothing of an activity outlives it in Dagster: no picture and no text of it is ever kept there."""

from __future__ import annotations

import shutil
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, make_url, select

from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.local.dagster_home import INSTANCE_FILE, shipped_file
from strava_pipeline.names import HISTORY_ASSETS, RANGE_END_TAG, RANGE_START_TAG
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema import tables
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.dagster_bytes import PNG, pictures, places_of, shapes_of
from strava_pipeline_tests.defs.own_definitions import (
    CHECKS,
    NAMES,
    activities,
    activity_details,
    activity_points_parquet,
    activity_streams,
    key_of,
    retention,
    route_analyses,
    run_checks,
    update_lake,
    upkeep,
)
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.notifications.conftest import hilly_streams
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

GRID = (activities, activity_details, activity_streams, route_analyses, activity_points_parquet)
YEAR = 2025
# No word of these is anywhere else.
TEXTS = {
    "name": "Kobaltweg zum Zwetschgenhof",
    "description": "Mit Quirin bis zum Xylophonturm",
    "device": "Wolframometer",
    "segment": "Jodlersteig",
    "renamed": "Umgetaufte Pumpernickelrunde",
    "odd": "Verquere Weltenbummelei",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """DAGSTER_HOME."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copy(shipped_file(INSTANCE_FILE), folder / INSTANCE_FILE)
    return folder


@pytest.fixture
def location(
    settings: Settings,
    engine: Engine,
    dagster_database: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[CodeLocation]:
    """A code location whose Dagster is the one of `up`: our dagster.yaml, and Postgres."""
    assert settings
    address = make_url(dagster_database).set(drivername="postgresql+psycopg2")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", address.render_as_string(hide_password=False))
    connect_riders(engine, RIDER)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        register_athlete(instance, NAMES, RIDER)
        yield CodeLocation(instance, StravaStandIn())


def add(strava: StravaStandIn, number: int, start: datetime, **more: Any) -> None:
    """A ride with a route, with texts that must not be found again."""
    strava.streams[number] = hilly_streams()
    effort = {
        "name": "Lap 1",
        "distance": 500,
        "elapsed_time": 100,
        "moving_time": 90,
        "start_date": "2025-03-01T08:00:00Z",
    }
    texts = {
        "name": TEXTS["name"],
        "description": TEXTS["description"],
        "device_name": TEXTS["device"],
        "segment_efforts": [effort | {"id": number, "segment": {"id": 77, "name": TEXTS["segment"]}}],
    }
    strava.add(number, start, **(texts | more))


def months(location: CodeLocation, first: int, last: int) -> dg.ExecuteInProcessResult:
    span = {RANGE_START_TAG: f"{RIDER}|{YEAR}-{first:02}-01", RANGE_END_TAG: f"{RIDER}|{YEAR}-{last:02}-01"}
    return location.materialize(*GRID, *CHECKS, tags=span | {NAMES.athlete_tag: str(RIDER)})


def at(month: int, day: int = 10) -> datetime:
    return datetime(YEAR, month, day, 8, tzinfo=UTC)


def run(location: CodeLocation, job: dg.JobDefinition) -> None:
    done = job.execute_in_process(instance=location.instance, resources=location.resources(), raise_on_error=False)
    assert done.success


def test_no_picture_and_no_text_of_an_activity_is_in_dagsters_storage_at_any_time(
    location: CodeLocation, engine: Engine, dagster_database: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava, needles = location.strava, pictures()
    for name, text in TEXTS.items():
        needles |= shapes_of(name, text)

    def search(after: str) -> None:
        found = {what: places for what, places in places_of(dagster_database, home, needles).items() if places}
        assert found == {}, after

    for number, month in ((1, 1), (2, 3), (3, 3), (4, 5)):
        add(strava, number, at(month, number))
    # What does not fit is put aside with a reason, and Strava's words are no part of that.
    add(strava, 5, at(5, 20), distance=TEXTS["odd"])
    add(strava, 6, at(5, 21), laps=[{"name": TEXTS["odd"], "distance": TEXTS["odd"], "id": 1}])
    assert months(location, 1, 12).success
    search("the import of a year")

    add(strava, 7, at(3, 25))
    store(engine, 7)
    store(engine, 2, aspect_type="update", updates={"title": TEXTS["renamed"]})
    strava.edit(2, name=TEXTS["renamed"])
    store(engine, 3, aspect_type="update", updates={"title": TEXTS["renamed"]}, signed=False)
    add(strava, 8, at(3, 26), elapsed_time=TEXTS["odd"])
    store(engine, 8)
    # One of them is a dead letter, so the run fails and says why.
    assert not work_off(location, engine).success
    search("webhooks")

    strava.delete(7)
    store(engine, 7, aspect_type="delete")
    assert work_off(location, engine).success
    search("a deletion by webhook")

    # It became private, and the grant does not cover that: Strava denies it, and the next listing lacks it.
    strava.delete(4)
    store(engine, 4, aspect_type="update", updates={"private": "true"}, signed=False)
    assert work_off(location, engine).success
    run(location, upkeep)
    assert months(location, 5, 5).success
    search("an activity that may not be read any more")

    days = (datetime.now(UTC) - at(2)) // timedelta(days=1)
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", str(days))
    for job in (retention, update_lake, run_checks):
        run(location, job)
    search("the end of a retention")
    with engine.connect() as connection:
        left = connection.execute(select(tables.activities.c.id).order_by(tables.activities.c.id)).scalars().all()
    assert list(left) == [2, 3, 6]
    _months_are_green_with_their_figures(location)


def _months_are_green_with_their_figures(location: CodeLocation) -> None:
    """Read from the events, as the page of a partition does."""
    for name in HISTORY_ASSETS:
        assert len(location.materialized(name)) == 12
        for month in (1, 3, 5):
            of_month = dg.AssetRecordsFilter(key_of(name), asset_partitions=[f"{RIDER}|{YEAR}-{month:02}-01"])
            (record,) = location.instance.fetch_materializations(of_month, limit=1).records
            assert record.asset_materialization is not None
            metadata = record.asset_materialization.metadata
            assert {"written", "dagster/partition_row_count"} & set(metadata)
            assert ("route and elevation" in metadata) == (name == "route_analyses")


def test_what_is_looked_for_would_be_found(location: CodeLocation, dagster_database: str, home: Path) -> None:
    name = TEXTS["name"]
    picture = dg.MetadataValue.md(f"![route](data:image/png;base64,{b64encode(PNG + b'data').decode()})")
    metadata: dict[str, Any] = {"told": f"Mühe: {name}", "picture": picture}
    location.instance.report_runless_asset_event(dg.AssetMaterialization(key_of("activities"), metadata=metadata))
    (home / "storage").mkdir(exist_ok=True)
    (home / "storage" / "output").write_bytes(b"." + PNG + name.encode())
    found = places_of(dagster_database, home, pictures() | shapes_of("name", name))
    assert {"event_logs.event", "asset_keys.last_materialization", "storage/output"} <= set(found["name, as it is"])
    assert {"event_logs.event", "asset_keys.last_materialization"} <= set(found["a PNG, in base64 at 0"])
    assert found["a PNG"] == ["storage/output"]
