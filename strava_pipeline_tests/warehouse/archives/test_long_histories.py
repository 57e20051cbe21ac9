"""A part of an archive is merged in the same time, whatever else is stored of the athlete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.warehouse.archives.athletes import ensure_athlete
from strava_pipeline.warehouse.archives.files import HandedFile, store_files
from strava_pipeline.warehouse.archives.imports import begin_import
from strava_pipeline.warehouse.archives.merging import merge_handed_in, settle
from strava_pipeline.warehouse.archives.rows import store_rows
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ArchiveKind, CameBy
from strava_pipeline_tests.handed_in import TAKEN, archive_row
from strava_pipeline_tests.strava_stand_in import RIDER

START = datetime(2020, 1, 1, 8, tzinfo=UTC)
# Every fifth file tells its offset, one of three, so that the others have neighbours to take theirs from.
OFFSETS = (3600, 7200, -18000)
_READ = text(
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    " WHERE schemaname IN ('strava', 'ops')"
)


def start_of(number: int) -> datetime:
    return START + timedelta(days=number)


def rows_of(numbers: Sequence[int]) -> list[ArchiveRow]:
    return [archive_row(1000 + number, start_of(number)) for number in numbers]


def files_of(numbers: Sequence[int], *, named: bool) -> list[HandedFile]:
    """A file a day; ``named``: by its row, and at the row's time, else an activity of its own that evening."""
    return [
        HandedFile(
            athlete_id=RIDER,
            recording_id=50_000 + number,
            name=f"{number}.fit",
            row_id=1000 + number if named else None,
            kind=FileKind.FIT,
            body=b"as it came",
            figures={
                "start_date": start_of(number) + timedelta(hours=0 if named else 10),
                "elapsed_time": 3600,
                "distance": 18000.0,
                "utc_offset": OFFSETS[number % len(OFFSETS)] if number % 5 == 0 else None,
            },
        )
        for number in numbers
    ]


@pytest.fixture
def number(engine: Engine) -> int:
    """Of an archive import that is at work."""
    with engine.begin() as connection:
        ensure_athlete(connection, RIDER)
        return begin_import(
            connection,
            athlete_id=RIDER,
            kind=ArchiveKind.ARCHIVE,
            name="export.zip",
            content_hash="of a long history",
            taken_at=TAKEN,
            came_by=CameBy.COMMAND,
        ).id


def hand_in(
    engine: Engine, number: int, rows: Sequence[ArchiveRow], files: Sequence[HandedFile] = ()
) -> tuple[int, int]:
    """Hand in rows and files, and merge them in one go; return how many rows that read, in how many statements."""
    statements: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    with engine.begin() as connection:
        # A table of some pages is read as a whole otherwise, which says nothing about a long one.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        before = read_so_far(connection)
        event.listen(engine, "before_cursor_execute", note)
        store_rows(connection, number, RIDER, rows)
        store_files(connection, number, RIDER, files)
        merge_handed_in(connection, RIDER, [row.id for row in rows] or [-file.recording_id for file in files])
        event.remove(engine, "before_cursor_execute", note)
        read = read_so_far(connection) - before
    return read, len(statements)


def read_so_far(connection: Connection) -> int:
    return int(connection.execute(_READ).scalar() or 0)


def local_times(connection: Connection) -> list[Any]:
    query = select(activities.c.id, activities.c.utc_offset, activities.c.start_date_local).order_by(activities.c.id)
    return list(connection.execute(query))


@pytest.mark.parametrize("kind", ["rows alone", "rows with files", "files alone"])
def test_what_a_merge_reads_does_not_grow_with_the_history(engine: Engine, number: int, kind: str) -> None:
    def part(numbers: Sequence[int]) -> tuple[int, int]:
        rows = [] if kind == "files alone" else rows_of(numbers)
        files = [] if kind == "rows alone" else files_of(numbers, named=bool(rows))
        return hand_in(engine, number, rows, files)

    def newest_first(first: int, last: int) -> None:
        for end in range(last, first, -20):
            part(range(end - 20, end))

    newest_first(300, 340)
    short, _ = part(range(290, 300))
    newest_first(90, 290)
    long, _ = part(range(80, 90))
    assert long <= 1.25 * short


def test_a_part_takes_as_many_statements_however_many_files_it_has(engine: Engine, number: int) -> None:
    _, few = hand_in(engine, number, rows_of(range(2)), files_of(range(2), named=True))
    _, many = hand_in(engine, number, rows_of(range(100, 116)), files_of(range(100, 116), named=True))
    assert many == few


@pytest.mark.parametrize("order", [range(40), range(39, -1, -1), [number * 7 % 40 for number in range(40)]])
def test_local_times_merged_in_parts_are_those_of_the_whole(engine: Engine, number: int, order: Sequence[int]) -> None:
    for at in range(0, 40, 4):
        numbers = list(order[at : at + 4])
        hand_in(engine, number, rows_of(numbers), files_of([each for each in numbers if each % 2], named=True))
        with engine.begin() as connection:
            in_parts = local_times(connection)
            settle(connection, RIDER)
            assert local_times(connection) == in_parts
    for at in range(0, 40, 4):
        hand_in(engine, number, [], files_of([each for each in order[at : at + 4] if not each % 2], named=False))
        with engine.begin() as connection:
            in_parts = local_times(connection)
            settle(connection, RIDER)
            assert local_times(connection) == in_parts
