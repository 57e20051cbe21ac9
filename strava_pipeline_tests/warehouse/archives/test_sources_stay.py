"""What was handed in is not lost, and is nobody else's, whatever else happens to the athlete's history."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, select, text, update

from strava_pipeline.errors import ActivityOfAnother
from strava_pipeline.files.recording import recording_id
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.assigning import OF_ANOTHER
from strava_pipeline.warehouse.archives.files import note_unreadable, store_file
from strava_pipeline.warehouse.archives.freed_files import decide_freed_files
from strava_pipeline.warehouse.archives.merging import merge
from strava_pipeline.warehouse.archives.rows import store_rows
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.imports.wishes import lock_imports
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_rows, recording_bytes
from strava_pipeline.warehouse.schema.check_tables import changed_months
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import GrantState, StreamSource
from strava_pipeline_tests.handed_in import HandIn, archive_row, made_recording
from strava_pipeline_tests.strava_stand_in import RIDER, stream_body
from strava_pipeline_tests.warehouse.archives.test_merging import ASKED, START, body_of, count, list_month

OTHER = RIDER + 1


@pytest.fixture
def hand_in(engine: Engine) -> HandIn:
    return HandIn(engine)


def owners(engine: Engine) -> list[Any]:
    query = select(activities.c.id, activities.c.athlete_id).order_by(activities.c.id)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_a_file_of_two_athletes_is_an_activity_of_the_one_who_had_it_first(engine: Engine, hand_in: HandIn) -> None:
    hand_in.file(b"ride", made_recording(START))
    own = -recording_id(b"ride")
    hand_in.read([own])
    other = HandIn(engine, OTHER)
    number, _ = other.file(b"ride", made_recording(START))
    assert owners(engine) == [(own, RIDER)]
    undo_import(engine, number)
    assert owners(engine) == [(own, RIDER)]


def doubts(engine: Engine, athlete_id: int) -> list[Any]:
    query = select(archive_files.c.activity_id, archive_files.c.doubt).where(archive_files.c.athlete_id == athlete_id)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_of_two_who_hand_in_one_file_at_once_the_first_to_commit_has_it(engine: Engine, hand_in: HandIn) -> None:
    other = HandIn(engine, OTHER)
    recording = made_recording(START)
    hand_in.file(b"earlier", made_recording(START - timedelta(days=9)))
    own = -recording_id(b"ride")
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            store_file(connection, 1, hand_in.handed(b"ride", recording))
            merge(connection, RIDER, [])
            second = thread.submit(other.file, b"ride", recording)
            wait_until_blocked(engine, second)
        second.result()
    assert (own, RIDER) in owners(engine)
    assert doubts(engine, OTHER) == [(None, OF_ANOTHER)]


def test_of_two_archives_with_one_activity_the_first_to_commit_has_it(engine: Engine, hand_in: HandIn) -> None:
    number, others = hand_in.archive([]), HandIn(engine, OTHER).archive([])

    def store_others() -> None:
        with engine.begin() as connection:
            store_rows(connection, others, OTHER, [archive_row(1, START)])

    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            store_rows(connection, number, RIDER, [archive_row(1, START)])
            second = thread.submit(store_others)
            wait_until_blocked(engine, second)
        with pytest.raises(ActivityOfAnother):
            second.result()
    assert count(engine, archive_rows) == 1


def test_a_file_of_two_athletes_goes_to_the_second_when_the_first_one_undoes_it(
    engine: Engine, hand_in: HandIn
) -> None:
    number, _ = hand_in.file(b"ride", made_recording(START))
    other = HandIn(engine, OTHER)
    other.file(b"ride", made_recording(START))
    own = -recording_id(b"ride")
    undo_import(engine, number)
    assert owners(engine) == [(own, OTHER)]
    assert doubts(engine, OTHER) == [(own, None)]


def test_a_file_of_two_athletes_goes_to_the_second_when_the_first_one_is_erased(
    engine: Engine, hand_in: HandIn
) -> None:
    hand_in.file(b"ride", made_recording(START))
    HandIn(engine, OTHER).file(b"ride", made_recording(START))
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="asked to")
    finish_erasure(load_settings(), engine, RIDER)
    assert owners(engine) == [(-recording_id(b"ride"), OTHER)]


def test_without_time_a_file_of_two_athletes_waits_for_the_next_look(engine: Engine, hand_in: HandIn) -> None:
    hand_in.file(b"ride", made_recording(START))
    HandIn(engine, OTHER).file(b"ride", made_recording(START))
    with engine.begin() as connection:
        delete_activities(connection, [-recording_id(b"ride")])
    assert decide_freed_files(engine, lambda: False) == 0
    assert owners(engine) == []
    assert decide_freed_files(engine) == 1
    assert owners(engine) == [(-recording_id(b"ride"), OTHER)]


def test_an_import_with_a_zone_takes_its_locks_in_their_order(engine: Engine, hand_in: HandIn) -> None:
    """As a listing does that has details asked for again: it takes that of imports last."""
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            lock_activities(connection, RIDER)
            second = thread.submit(hand_in.archive, [], options={"timezone": "Asia/Tokyo"})
            wait_until_blocked(engine, second)
            lock_imports(connection, RIDER)
        second.result()


def test_nobody_who_has_disconnected_gets_a_file_that_was_anothers(engine: Engine, hand_in: HandIn) -> None:
    number, _ = hand_in.file(b"ride", made_recording(START))
    HandIn(engine, OTHER).file(b"ride", made_recording(START))
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state=GrantState.REVOKED))
    undo_import(engine, number)
    assert owners(engine) == []


def test_remap_waits_for_what_is_being_handed_in(engine: Engine, hand_in: HandIn) -> None:
    list_month(engine, body_of(1))
    number = hand_in.archive([archive_row(2, START - timedelta(days=1))])
    with ThreadPoolExecutor(1) as thread:
        with engine.begin() as connection:
            store_rows(connection, number, RIDER, [archive_row(1, START, max_heartrate_bpm=171.0)])
            merge(connection, RIDER, [1])
            remapped = thread.submit(lambda: list(remap(engine, before=ASKED + timedelta(days=999))))
            wait_until_blocked(engine, remapped)
        remapped.result()
    with engine.connect() as connection:
        told = select(activities.c.max_heartrate).where(activities.c.id == 1)
        assert connection.execute(told).scalar_one() == 171


def test_months_are_checked_whose_local_times_are_those_of_another_activity(engine: Engine, hand_in: HandIn) -> None:
    hand_in.archive([archive_row(2, START + timedelta(days=40))])
    with engine.begin() as connection:
        connection.execute(delete(changed_months))
    list_month(engine, body_of(1))
    with engine.connect() as connection:
        months = set(connection.execute(select(changed_months.c.month)).scalars())
        offset = connection.execute(select(activities.c.utc_offset).where(activities.c.id == 2)).scalar_one()
    assert (months, offset) == ({date(2025, 6, 1), date(2025, 7, 1)}, 7200)


def test_retention_goes_on_where_somebody_has_disconnected(engine: Engine, hand_in: HandIn) -> None:
    list_month(engine, body_of(1))
    hand_in.archive([archive_row(2, START - timedelta(days=1))])
    list_month(engine, body_of(2))
    with engine.begin() as connection:
        connection.execute(update(users).values(state=GrantState.REVOKED))
    remove_activities_before(engine, START + timedelta(days=9))
    assert owners(engine) == [(2, RIDER)]


def test_a_stored_recording_that_cannot_be_read_again_stays(engine: Engine, hand_in: HandIn) -> None:
    hand_in.file(b"ride", made_recording(START))
    recording = recording_id(b"ride")
    with engine.begin() as connection:
        note_unreadable(connection, RIDER, recording, "took too long")
        merge(connection, RIDER, [-recording])
    assert owners(engine) == []
    assert (count(engine, archive_files), count(engine, recording_bytes)) == (1, 1)


def test_rows_that_are_not_merged_yet_outlive_a_listing_and_retention(engine: Engine, hand_in: HandIn) -> None:
    list_month(engine, body_of(1))
    number = hand_in.archive([archive_row(2, START)])
    with engine.begin() as connection:
        store_rows(connection, number, RIDER, [archive_row(1, START)])
    list_month(engine)
    assert count(engine, archive_rows) == 2
    remove_activities_before(engine, START + timedelta(days=9))
    assert count(engine, archive_rows) == 2


def test_samples_of_the_api_that_are_being_stored_outlive_those_of_a_file(engine: Engine, hand_in: HandIn) -> None:
    list_month(engine, body_of(5))
    hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])
    streams = map_streams(RIDER, 5, stream_body())
    with ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            assert store_streams(connection, streams, ASKED)
            reading = other.submit(hand_in.read, [5])
            wait_until_blocked(engine, reading)
        assert reading.result() == 1
    with engine.connect() as connection:
        assert connection.execute(select(activity_streams.c.source)).scalar_one() == StreamSource.API


def wait_until_blocked(engine: Engine, work: Future[Any]) -> None:
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not work.done():
        with engine.connect() as connection:
            if connection.execute(blocked).scalar_one():
                return
        time.sleep(0.01)
