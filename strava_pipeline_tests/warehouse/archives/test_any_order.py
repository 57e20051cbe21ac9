"""Whatever comes in whatever order: the tables are those that the remaining sources give."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, null, select, update

from strava_pipeline.errors import AlreadyImported
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import detail_rows, digest, summary_row
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.activities.activity_store import Payload, Unlisted
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.activities.tombstones import add_tombstones, lock_activities
from strava_pipeline.warehouse.archives.merging import delete_for_good, merge
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.archive_tables import (
    archive_figures,
    archive_files,
    archive_imports,
    archive_rows,
    recording_bytes,
    recording_channels,
    recordings,
)
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, laps, splits
from strava_pipeline.warehouse.states import StreamSource
from strava_pipeline_tests.handed_in import TAKEN, HandIn, archive_row, later, made_recording
from strava_pipeline_tests.histories import HistoryTables, contents, histories
from strava_pipeline_tests.strava_stand_in import RIDER, activity_body, stream_body

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
FIRST_ASKED = datetime(2025, 9, 1, tzinfo=UTC)
START = datetime(2025, 6, 3, 8, tzinfo=UTC)
# Three rides: the second one an hour after the first, the third days later.
STARTS = {5: START, 6: later(START, 7200), 7: later(START, 5 * 86400)}
RAW = (archive_rows, archive_files, recording_bytes, archive_imports)
# What is derived of what was handed in, and of Strava's answers.
DERIVED = (activities, archive_figures, recordings, recording_channels, laps, splits, activity_streams, archive_files)
# When something was done says nothing about what it did.
STAMPS = ("fetched_at", "read_at")

ids = st.sampled_from(sorted(STARTS))
versions = st.integers(0, 2)
OPERATIONS = st.one_of(
    st.tuples(st.just("archive"), st.integers(0, 3)),
    st.tuples(st.just("archive"), st.integers(0, 3)),
    st.tuples(st.just("file"), st.integers(0, 3)),
    st.tuples(st.just("file"), st.integers(0, 3)),
    st.tuples(st.just("list"), st.dictionaries(ids, versions)),
    st.tuples(st.just("list"), st.dictionaries(ids, versions)),
    st.tuples(st.just("detail"), st.tuples(ids, versions)),
    st.tuples(st.just("streams"), ids),
    st.tuples(st.just("deleted"), ids),
    st.tuples(st.just("retention"), st.none()),
    st.tuples(st.just("undo"), st.integers(0, 5)),
    st.tuples(st.just("read"), st.none()),
)


def body_of(activity_id: int, version: int) -> dict[str, Any]:
    """Strava's answer, in one of three versions: as recorded, renamed with an offset, and cropped."""
    told: dict[str, Any] = {"distance": 18000.0, "elapsed_time": 3600, "moving_time": 3500, "sport_type": "GravelRide"}
    if version == 1:
        told |= {"name": "Renamed", "utc_offset": 7200 - activity_id * 900}
        local = STARTS[activity_id] + timedelta(seconds=told["utc_offset"])
        told |= {"start_date_local": local.strftime("%Y-%m-%dT%H:%M:%SZ"), "description": None}
    if version == 2:
        told |= {"elapsed_time": 3000, "distance": 15000.0, "sport_type": "Run", "type": "Run"}
    body = activity_body(activity_id, STARTS[activity_id], **told)
    if version != 1:
        for name in ("utc_offset", "start_date_local", "timezone"):
            body.pop(name, None)
    return body


class World:
    """One athlete's history, in which the database's tables are the only memory."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.hand_in = HandIn(engine)
        self.asked_at = FIRST_ASKED

    def do(self, operation: tuple[str, Any]) -> None:
        name, given = operation
        self.asked_at += timedelta(minutes=1)
        work: Callable[[Any], None] = getattr(self, f"_{name}")
        work(given)

    def read_all(self) -> None:
        with self.engine.connect() as connection:
            stored = connection.execute(select(activities.c.id)).scalars().all()
        while self.hand_in.read(stored):
            pass

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return contents(self.engine, DERIVED, without=STAMPS)

    def derive_anew(self) -> None:
        """Merge whatever is stored again."""
        with self.engine.begin() as connection:
            merge(connection, RIDER, self._ids(connection))
        self.read_all()

    def begin_anew(self) -> None:
        """Throw away all that is derived, and tell the sources again: first the API's, then what was handed in."""
        with self.engine.begin() as connection:
            for table in (activities, archive_figures, recordings, recording_channels, laps, splits):
                connection.execute(delete(table))
            connection.execute(delete(activity_streams).where(activity_streams.c.source == StreamSource.FILE))
            connection.execute(update(archive_files).values(activity_id=null(), doubt=null()))
            moment = now(connection)
        list(remap(self.engine, before=moment + timedelta(days=1)))
        self.derive_anew()

    def _ids(self, connection: Any) -> set[int]:
        columns = (activities.c.id, archive_rows.c.activity_id, archive_files.c.activity_id, payloads.c.activity_id)
        found = {each for column in columns for each in connection.execute(select(column)).scalars()}
        return found - {None}

    def _archive(self, number: int) -> None:
        """One of four archives of different days: each later one knows more rides, and some better."""
        rows = [
            archive_row(
                5, STARTS[5], description=f"archive {number}", total_steps=number, sport_word="Corsetta", sport=None
            ),
            archive_row(6, STARTS[6], name=f"From archive {number}", sport="Hike", sport_word="Hike"),
            archive_row(7, STARTS[7], sport_word="Corsetta", sport=None, elapsed_s=1800.0, distance_m=9000.0),
        ]
        if number == 3:  # the first ride was cropped before this archive
            rows[0] = archive_row(
                5, later(START, 600), sport_word="Corsetta", sport=None, elapsed_s=2400.0, distance_m=12e3
            )
        files = [(5, b"first", self._recording(0)), (7, b"third", made_recording(STARTS[7]))]
        told = rows[: number + 1]
        named = [file for file in files if file[0] in {row.id for row in told}]
        options = {"timezone": "Asia/Tokyo"} if number == 2 else None
        with suppress(AlreadyImported):
            self.hand_in.archive(told, TAKEN + timedelta(days=number), named, options=options)

    def _file(self, number: int) -> None:
        with suppress(AlreadyImported):
            self.hand_in.file([b"first", b"other", b"cropped", b"alone"][number], self._recording(number))

    def _recording(self, number: int) -> Any:
        """As an archive has it; of a second device with a clock; like a cropped ride; of an unknown ride."""
        return (
            made_recording(START),
            made_recording(later(START, 30), local_offset_s=3600, sport="Run"),
            made_recording(STARTS[6], seconds=3000, mps=5.0),
            made_recording(later(START, 10 * 86400), sport="Hike"),
        )[number]

    def _list(self, told: dict[int, int]) -> None:
        bodies = [body_of(activity_id, version) for activity_id, version in told.items()]
        with self.engine.begin() as connection:
            activity_store.replace_span(
                connection,
                JUNE,
                [summary_row(RIDER, body) for body in bodies],
                [Payload(body["id"], RIDER, body, digest(body)) for body in bodies],
                listed=set(told),
                asked_at=self.asked_at,
                unlisted=Unlisted.DELETE,
            )

    def _detail(self, told: tuple[int, int]) -> None:
        body = body_of(*told) | {"calories": 700.0}
        with self.engine.begin() as connection:
            payload = Payload(body["id"], RIDER, body, digest(body))
            activity_store.store_detail(connection, detail_rows(RIDER, body), payload, self.asked_at)

    def _streams(self, activity_id: int) -> None:
        with self.engine.begin() as connection:
            told = select(payloads.c.activity_id).where(payloads.c.activity_id == activity_id)
            if connection.execute(told).first() is not None:
                store_streams(connection, map_streams(RIDER, activity_id, stream_body()), self.asked_at)

    def _deleted(self, activity_id: int) -> None:
        with self.engine.begin() as connection:
            lock_activities(connection, RIDER)
            delete_for_good(connection, RIDER, [activity_id])
            add_tombstones(connection, RIDER, [activity_id], self.asked_at, "deleted at Strava")

    def _retention(self, _: None) -> None:
        remove_activities_before(self.engine, START + timedelta(hours=1))

    def _undo(self, number: int) -> None:
        with self.engine.connect() as connection:
            imports = connection.execute(select(archive_imports.c.id).order_by(archive_imports.c.id)).scalars().all()
        if imports:
            undo_import(self.engine, imports[number % len(imports)], batch=2)

    def _read(self, _: None) -> None:
        self.read_all()


@pytest.fixture
def emptied(engine: Engine, owner_engine: Engine) -> Callable[[], None]:
    tables = HistoryTables(engine, owner_engine)

    def empty() -> None:
        tables.empty()
        with engine.begin() as connection:
            for table in RAW:
                connection.execute(delete(table))

    return empty


@histories(25)
@given(history=st.lists(OPERATIONS, min_size=7, max_size=14))
@example(history=[("list", {7: 1, 6: 2}), ("archive", 3), ("undo", 0), ("list", {7: 1, 6: 2})])
def test_the_tables_are_what_the_sources_give(
    engine: Engine, emptied: Callable[[], None], history: list[tuple[str, Any]]
) -> None:
    emptied()
    world = World(engine)
    for operation in history:
        world.do(operation)
    world.read_all()
    ended = world.tables()
    world.derive_anew()
    assert world.tables() == ended
    world.begin_anew()
    assert world.tables() == ended
