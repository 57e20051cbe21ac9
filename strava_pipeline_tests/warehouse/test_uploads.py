"""Rows of uploads: one upload for an athlete, a few at once, and an end to each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.errors import ErasureUnderWay, NeedsReauthorization
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.erasures import mark_for_erasure
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upload_tables import uploads
from strava_pipeline.warehouse.states import UploadState
from strava_pipeline.warehouse.uploads.rows import (
    KEPT,
    MOST_AT_ONCE,
    QUIET,
    RESERVED,
    AnotherUpload,
    FileToUpload,
    TooManyUploads,
    Upload,
    bytes_to_come,
    delete_upload,
    load_upload,
    note_handed_in,
    note_received,
    open_upload,
    uploads_of,
)

ADA, BOB = 11, 12
FILE = FileToUpload("export_11.zip", 1000, "a" * 64)
OTHER = FileToUpload("export_11.zip", 1000, "b" * 64)


def begun(engine: Engine, athlete_id: int = ADA, file: FileToUpload = FILE) -> Upload:
    with engine.begin() as connection:
        return open_upload(connection, athlete_id, file)


def quiet_for(engine: Engine, upload_id: int, age: timedelta) -> None:
    with engine.begin() as connection:
        connection.execute(update(uploads).where(uploads.c.id == upload_id).values(alive_at=database_time() - age))


def imported(engine: Engine, state: str) -> int:
    """An archive import that came by an upload."""
    values: dict[str, Any] = {"athlete_id": ADA, "kind": "archive", "name": FILE.name, "content_hash": "c" * 64}
    values |= {"taken_at": datetime.now(UTC), "came_by": "upload", "options": {}, "state": state}
    with engine.begin() as connection:
        return int(
            connection.execute(insert(archive_imports).values(**values).returning(archive_imports.c.id)).scalar_one()
        )


def test_the_same_file_goes_on_where_it_stands(engine: Engine) -> None:
    first = begun(engine)
    with engine.begin() as connection:
        note_received(connection, first.id, 400)
    again = begun(engine)
    assert (again.id, again.received_bytes, again.left_bytes) == (first.id, 400, 600)
    with engine.connect() as connection:
        assert bytes_to_come(connection) == 600


def test_no_room_is_kept_for_an_upload_that_stands_still_or_was_canceled(engine: Engine) -> None:
    dead, canceled = begun(engine), begun(engine, BOB, OTHER)
    quiet_for(engine, dead.id, RESERVED)
    with engine.begin() as connection:
        assert bytes_to_come(connection) == canceled.left_bytes
        delete_upload(connection, canceled.id)
        assert bytes_to_come(connection) == 0
    begun(engine)  # it goes on after all
    with engine.begin() as connection:
        assert bytes_to_come(connection) == dead.left_bytes


def test_another_file_of_the_athlete_waits_until_the_first_is_whole_or_gone(engine: Engine) -> None:
    first = begun(engine)
    with pytest.raises(AnotherUpload, match=r"Another upload is not finished: export_11\.zip, 0 %"):
        begun(engine, file=OTHER)
    begun(engine, BOB, OTHER)
    with engine.begin() as connection:
        assert delete_upload(connection, first.id)
        assert not delete_upload(connection, first.id)
        assert load_upload(connection, first.id) is None
    second = begun(engine, file=OTHER)
    with engine.begin() as connection:
        note_handed_in(connection, second.id, imported(engine, "waiting"))
    third = begun(engine)
    with engine.connect() as connection:
        assert [(each.id, each.state) for each in uploads_of(connection, ADA)] == [
            (second.id, UploadState.HANDED_IN),
            (third.id, UploadState.OPEN),
        ]


def test_so_many_upload_at_once_and_a_quiet_one_holds_nobody_up(engine: Engine) -> None:
    many = [begun(engine, athlete_id) for athlete_id in range(100, 100 + MOST_AT_ONCE)]
    with pytest.raises(TooManyUploads):
        begun(engine)
    begun(engine, 100)  # one of them goes on
    quiet_for(engine, many[0].id, QUIET)
    begun(engine)
    with pytest.raises(TooManyUploads):
        begun(engine, 100)


def test_nothing_is_taken_for_whom_is_being_erased_or_has_left(engine: Engine) -> None:
    with engine.begin() as connection:
        for athlete_id, state in ((ADA, "active"), (BOB, "revoked")):
            connection.execute(insert(users).values(athlete_id=athlete_id, scopes=[], state=state, generation=1))
        mark_for_erasure(connection, ADA, "operator")
    with pytest.raises(ErasureUnderWay):
        begun(engine, ADA)
    with pytest.raises(NeedsReauthorization):
        begun(engine, BOB)


def test_who_leaves_takes_their_uploads_along(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=ADA, scopes=[], state="active", generation=1))
    begun(engine, ADA)
    begun(engine, BOB)
    begin_erasure(engine, ADA, keep_data=True, actor=Actor.OPERATOR, cause="a test")
    with engine.connect() as connection:
        assert connection.execute(select(uploads.c.athlete_id)).scalars().all() == [BOB]


@pytest.mark.parametrize(
    ("state", "stays"), [("waiting", True), ("running", True), ("failed", True), ("done", False), ("undone", False)]
)
def test_an_upload_goes_once_nothing_will_read_it(engine: Engine, state: str, stays: bool) -> None:
    handed = begun(engine)
    with engine.begin() as connection:
        note_handed_in(connection, handed.id, imported(engine, state))
    assert remove_old_records(engine) == ({} if stays else {"ops.uploads": 1})


def test_a_week_after_its_last_part_an_upload_is_gone(engine: Engine) -> None:
    quiet_for(engine, begun(engine).id, KEPT)
    begun(engine, BOB)
    assert remove_old_records(engine) == {"ops.uploads": 1}
