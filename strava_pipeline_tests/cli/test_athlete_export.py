"""``athletes export`` and ``athletes restore``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select

from strava_pipeline.cli import cli
from strava_pipeline.cli.instance import open_instance
from strava_pipeline.errors import ConfigurationError, UnknownAthlete, WarehouseError
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.erasure_list import Extent, note_departure
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.erasing import DAY, disconnect_and_erase, two_whole_athletes
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.athlete_export.exports import cells


def run(*arguments: str | int | Path, **how: Any) -> Result:
    return CliRunner().invoke(cli, ["athletes", *map(str, arguments)], **how)


@pytest.fixture
def whole(
    settings: Settings, engine: Engine, keyring: Keyring, dagster_database: str, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings of an installation with two athletes, and a Dagster that does not know them."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    two_whole_athletes(engine, keyring)
    return load_settings()


def test_there_and_back(whole: Settings, engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "copy.zip"
    before = cells(engine, RIDER)
    done = run("export", RIDER, "-o", target)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("athlete 1001: 2 activities, ")
    assert "2 GPX files, 0 recordings, " in done.stdout
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    refused = run("restore", target)
    assert isinstance(refused.exception, ConfigurationError)
    back = run("restore", target, "--again")
    assert back.exit_code == 0, back.output
    assert "athlete 1001: 2 activities, " in back.stdout
    assert "nothing asks Strava for them until they connect again" in back.stdout
    after = cells(engine, RIDER)
    same = ("strava.activities", "strava.activity_streams", "strava.segment_efforts", "strava.laps", "ops.payloads")
    assert [name for name in same if after[name] != before[name]] == []
    with open_instance(whole) as instance:
        assert list(instance.get_dynamic_partitions(NAMES.partition_set)) == [str(RIDER)]
    with engine.connect() as connection:
        row = connection.execute(select(users).where(users.c.athlete_id == RIDER)).one()
        actions = connection.execute(select(operator_audit.c.action, operator_audit.c.actor)).all()
    assert row.state == "archive_only"
    assert ("export", "command") in map(tuple, actions)
    assert ("restore", "command") in map(tuple, actions)
    assert '"state": "archive_only"' in run("list", "--format", "json").stdout


def test_who_is_on_the_list_of_erasures_comes_back_only_on_request(
    whole: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("export", RIDER, "-o", tmp_path / "copy").exit_code == 0
    note_departure(whole, RIDER, DAY, Extent.ERASED)
    told = run("restore", tmp_path / "copy").exception
    assert "athlete 1001 has left, and their data were to stay deleted" in str(told)
    assert isinstance(told, ConfigurationError)
    monkeypatch.delenv("STRAVA_TOKEN_KEYS")
    assert "STRAVA_TOKEN_KEYS" in str(run("restore", tmp_path / "copy").exception)


def test_an_export_that_cannot_be_written_is_one_line(whole: Settings, tmp_path: Path) -> None:
    assert isinstance(run("export", 77, "-o", tmp_path / "copy").exception, UnknownAthlete)
    told = run("export", RIDER, "-o", "/proc/nowhere/copy").exception
    assert isinstance(told, WarehouseError)
    assert str(told).startswith("/proc/nowhere/copy cannot be written: ")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine").touch()
    assert "nothing is overwritten" in str(run("export", RIDER, "-o", tmp_path / "taken").exception)


def test_a_restore_that_is_killed_in_the_middle_leaves_nothing_and_can_be_repeated(
    whole: Settings, engine: Engine, tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    before = cells(engine, RIDER)["strava.activity_streams"]
    assert run("export", RIDER, "-o", target, "--without-gpx").exit_code == 0
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    # It waits for this transaction, when most of its rows are written.
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE strava.zone_times IN SHARE ROW EXCLUSIVE MODE")
        command = [sys.executable, "-m", "strava_pipeline", "athletes", "restore", str(target), "--again"]
        with subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL) as process:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND left(query, 4) = 'COPY'"
            with autocommit(engine) as other:
                eventually(lambda: other.exec_driver_sql(waiting).scalar_one() == 1, "a COPY that waits")
            process.send_signal(signal.SIGKILL)
    assert not any(rows for table, rows in cells(engine, RIDER).items() if table != "strava.segments")
    assert run("restore", target, "--again").exit_code == 0
    assert cells(engine, RIDER)["strava.activity_streams"] == before
