"""Erasures are brought to their end by whoever is there: rows first, then the lake's files, then the mark goes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow, DatabaseUnavailable
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync import erasing
from strava_pipeline.sync.erasing import finish_erasure, finish_erasures, finish_within
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.erasures import ErasureMark, athletes_being_erased
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline_tests.erasing import OTHER, data_of, two_whole_athletes
from strava_pipeline_tests.strava_stand_in import RIDER


@pytest.fixture(autouse=True)
def decided(engine: Engine, keyring: Keyring) -> None:
    """Two athletes with data, both to be erased."""
    two_whole_athletes(engine, keyring)
    for athlete in (RIDER, OTHER):
        begin_erasure(engine, athlete, keep_data=False, actor=Actor.OPERATOR, cause="a test")


def folder(settings: Settings, athlete: int) -> Path:
    return settings.home / "lake" / f"athlete_id={athlete}"


def waiting(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return athletes_being_erased(connection)


def always() -> bool:
    return True


def test_rows_and_files_go_before_the_mark(settings: Settings, engine: Engine) -> None:
    (folder(settings, RIDER) / "month=2025-06").mkdir(parents=True)
    rows = sum(data_of(engine, RIDER).values())
    assert finish_erasure(settings, engine, RIDER) >= rows > 0
    assert not folder(settings, RIDER).exists()
    assert (data_of(engine, RIDER), waiting(engine)) == ({}, [OTHER])
    assert finish_erasure(settings, engine, RIDER) == 0


def test_an_erasure_is_over_though_files_of_others_have_to_wait(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_held(*_: object) -> int:
        raise DatabaseTooSlow("somebody holds a lock")

    monkeypatch.setattr(erasing, "decide_freed_files", is_held)
    assert finish_erasure(settings, engine, RIDER) > 0
    assert waiting(engine) == [OTHER]


def test_files_that_were_dropped_go_with_the_athlete(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    for athlete in (RIDER, OTHER):
        (tmp_path / "drop" / str(athlete) / "done").mkdir(parents=True)
        (tmp_path / "drop" / str(athlete) / "done" / "ride.fit").write_bytes(b"content")
    watching = settings.model_copy(update={"files_folder": tmp_path / "drop"})
    finish_erasure(watching, engine, RIDER)
    assert [path.name for path in (tmp_path / "drop").iterdir()] == [str(OTHER)]
    # What cannot be reached here has to be deleted elsewhere: the erasure is not over.
    away = settings.model_copy(update={"files_folder": tmp_path / "away"})
    with pytest.raises(ConfigurationError):
        finish_erasure(away, engine, OTHER)
    assert waiting(engine) == [OTHER]


def test_files_at_the_top_go_with_the_last_athlete(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    """They were the single athlete's: whoever connects next must not get them."""
    root = tmp_path / "drop"
    root.mkdir()
    for name in ("ride.fit", ".stfolder", "ride.gpx.part"):
        (root / name).write_bytes(b"content")
    watching = settings.model_copy(update={"files_folder": root})
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state=GrantState.NEEDS_REAUTH))
    finish_erasure(watching, engine, RIDER)
    assert (root / "ride.fit").exists()
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state=GrantState.REVOKED))
    finish_erasure(watching, engine, OTHER)
    assert sorted(path.name for path in root.iterdir()) == [".stfolder", "ride.gpx.part"]


def test_without_time_it_stops_and_goes_on_later(settings: Settings, engine: Engine) -> None:
    (folder(settings, RIDER) / "month=2025-06").mkdir(parents=True)
    finish_within(settings, engine, RIDER, 0.0)
    assert folder(settings, RIDER).exists()
    assert RIDER in waiting(engine)
    finish_within(settings, engine, RIDER, 60.0)
    assert (data_of(engine, RIDER), waiting(engine)) == ({}, [OTHER])


def test_of_many_those_wait_for_the_next_turn_for_whom_no_time_is_left(settings: Settings, engine: Engine) -> None:
    finish_erasures(settings, engine, lambda: RIDER in waiting(engine))
    assert waiting(engine) == [OTHER]
    assert data_of(engine, OTHER)


def test_a_lake_that_refuses_keeps_one_athlete_marked_and_holds_up_nobody_else(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: str, athlete: int) -> None:
        if athlete == RIDER:
            raise PermissionError("s3://bucket/somebody: Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr("strava_pipeline.warehouse.lake_files.erase_athlete_points", refuse)
        finish_erasures(settings, engine, always)
    assert (data_of(engine, RIDER), data_of(engine, OTHER), waiting(engine)) == ({}, {}, [RIDER])
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == f"the data of athlete {RIDER} are not all deleted yet, which is tried again: PermissionError"
    finish_erasures(load_settings(), engine, always)
    assert waiting(engine) == []


@pytest.mark.parametrize(
    ("error", "goes_on"), [(DatabaseTooSlow("a lock"), True), (DatabaseUnavailable("away"), False)]
)
def test_a_row_that_somebody_holds_is_one_athletes_trouble_and_a_database_that_is_away_everybodys(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, error: DatabaseUnavailable, *, goes_on: bool
) -> None:
    asked = []

    def fail(_: Engine, mark: ErasureMark, __: object) -> None:
        asked.append(mark.athlete_id)
        raise error

    monkeypatch.setattr(erasing, "delete_rows", fail)
    if goes_on:
        finish_erasures(settings, engine, always)
    else:
        with pytest.raises(DatabaseUnavailable, match="away"):
            finish_erasures(settings, engine, always)
    assert asked == ([RIDER, OTHER] if goes_on else [RIDER])
