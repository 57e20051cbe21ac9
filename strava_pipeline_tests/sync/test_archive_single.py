"""One file, as a watched folder hands it in, and what became of it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from strava_pipeline.files.recording import recording_id
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_recordings import read_freed_files
from strava_pipeline.sync.archive_single import HandedOver, hand_in_file
from strava_pipeline.sync.archive_source import HandedBytes
from strava_pipeline.warehouse.archives.imports import list_imports
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.schema import tables
from strava_pipeline_tests.sync.handing_in import ATHLETE, EXPORT, FIT, RUN, hand, here, rows_of

BODY = (FIT / "plain_run.fit").read_bytes()


def over(engine: Engine, settings: Settings, body: bytes, name: str = "run.fit") -> HandedOver:
    return hand_in_file(engine, settings, HandedBytes(name, body), athlete_id=ATHLETE, readers=here)


def test_a_file_becomes_an_activity_of_its_own(engine: Engine, settings: Settings) -> None:
    found = over(engine, settings, BODY)
    (activity,) = rows_of(engine, tables.activities)
    assert (found.activity_id, found.is_merged, found.is_new, found.fault) == (
        -recording_id(BODY),
        False,
        True,
        None,
    )
    assert found.start == activity["start_date"]


def test_a_file_of_a_ride_that_strava_tells_of_is_that_ride(engine: Engine, settings: Settings) -> None:
    hand(engine, settings, EXPORT)
    found = over(engine, settings, BODY)
    assert (found.activity_id, found.is_merged) == (RUN, True)
    assert len(rows_of(engine, tables.activities)) == 1


def test_a_file_that_was_handed_in_before_is_not_new(engine: Engine, settings: Settings) -> None:
    first, again = over(engine, settings, BODY), over(engine, settings, BODY)
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.activity_id, again.start) == (first.activity_id, first.start)


def test_a_file_that_another_athlete_had_before_is_read_at_night(engine: Engine, settings: Settings) -> None:
    other = ATHLETE + 1
    over(engine, settings, BODY)
    hand_in_file(engine, settings, HandedBytes("run.fit", BODY), athlete_id=other, readers=here)
    with engine.connect() as connection:
        (first,) = list_imports(connection, ATHLETE)
    undo_import(engine, first.id)
    assert read_freed_files(engine, here) == 1
    (streams,) = rows_of(engine, tables.activity_streams)
    assert (streams["athlete_id"], streams["activity_id"]) == (other, -recording_id(BODY))
    assert read_freed_files(engine, here) == 0


@pytest.mark.parametrize(
    ("body", "why"), [(b"", "is empty"), (b"PK\x03\x04", "is a zip"), (b"hello", "neither FIT nor TCX nor GPX")]
)
def test_a_file_that_cannot_be_read_says_why(engine: Engine, settings: Settings, body: bytes, why: str) -> None:
    found = over(engine, settings, body)
    assert why in (found.fault or "")
    assert (found.activity_id, rows_of(engine, tables.activities)) == (None, [])


def test_a_path_may_be_handed_in_as_well(engine: Engine, settings: Settings) -> None:
    options = ArchiveOptions(timezone="Europe/Rome")
    given = FIT / "plain_run.fit"
    found = hand_in_file(engine, settings, given, athlete_id=ATHLETE, options=options, readers=here)
    assert found.activity_id == -recording_id(BODY)
