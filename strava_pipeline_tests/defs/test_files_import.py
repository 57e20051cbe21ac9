"""From a file in the watched folder to an activity with figures and a mail, as Dagster runs it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, Row, insert, select, update

from strava_pipeline.files_runs import MOST_AT_ONCE, files_config
from strava_pipeline.names import HISTORY_ASSETS, Asset, Job, partition_key
from strava_pipeline.sync import archive_single, files_folder, folder_hands
from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    defs,
    files_every_five_minutes,
    files_import,
    key_of,
    op,
    webhook_sync,
)
from strava_pipeline_tests.inbox import connect_riders, store
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.notifications.conftest import ADDRESS, hilly_streams
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.sync.dropped import a_gpx, drop
from strava_pipeline_tests.sync.handing_in import here

NEWCOMER = 2002


@pytest.fixture(autouse=True)
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in the test's process."""
    monkeypatch.setattr(folder_hands, "hand_in_file", partial(archive_single.hand_in_file, readers=here))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("STRAVA_FILES_FOLDER", str(folder))
    monkeypatch.setattr(files_folder, "RESTS_SECONDS", 0.0)
    return folder


@pytest.fixture
def smtp(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServerStandIn]:
    """A mail server that takes the mails of an athlete who gave an address."""
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER, ADDRESS)))
    with mail_server() as server:
        monkeypatch.setenv("STRAVA_SMTP_URL", server.url)
        monkeypatch.setenv("STRAVA_MAIL_FROM", "Rides <rides@example.org>")
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://bridge.example.org")
        yield server


def two_hours_ago() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


def run(location: CodeLocation, athlete_id: int = RIDER) -> dg.ExecuteInProcessResult:
    return files_import.execute_in_process(
        run_config=files_config(NAMES, athlete_id), instance=location.instance, resources=location.resources()
    )


def rows(engine: Engine, *tables: Any) -> list[list[Row[Any]]]:
    with engine.connect() as connection:
        return [list(connection.execute(select(table)).all()) for table in tables]


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_file_becomes_an_activity_with_figures_and_one_mail(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn, root: Path
) -> None:
    start = two_hours_ago()
    drop(root, f"{RIDER}/ride.gpx", a_gpx(start))
    assert run(location).success
    [activity], [streams], [_] = rows(engine, activities, activity_streams, route_analyses)
    assert activity.id < 0
    assert (activity.start_date, activity.told_by_api, streams.source) == (start, False, "file")
    assert tree(root) == [f"{RIDER}/done/ride.gpx"]
    (mail,) = smtp.mails
    assert mail["To"] == ADDRESS
    assert "strava.com" not in str(mail.get_body(("plain",)))
    # Only a month that was imported as a whole is shown as materialized.
    seen = location.instance.fetch_observations(key_of(Asset.ACTIVITIES), limit=5).records
    assert [record.partition_key for record in seen] == [partition_key(RIDER, start)]
    # The same once more, under another name: nothing is told again.
    drop(root, f"{RIDER}/again.gpx", a_gpx(start))
    assert run(location).success
    assert [len(found) for found in rows(engine, activities, notifications)] == [1, 1]
    assert tree(root) == [f"{RIDER}/done/again.gpx", f"{RIDER}/done/ride.gpx"]


def test_a_month_that_was_imported_is_shown_as_materialized_again(
    location: CodeLocation, engine: Engine, root: Path
) -> None:
    connect_riders(engine, RIDER)
    start = two_hours_ago()
    for name in HISTORY_ASSETS:
        event = dg.AssetMaterialization(key_of(name), partition=partition_key(RIDER, start))
        location.instance.report_runless_asset_event(event)
    drop(root, f"{RIDER}/ride.gpx", a_gpx(start))
    assert run(location).success
    for name in HISTORY_ASSETS:
        last = location.instance.fetch_materializations(key_of(name), limit=1).records[0].asset_materialization
        assert last is not None
        assert last.metadata["cause"].value == "file"


def test_a_webhook_that_tells_of_the_ride_later_makes_one_of_two_and_no_second_mail(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn, root: Path
) -> None:
    start = two_hours_ago()
    drop(root, f"{RIDER}/ride.gpx", a_gpx(start))
    assert run(location).success
    [[own]] = rows(engine, activities)
    location.strava.streams[1] = hilly_streams()
    told = {"distance": own.distance, "moving_time": own.elapsed_time, "elapsed_time": own.elapsed_time}
    location.strava.add(1, start, **told)
    store(engine, 1)
    fences = [claim.fence for claim in claim_objects(engine, 10)]
    config = {"ops": {op("claimed_objects"): {"config": {"fences": fences}}}}
    assert webhook_sync.execute_in_process(
        run_config=config, instance=location.instance, resources=location.resources()
    ).success
    [activity], [mail] = rows(engine, activities, notifications)
    assert (activity.id, mail.activity_id) == (1, 1)
    assert len(smtp.mails) == 1


def test_a_file_of_a_ride_that_a_webhook_told_gives_no_second_mail(
    location: CodeLocation, engine: Engine, smtp: MailServerStandIn, root: Path
) -> None:
    start = two_hours_ago()
    location.strava.streams[1] = hilly_streams()
    location.strava.add(1, start, distance=12_000, moving_time=2_390, elapsed_time=2_390)
    store(engine, 1)
    fences = [claim.fence for claim in claim_objects(engine, 10)]
    config = {"ops": {op("claimed_objects"): {"config": {"fences": fences}}}}
    assert webhook_sync.execute_in_process(
        run_config=config, instance=location.instance, resources=location.resources()
    ).success
    drop(root, f"{RIDER}/ride.gpx", a_gpx(start))
    assert run(location).success
    [activity], [mail] = rows(engine, activities, notifications)
    assert (activity.id, mail.activity_id) == (1, 1)
    assert len(smtp.mails) == 1


def test_an_old_ride_gives_no_mail(location: CodeLocation, engine: Engine, smtp: MailServerStandIn, root: Path) -> None:
    drop(root, f"{RIDER}/ride.gpx", a_gpx(two_hours_ago() - timedelta(days=400)))
    assert run(location).success
    assert [len(found) for found in rows(engine, activities, notifications)] == [1, 0]
    assert smtp.mails == []


def test_a_newcomer_starts_with_a_folder_and_no_app(location: CodeLocation, engine: Engine, root: Path) -> None:
    drop(root, f"{NEWCOMER}/ride.gpx", a_gpx(two_hours_ago()))
    assert run(location, NEWCOMER).success
    [user], [activity] = rows(engine, users, activities)
    assert (user.athlete_id, user.state, activity.athlete_id) == (NEWCOMER, "archive_only", NEWCOMER)
    assert location.instance.has_dynamic_partition(NAMES.partition_set, str(NEWCOMER))


def test_what_cannot_be_read_is_told_and_moved_and_keeps_nothing_else(
    location: CodeLocation, engine: Engine, root: Path
) -> None:
    connect_riders(engine, RIDER)
    drop(root, f"{RIDER}/a photo.jpg", b"\xff\xd8\xff\xe0", at=1_000)
    drop(root, f"{RIDER}/cut.gpx", b"<gpx><trk>", at=2_000)
    drop(root, f"{RIDER}/ride.gpx", a_gpx(two_hours_ago()), at=3_000)
    result = run(location)
    assert result.success
    assert tree(root / str(RIDER)) == [
        "done/ride.gpx",
        "failed/a photo.jpg",
        "failed/a photo.jpg.txt",
        "failed/cut.gpx",
        "failed/cut.gpx.txt",
    ]
    for name in ("a photo.jpg", "cut.gpx"):
        (line,) = (root / str(RIDER) / "failed" / f"{name}.txt").read_text().splitlines()
        assert line
    outputs: list[Any] = [
        event.event_specific_data
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT and event.step_key == op("take_files")
    ]
    assert [output.metadata["activities"].value for output in outputs] == [1]
    assert "a photo.jpg" in outputs[0].metadata["failed"].value


def test_files_of_an_athlete_who_has_left_are_not_read(location: CodeLocation, engine: Engine, root: Path) -> None:
    connect_riders(engine, RIDER, state="revoked")
    drop(root, f"{RIDER}/ride.gpx", a_gpx(two_hours_ago()))
    assert run(location).success
    assert rows(engine, activities) == [[]]
    assert tree(root) == [f"{RIDER}/ride.gpx"]


def tick(instance: dg.DagsterInstance) -> dg.ScheduleExecutionData:
    code_location = defs().get_repository_def()
    with dg.build_schedule_context(
        instance, scheduled_execution_time=datetime.now(UTC), repository_def=code_location
    ) as context:
        return files_every_five_minutes.evaluate_tick(context)


@pytest.mark.usefixtures("engine", "settings")
def test_without_a_folder_the_schedule_says_so(persistent: dg.DagsterInstance) -> None:
    assert tick(persistent).skip_message == "STRAVA_FILES_FOLDER is not set: no folder is watched"


@pytest.mark.usefixtures("settings")
def test_the_schedule_requests_a_run_for_each_athlete_who_has_none_to_come(
    persistent: dg.DagsterInstance, engine: Engine, root: Path
) -> None:
    connect_riders(engine, RIDER, 7)
    assert tick(persistent).skip_message == "no files wait, or their runs have not ended"
    drop(root, f"{RIDER}/ride.gpx")
    drop(root, "7/ride.gpx")
    asked = tick(persistent).run_requests or []
    assert [request.tags[NAMES.athlete_tag] for request in asked] == ["7", str(RIDER)]
    assert asked[0].run_config == files_config(NAMES, 7)
    persistent.create_run_for_job(
        defs().resolve_job_def(NAMES.job(Job.FILES_IMPORT)),
        status=dg.DagsterRunStatus.STARTED,
        run_config=files_config(NAMES, 7),
        tags={NAMES.athlete_tag: "7"} | dict(files_import.run_tags),
    )
    assert [request.tags[NAMES.athlete_tag] for request in tick(persistent).run_requests or []] == [str(RIDER)]
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == RIDER).values(state="revoked"))
    assert "has disconnected" in (tick(persistent).skip_message or "")


@pytest.mark.usefixtures("settings", "engine")
def test_the_schedule_requests_few_runs_at_a_time(persistent: dg.DagsterInstance, root: Path) -> None:
    for athlete_id in range(1, MOST_AT_ONCE + 3):
        drop(root, f"{athlete_id}/ride.gpx")
    assert len(tick(persistent).run_requests or []) == MOST_AT_ONCE


@pytest.mark.usefixtures("settings", "engine")
def test_a_folder_that_is_away_fails_no_tick(persistent: dg.DagsterInstance, root: Path) -> None:
    root.rmdir()
    assert "cannot be read" in (tick(persistent).skip_message or "")
