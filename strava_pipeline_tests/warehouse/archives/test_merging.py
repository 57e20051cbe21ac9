"""One history of Strava's API, archives and files, whoever comes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, select, update

from strava_pipeline.errors import ActivityOfAnother, NeedsReauthorization
from strava_pipeline.files.archive.activity_fields import extra_columns
from strava_pipeline.files.archive.row import ArchiveRow, Weather
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import recording_id
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import detail_rows, digest, summary_row
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.warehouse.activities import activity_store, outdated
from strava_pipeline.warehouse.activities.activity_store import Payload, Unlisted
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.activities.tombstones import add_tombstones
from strava_pipeline.warehouse.archives import undo
from strava_pipeline.warehouse.archives.merged_rows import FIGURE_COLUMNS
from strava_pipeline.warehouse.archives.merging import Merged, delete_for_good, merge_handed_in
from strava_pipeline.warehouse.archives.row_json import row_from_json, row_to_json
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.archive_tables import (
    archive_figures,
    archive_files,
    archive_rows,
    recording_bytes,
    recording_channels,
    recordings,
)
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, laps
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline_tests.handed_in import TAKEN, HandIn, archive_row, later, made_recording
from strava_pipeline_tests.strava_stand_in import RIDER, activity_body, stream_body

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
ASKED = datetime(2025, 9, 1, tzinfo=UTC)
START = datetime(2025, 6, 3, 8, tzinfo=UTC)


@pytest.fixture
def hand_in(engine: Engine) -> HandIn:
    return HandIn(engine)


def body_of(activity_id: int, start: datetime = START, **more: Any) -> dict[str, Any]:
    """Strava's answer about an hour's ride of 18 km."""
    told = {"distance": 18000.0, "elapsed_time": 3600, "moving_time": 3500}
    return activity_body(activity_id, start, **(told | more))


def list_month(
    engine: Engine,
    *bodies: dict[str, Any],
    asked_at: datetime = ASKED,
    unlisted: Unlisted = Unlisted.DELETE,
) -> int:
    with engine.begin() as connection:
        return activity_store.replace_span(
            connection,
            JUNE,
            [summary_row(RIDER, body) for body in bodies],
            [Payload(body["id"], RIDER, body, digest(body)) for body in bodies],
            listed={body["id"] for body in bodies},
            asked_at=asked_at,
            unlisted=unlisted,
        ).deleted


def detail(engine: Engine, body: dict[str, Any], asked_at: datetime = ASKED) -> None:
    with engine.begin() as connection:
        payload = Payload(body["id"], RIDER, body, digest(body))
        assert activity_store.store_detail(connection, detail_rows(RIDER, body), payload, asked_at)


def api_streams(engine: Engine, activity_id: int, answer: Any = None) -> bool:
    with engine.begin() as connection:
        streams = map_streams(RIDER, activity_id, stream_body() if answer is None else answer)
        return store_streams(connection, streams, ASKED)


def rows(engine: Engine, table: Table) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key)).all())


def row(engine: Engine, activity_id: int) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(activities).where(activities.c.id == activity_id)).one()


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_every_column_of_a_row_survives_as_json() -> None:
    weather = Weather(observed_at=START, humidity=0.5, precipitation_type=1)
    told = archive_row(1, START, weather=weather, media=("media/a.jpg",), unknown=(("New", "x"),), private_note="me")
    assert row_from_json(row_to_json(told)) == told
    assert row_from_json(row_to_json(archive_row(1, START, sport=None))) == archive_row(1, START, sport=None)


def test_every_figure_of_an_archive_has_a_column() -> None:
    names = set(ArchiveRow.__dataclass_fields__) - {"weather"}
    told: dict[str, Any] = dict.fromkeys(names, 1) | {"weather": Weather()}
    extra = set(extra_columns(ArchiveRow(**told))) | {f"weather_{name}" for name in Weather.__dataclass_fields__}
    # The note is the athlete's alone.
    assert extra - set(FIGURE_COLUMNS) == {"private_note"}
    own = {"activity_id", "athlete_id", "sport_word", "unknown", "taken_at"}
    assert set(FIGURE_COLUMNS) - extra == own


def test_an_archive_alone_makes_the_row(engine: Engine, hand_in: HandIn) -> None:
    hand_in.archive([archive_row(5, START, description="windy", total_steps=12, private_note="knee hurts")])
    stored = row(engine, 5)
    assert (stored.name, stored.description, stored.sport_type) == ("Archived ride", "windy", "Ride")
    assert (stored.distance, stored.elapsed_time, stored.start_date) == (18000.0, 3600, START)
    assert (stored.visibility, stored.private) == ("only_me", True)
    assert (stored.told_by_api, stored.archive_taken_at, stored.file_taken_at) == (False, TAKEN, None)
    assert (stored.fetched_at, stored.resource_state) == (TAKEN, 2)
    (figures,) = rows(engine, archive_figures)
    assert (figures.total_steps, figures.sport_word, figures.taken_at) == (12, "Ride", TAKEN)


def test_the_api_wins_for_what_it_has_and_the_archive_fills_the_rest(engine: Engine, hand_in: HandIn) -> None:
    told = archive_row(5, START, description="windy", calories_kcal=500.0)
    hand_in.archive([told])
    list_month(engine, body_of(5, name="Renamed", visibility="everyone", private=False))
    stored = row(engine, 5)
    assert (stored.name, stored.visibility, stored.private) == ("Renamed", "everyone", False)
    assert (stored.description, stored.calories) == ("windy", 500.0)
    assert (stored.told_by_api, stored.archive_taken_at, stored.fetched_at) == (True, TAKEN, ASKED)
    before = rows(engine, activities)
    # The other way round ends in the same row.
    with engine.begin() as connection:
        delete_for_good(connection, RIDER, [5])
    list_month(engine, body_of(5, name="Renamed", visibility="everyone", private=False))
    hand_in.archive([told], content="again")
    assert rows(engine, activities) == before


def test_an_answer_from_before_the_archive_gets_in(engine: Engine, hand_in: HandIn) -> None:
    hand_in.archive([archive_row(5, START)], taken_at=ASKED + timedelta(days=3))
    list_month(engine, body_of(5, name="By the API"))
    assert row(engine, 5).name == "By the API"
    detail(engine, body_of(5, name="In detail"), ASKED + timedelta(hours=1))
    assert (row(engine, 5).name, row(engine, 5).resource_state) == ("In detail", 3)


def test_the_newest_archive_counts_however_they_come(engine: Engine, hand_in: HandIn) -> None:
    newer = [archive_row(5, START, name="Newer", description=None)]
    older = [archive_row(5, START, name="Older", description="gone since")]
    first = hand_in.archive(newer, TAKEN)
    second = hand_in.archive(older, TAKEN - timedelta(days=100))
    assert (row(engine, 5).name, row(engine, 5).description) == ("Newer", None)
    undo_import(engine, first)
    assert (row(engine, 5).name, row(engine, 5).description) == ("Older", "gone since")
    assert undo_import(engine, second).deleted == 1
    assert count(engine, activities) == count(engine, archive_rows) == count(engine, archive_figures) == 0


def test_what_was_handed_in_stays_when_a_listing_lacks_it(engine: Engine, hand_in: HandIn) -> None:
    hand_in.archive([archive_row(5, START)])
    _, merged = hand_in.file(b"own", made_recording(later(START, 86400)))
    list_month(engine, body_of(6, later(START, 7200)))
    assert list_month(engine, asked_at=ASKED + timedelta(hours=1), unlisted=Unlisted.REFUSE_MANY) == 1
    assert {stored.id for stored in rows(engine, activities)} == {5, *merged.activity_ids}
    with engine.connect() as connection:
        assert activity_store.count_missing(connection, JUNE, (), ASKED + timedelta(days=1)).stored == 0
    list_month(engine, body_of(5), asked_at=ASKED + timedelta(hours=2))
    assert list_month(engine, asked_at=ASKED + timedelta(hours=3)) == 0
    assert row(engine, 5).told_by_api


def test_a_deleted_activity_stays_deleted_whatever_archive_comes(engine: Engine, hand_in: HandIn) -> None:
    named = [(5, b"ride", made_recording(START))]
    hand_in.archive([archive_row(5, START)], files=named)
    hand_in.read([5])
    with engine.begin() as connection:
        delete_for_good(connection, RIDER, [5])
        add_tombstones(connection, RIDER, [5], ASKED, "deleted at Strava")
    tables = (activities, archive_rows, archive_files, recording_bytes, recordings, recording_channels)
    assert [count(engine, table) for table in (*tables, activity_streams, laps)] == [0] * 8
    number = hand_in.archive([archive_row(5, START), archive_row(6, later(START, 9000))], files=named, content="old")
    assert [stored.id for stored in rows(engine, activities)] == [6]
    assert count(engine, recording_bytes) == count(engine, archive_files) == 0
    assert undo_import(engine, number).deleted == 1


def test_what_a_listing_left_out_comes_back_with_an_archive(engine: Engine, hand_in: HandIn) -> None:
    list_month(engine, body_of(5))
    assert list_month(engine, asked_at=ASKED + timedelta(hours=1)) == 1
    hand_in.archive([archive_row(5, START)])
    assert not row(engine, 5).told_by_api


def test_another_athletes_activity_refuses_all_rows(engine: Engine, hand_in: HandIn) -> None:
    hand_in.archive([archive_row(5, START)])
    other = HandIn(engine, athlete_id=RIDER + 1)
    with pytest.raises(ActivityOfAnother, match=f"activity 5 belongs to another athlete than {RIDER + 1}"):
        other.archive([archive_row(4, START), archive_row(5, START)])
    assert {stored.athlete_id for stored in rows(engine, archive_rows)} == {RIDER}


def test_nothing_is_merged_for_who_has_disconnected(engine: Engine, hand_in: HandIn) -> None:
    number = hand_in.archive([archive_row(5, START)])
    with engine.begin() as connection:
        connection.execute(update(users).values(state=GrantState.REVOKED))
    with pytest.raises(NeedsReauthorization):
        undo_import(engine, number)


class TestFiles:
    def test_a_file_of_its_own_has_a_negative_id(self, engine: Engine, hand_in: HandIn) -> None:
        _, merged = hand_in.file(b"own", made_recording(START, local_offset_s=7200))
        own = -recording_id(b"own")
        assert merged.activity_ids == {own}
        stored = row(engine, own)
        assert (stored.name, stored.sport_type, stored.distance, stored.elapsed_time) == ("Ride", "Ride", 18000.0, 3600)
        assert (stored.utc_offset, stored.start_date_local) == (7200, datetime(2025, 6, 3, 10))  # noqa: DTZ001  wall time
        assert (stored.offset_assumed, stored.file_taken_at, stored.told_by_api) == (None, TAKEN, False)
        assert hand_in.read([own]) == 1
        (samples,) = rows(engine, activity_streams)
        assert (samples.source, samples.recording_id, samples.point_count) == ("file", recording_id(b"own"), 361)
        assert samples.stream_sources["time"] == "recorded"
        assert [lap.id for lap in rows(engine, laps)] == [-2, -1]
        (channel,) = rows(engine, recording_channels)
        assert (channel.name, channel.unit, len(channel.values)) == ("stance_time", "ms", 361)
        assert hand_in.read([own]) == 0

    @pytest.mark.parametrize("by", ["listing", "archive"])
    def test_it_becomes_stravas_once_that_tells_the_ride(self, engine: Engine, hand_in: HandIn, by: str) -> None:
        hand_in.file(b"own", made_recording(later(START, 20)))
        own = -recording_id(b"own")
        hand_in.read([own])
        if by == "listing":
            list_month(engine, body_of(5, total_elevation_gain=None))
        else:
            hand_in.archive([archive_row(5, START)])
        assert [stored.id for stored in rows(engine, activities)] == [5]
        assert count(engine, activity_streams) == count(engine, recordings) == count(engine, laps) == 0
        assert hand_in.read([5]) == 1
        assert {rows(engine, table)[0].activity_id for table in (activity_streams, recordings, laps)} == {5}

    def test_it_is_stravas_at_once_if_the_ride_is_known(self, engine: Engine, hand_in: HandIn) -> None:
        list_month(engine, body_of(5))
        number, merged = hand_in.file(b"own", made_recording(START))
        assert merged.activity_ids == {5}
        hand_in.read([5])
        undo_import(engine, number)
        stored = row(engine, 5)
        assert (stored.file_taken_at, stored.told_by_api) == (None, True)
        assert count(engine, activity_streams) == count(engine, recordings) == count(engine, recording_bytes) == 0

    def test_doubt_is_told_and_ends_when_its_cause_does(self, engine: Engine, hand_in: HandIn) -> None:
        list_month(engine, body_of(5, distance=9000.0))
        _, merged = hand_in.file(b"own", made_recording(START))
        assert merged.activity_ids == {-recording_id(b"own")}
        assert rows(engine, archive_files)[0].doubt == "it lasts as long as activity 5, but has another distance"
        list_month(engine, body_of(5, distance=18100.0), asked_at=ASKED + timedelta(hours=1))
        assert [stored.id for stored in rows(engine, activities)] == [5]
        assert rows(engine, archive_files)[0].doubt is None

    def test_two_that_are_equally_near_are_a_doubt(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.file(b"own", made_recording(START))
        list_month(engine, body_of(5, later(START, 60)), body_of(6, later(START, -60)))
        assert rows(engine, archive_files)[0].doubt == "it is equally like activities 5, 6"
        assert count(engine, activities) == 3
        # One of them goes: no doubt is left.
        list_month(engine, body_of(6, later(START, -60)), asked_at=ASKED + timedelta(hours=1))
        assert [stored.id for stored in rows(engine, activities)] == [6]

    def test_samples_of_the_api_win(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])
        list_month(engine, body_of(5))
        assert hand_in.read([5]) == 1
        assert not api_streams(engine, 5, {})
        assert rows(engine, activity_streams)[0].source == "file"
        assert api_streams(engine, 5)
        (samples,) = rows(engine, activity_streams)
        assert (samples.source, samples.recording_id, samples.stream_sources) == ("api", None, None)
        assert [stored.is_used for stored in rows(engine, recordings)] == [False]
        assert count(engine, recording_channels) == 1
        assert hand_in.read([5]) == 0

    def test_a_crop_makes_the_file_be_read_again(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])
        hand_in.read([5])
        cropped = archive_row(5, later(START, 600), elapsed_s=1200.0, distance_m=6000.0)
        hand_in.archive([cropped], TAKEN + timedelta(days=1))
        assert count(engine, activity_streams) == 0
        assert hand_in.read([5]) == 1
        (samples,) = rows(engine, activity_streams)
        assert (samples.point_count, samples.time[0], samples.distance[-1]) == (121, 0, 6000.0)
        assert rows(engine, recordings)[0].is_cropped

    def test_a_detail_replaces_the_laps_of_a_file(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])
        hand_in.read([5])
        assert [lap.id for lap in rows(engine, laps)] == [-2, -1]
        detail(engine, body_of(5))
        assert all(lap.id > 0 for lap in rows(engine, laps))

    def test_nothing_is_asked_while_a_file_waits_to_be_read(self, engine: Engine, hand_in: HandIn) -> None:
        list_month(engine, body_of(5), body_of(6, later(START, 7200)))
        hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])

        def lacking() -> list[int]:
            with engine.connect() as connection:
                return [activity_id for activity_id, _ in outdated.without_streams(connection, JUNE)]

        assert lacking() == [6]
        hand_in.read([5])
        assert lacking() == [6]

    def test_a_file_that_two_rows_share_records_both(self, engine: Engine, hand_in: HandIn) -> None:
        recording = made_recording(START, seconds=7200)
        told = [archive_row(5, START), archive_row(6, later(START, 3600))]
        number = hand_in.archive(told, files=[(5, b"both", recording)])
        assert number
        assert rows(engine, archive_files)[0].activity_id == 5


class TestDetails:
    def test_an_archives_row_needs_no_detail_unless_asked_for(self, engine: Engine, hand_in: HandIn) -> None:
        list_month(engine, body_of(5), body_of(6, later(START, 7200)))
        hand_in.archive([archive_row(5, START)])
        with engine.connect() as connection:
            lacking = outdated.without_current_detail(connection, JUNE)
            asked_for = outdated.without_current_detail(connection, JUNE, archive_details=True)
        assert [activity_id for activity_id, _ in lacking] == [6]
        assert [activity_id for activity_id, _ in asked_for] == [6, 5]


class TestRetention:
    def test_only_what_the_api_told_goes(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START, name="Archived")], files=[(5, b"ride", made_recording(START))])
        list_month(engine, body_of(5, name="Listed"), body_of(6, later(START, 7200)))
        detail(engine, body_of(5, name="Listed"))
        api_streams(engine, 5)
        hand_in.read([5])
        removed = remove_activities_before(engine, JUNE.end)
        assert (removed["strava.activities"], removed["ops.payloads"]) == (1, 3)
        assert (row(engine, 5).name, row(engine, 5).told_by_api) == ("Archived", False)
        assert count(engine, payloads) == count(engine, activity_streams) == 0
        assert [lap.id for lap in rows(engine, laps)] == [-2, -1]
        hand_in.read([5])
        assert rows(engine, activity_streams)[0].source == "file"
        assert remove_activities_before(engine, JUNE.end) == {}

    def test_a_setting_extends_it_to_what_was_handed_in(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START)], files=[(5, b"ride", made_recording(START))])
        hand_in.file(b"own", made_recording(later(START, 86400)))
        remove_activities_before(engine, JUNE.end, handed_in=True)
        assert count(engine, activities) == count(engine, archive_rows) == count(engine, recording_bytes) == 0


class TestLocalTimes:
    def test_the_nearest_known_offset_is_assumed_until_it_is_told(self, engine: Engine, hand_in: HandIn) -> None:
        hand_in.archive([archive_row(5, START), archive_row(6, later(START, 86400))])
        assert (row(engine, 5).utc_offset, row(engine, 5).offset_assumed) == (None, True)
        list_month(engine, body_of(7, later(START, 7200), utc_offset=7200, start_date_local="2025-06-03T12:00:00Z"))
        assert [row(engine, each).utc_offset for each in (5, 6)] == [7200, 7200]
        assert row(engine, 5).start_date_local == datetime(2025, 6, 3, 10)  # noqa: DTZ001  wall time
        list_month(
            engine,
            body_of(7, later(START, 7200), utc_offset=7200, start_date_local="2025-06-03T12:00:00Z"),
            body_of(6, later(START, 86400), utc_offset=-3600, start_date_local="2025-06-04T07:00:00Z"),
            asked_at=ASKED + timedelta(hours=1),
        )
        assert [(row(engine, each).utc_offset, row(engine, each).offset_assumed) for each in (5, 6)] == [
            (7200, True),
            (-3600, None),
        ]

    def test_without_any_the_imports_zone_counts(self, engine: Engine, hand_in: HandIn) -> None:
        number = hand_in.archive([archive_row(5, START)], options={"timezone": "Europe/Berlin"})
        hand_in.archive([archive_row(6, START.replace(month=1))])
        assert [row(engine, each).utc_offset for each in (5, 6)] == [7200, 3600]
        undo_import(engine, number)
        assert row(engine, 6).utc_offset is None


class TestWords:
    def test_words_are_learned_from_what_the_api_tells(self, engine: Engine, hand_in: HandIn) -> None:
        unknown: dict[str, Any] = {"sport_word": "Corsetta", "sport": None}
        hand_in.archive([archive_row(5, START, **unknown), archive_row(6, later(START, 86400), **unknown)])
        assert [row(engine, each).sport_type for each in (5, 6)] == ["Workout", "Workout"]
        list_month(engine, body_of(5, sport_type="TrailRun", type="Run"))
        assert [row(engine, each).sport_type for each in (5, 6)] == ["TrailRun", "TrailRun"]
        assert row(engine, 6).type == "Run"
        with engine.begin() as connection:
            delete_for_good(connection, RIDER, [5])
        assert row(engine, 6).sport_type == "Workout"

    def test_a_file_tells_the_sport_of_an_unknown_word(self, engine: Engine, hand_in: HandIn) -> None:
        told = archive_row(5, START, sport_word="Corsetta", sport=None)
        hand_in.archive([told], files=[(5, b"ride", made_recording(START, sport="Run", kind=FileKind.FIT))])
        assert row(engine, 5).sport_type == "Run"


def test_an_undo_goes_on_where_it_died(engine: Engine, hand_in: HandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    number = hand_in.archive([archive_row(each, later(START, 4000 * each)) for each in range(1, 6)])
    left = iter([True, True])

    def dies(*args: Any) -> Merged:
        if not next(left, False):
            raise KeyboardInterrupt
        return merge_handed_in(*args)

    monkeypatch.setattr(undo, "merge_handed_in", dies)
    with pytest.raises(KeyboardInterrupt):
        undo_import(engine, number, batch=2)
    assert count(engine, activities) == 1
    monkeypatch.undo()
    assert undo_import(engine, number).deleted == 1
    assert undo_import(engine, number).deleted == 0
    assert count(engine, archive_rows) == 0
