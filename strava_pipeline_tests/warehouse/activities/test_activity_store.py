"""Activities: a month becomes what Strava lists, and whatever hangs on an activity goes with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, select, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import detail_rows, digest, summary_row
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.warehouse.activities import activity_store as store
from strava_pipeline.warehouse.activities import outdated
from strava_pipeline.warehouse.activities.activity_store import Payload, Unlisted
from strava_pipeline.warehouse.activities.deletion import DEPENDENT_TABLES, delete_activities
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine
from strava_pipeline.warehouse.activities.stream_store import load_streams, store_streams
from strava_pipeline.warehouse.analysis.analyses import AnalysisRows, not_analysed, store_analysis
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, laps, metadata
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline_tests.strava_stand_in import RIDER, activity_body, stream_body

NUMBERED: list[dict[str, Any]] = [{"number": 1}]
ANALYSIS = AnalysisRows(
    figures={"point_count": 4, "distance_m": 15.0},
    climbs=NUMBERED,
    descents=NUMBERED,
    stops=NUMBERED,
    power_curve=[{"duration_s": 5}],
    distance_efforts=[{"distance_m": 400.0}],
    computed_splits=[{"unit": "metric", "split": 1}],
    zone_times=[{"kind": "power", "zone": 1}],
    route_matches=[{"route_id": 1, "reversed": False}],
)
JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
JULY = Span(RIDER, datetime(2025, 7, 1, tzinfo=UTC), datetime(2025, 8, 1, tzinfo=UTC))
ASKED = datetime(2025, 9, 1, tzinfo=UTC)
Body = dict[str, Any]


def on(day: int, month: int = 6) -> datetime:
    return datetime(2025, month, day, 8, tzinfo=UTC)


def replace_month(
    engine: Engine,
    bodies: list[Body],
    asked_at: datetime = ASKED,
    span: Span = JUNE,
    *,
    listed: set[int] | None = None,
    unlisted: Unlisted = Unlisted.REFUSE_MANY,
) -> int:
    with engine.begin() as connection:
        return store.replace_span(
            connection,
            span,
            [summary_row(RIDER, body) for body in bodies],
            [Payload(body["id"], RIDER, body, digest(body)) for body in bodies],
            listed=listed or {body["id"] for body in bodies},
            asked_at=asked_at,
            unlisted=unlisted,
        ).deleted


def store_whole(engine: Engine, body: Body, asked_at: datetime = ASKED) -> bool:
    """An activity with everything that can hang on it."""
    number = body["id"]
    payload = Payload(number, RIDER, body, digest(body))
    with engine.begin() as connection:
        stored = store.store_detail(connection, detail_rows(RIDER, body), payload, asked_at) is not None
        store_streams(connection, map_streams(RIDER, number, stream_body()), asked_at)
        streams = load_streams(connection, number)
        assert streams is not None
        store_analysis(connection, streams, ANALYSIS)
    return stored


def ids(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(select(activities.c.id)).scalars())


def count(engine: Engine, table: Table, number: int) -> int:
    with engine.connect() as connection:
        query = select(func.count()).select_from(table).where(table.c.activity_id == number)
        return connection.execute(query).scalar_one()


def column(engine: Engine, name: str, number: int) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(activities.c[name]).where(activities.c.id == number)).scalar_one()


def test_a_month_becomes_what_is_listed(engine: Engine) -> None:
    assert replace_month(engine, [activity_body(1, on(1)), activity_body(2, on(2))]) == 0
    edited = activity_body(2, on(2), name="renamed")
    late_upload = activity_body(3, on(3))
    assert replace_month(engine, [edited, late_upload], ASKED + timedelta(hours=1)) == 1
    assert ids(engine) == {2, 3}
    assert column(engine, "name", 2) == "renamed"


def test_other_months_and_other_athletes_are_left_alone(engine: Engine) -> None:
    replace_month(engine, [activity_body(1, on(30))])
    replace_month(engine, [activity_body(2, on(1, month=7))], span=JULY)
    others = Span(2002, JUNE.start, JUNE.end)
    with engine.begin() as connection:
        row = summary_row(2002, activity_body(3, on(5)))
        store.replace_span(connection, others, [row], [], listed={3}, asked_at=ASKED, unlisted=Unlisted.REFUSE_MANY)
    assert replace_month(engine, [], ASKED + timedelta(hours=1)) == 1
    assert ids(engine) == {2, 3}


def test_a_month_ends_where_the_next_begins(engine: Engine) -> None:
    first = activity_body(1, JULY.start)
    last = activity_body(2, JULY.start - timedelta(seconds=1))
    replace_month(engine, [last])
    replace_month(engine, [first], span=JULY)
    assert replace_month(engine, [], ASKED + timedelta(hours=1)) == 1
    assert ids(engine) == {1}


def test_a_plan_made_for_an_empty_table_is_not_kept_for_a_full_one(engine: Engine) -> None:
    bodies = [activity_body(number, on(1)) for number in range(1, 4)]
    rows = [summary_row(RIDER, body) for body in bodies]
    with engine.connect() as connection:
        with connection.begin():
            store.replace_span(
                connection, JUNE, rows, [], listed={1, 2, 3}, asked_at=ASKED, unlisted=Unlisted.REFUSE_MANY
            )
            assert connection.execute(text("SHOW plan_cache_mode")).scalar() == "force_custom_plan"
        assert connection.execute(text("SHOW plan_cache_mode")).scalar() == "auto"


def test_an_activity_that_moved_to_another_month_is_kept_once(engine: Engine) -> None:
    replace_month(engine, [activity_body(1, on(30))])
    moved = activity_body(1, on(1, month=7))
    later = ASKED + timedelta(hours=1)
    assert replace_month(engine, [], later, JUNE, listed={1}) == 0
    assert replace_month(engine, [moved], later, JULY) == 0
    assert column(engine, "start_date", 1) == on(1, month=7)


def test_what_was_stored_after_the_listing_was_asked_for_stays(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1), name="newer"), ASKED + timedelta(seconds=1))
    assert replace_month(engine, [activity_body(1, on(1), name="older")]) == 0
    assert replace_month(engine, [], ASKED) == 0
    assert column(engine, "name", 1) == "newer"
    assert count(engine, activity_streams, 1) == 1


def test_a_summary_keeps_what_only_the_detail_tells(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    replace_month(engine, [activity_body(1, on(1), name="renamed")], ASKED + timedelta(hours=1))
    assert column(engine, "name", 1) == "renamed"
    assert column(engine, "description", 1) == "a note"
    assert column(engine, "resource_state", 1) == 3
    assert count(engine, laps, 1) == 2


def test_an_older_detail_changes_nothing(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1), name="newer"))
    older = activity_body(1, on(1), name="older", laps=[])
    with engine.begin() as connection:
        payload = Payload(1, RIDER, older, digest(older))
        assert not store.store_detail(connection, detail_rows(RIDER, older), payload, ASKED - timedelta(hours=1))
    assert column(engine, "name", 1) == "newer"
    assert count(engine, laps, 1) == 2


HANDED_IN = ("archive_", "recording")


def test_everything_that_hangs_on_an_activity_is_deleted_with_it(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    store_whole(engine, activity_body(2, on(2)))
    with engine.begin() as connection:
        add_to_quarantine(connection, JUNE, ImportStep.DETAIL, {1: "odd", 2: "odd"})
    # That it is gone, and that its mail was sent, is remembered for a while.
    outliving = {tombstones, notifications}
    hanging = [table for table in metadata.tables.values() if "activity_id" in table.c and table not in outliving]
    # A table added later must not be forgotten when an activity goes.
    assert set(hanging) == set(DEPENDENT_TABLES)
    # Whatever was handed in stays when a listing lacks it; see test_merging.py.
    filled = [table for table in hanging if table.name != "best_efforts" and not table.name.startswith(HANDED_IN)]
    assert all(count(engine, table, 1) for table in filled)
    assert replace_month(engine, [activity_body(2, on(2))], ASKED + timedelta(hours=1)) == 1
    assert not any(count(engine, table, 1) for table in hanging)
    assert all(count(engine, table, 2) for table in filled)


def test_deleting_nothing_deletes_nothing(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    with engine.begin() as connection:
        delete_activities(connection, [])
    assert ids(engine) == {1}


@pytest.mark.parametrize(("stored", "still_listed", "refused"), [(10, 4, True), (10, 5, False), (9, 0, False)])
def test_a_listing_that_lost_most_of_a_month_is_refused(
    engine: Engine, stored: int, still_listed: int, refused: bool
) -> None:
    bodies = [activity_body(number, on(number)) for number in range(1, stored + 1)]
    replace_month(engine, bodies)
    later = ASKED + timedelta(hours=1)
    if not refused:
        assert replace_month(engine, bodies[:still_listed], later) == stored - still_listed
        return
    with pytest.raises(WarehouseError, match=r"lists only 4 of 10 of athlete 1001's stored.*allow_mass_delete"):
        replace_month(engine, bodies[:still_listed], later)
    assert replace_month(engine, bodies[:still_listed], later, unlisted=Unlisted.KEEP) == 0
    assert len(ids(engine)) == stored
    assert replace_month(engine, bodies[:still_listed], later, unlisted=Unlisted.DELETE) == stored - still_listed


@pytest.mark.parametrize("change", [{"elapsed_time": 150}, {"start_date": "2025-06-01T08:05:00Z"}])
@pytest.mark.parametrize("by", ["summary", "detail"])
def test_streams_of_a_changed_recording_are_dropped(engine: Engine, change: Body, by: str) -> None:
    store_whole(engine, activity_body(1, on(1)))
    changed = activity_body(1, on(1)) | change
    later = ASKED + timedelta(hours=1)
    if by == "summary":
        replace_month(engine, [changed], later)
    else:
        with engine.begin() as connection:
            payload = Payload(1, RIDER, changed, digest(changed))
            store.store_detail(connection, detail_rows(RIDER, changed), payload, later)
    assert count(engine, activity_streams, 1) == 0
    assert count(engine, route_analyses, 1) == 0


def test_streams_stay_when_only_the_title_changed_or_the_answer_is_old(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    replace_month(engine, [activity_body(1, on(1), name="renamed")], ASKED + timedelta(hours=1))
    replace_month(engine, [activity_body(1, on(1), elapsed_time=1)], ASKED - timedelta(hours=1))
    assert count(engine, activity_streams, 1) == 1


def test_details_wanted_are_missing_or_outdated_ones_newest_first(engine: Engine) -> None:
    store_whole(engine, activity_body(2, on(2)))
    store_whole(engine, activity_body(3, on(3), name="before the edit"))
    replace_month(engine, [activity_body(number, on(number)) for number in range(1, 5)], ASKED + timedelta(minutes=1))
    store_whole(engine, activity_body(4, on(4), name="edited after the listing"), ASKED + timedelta(minutes=2))
    with engine.connect() as connection:
        assert [number for number, _ in outdated.without_current_detail(connection, JUNE)] == [3, 1]
        assert outdated.without_current_detail(connection, JULY) == []


def test_streams_wanted_tell_what_was_entered_by_hand(engine: Engine) -> None:
    bodies = [activity_body(1, on(1), manual=True), activity_body(2, on(2)), activity_body(3, on(3), manual=None)]
    replace_month(engine, bodies)
    store_whole(engine, activity_body(2, on(2)), ASKED + timedelta(minutes=1))
    with engine.connect() as connection:
        assert outdated.without_streams(connection, JUNE) == [(3, False), (1, True)]


def test_an_analysis_of_older_streams_is_wanted_anew(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    with engine.begin() as connection:
        assert not_analysed(connection, JUNE) == []
        store_streams(connection, map_streams(RIDER, 1, stream_body(9)), ASKED + timedelta(hours=1))
        assert not_analysed(connection, JUNE) == [1]


def test_older_streams_do_not_replace_newer_ones(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    with engine.begin() as connection:
        assert not store_streams(connection, map_streams(RIDER, 1, {}), ASKED - timedelta(hours=1))
        streams = load_streams(connection, 1)
    assert streams is not None
    assert streams.point_count == 4


def test_unknown_streams_are_kept_beside_the_known(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    answer = stream_body(2) | {"core_temperature": {"data": [37.1, None]}}
    with engine.begin() as connection:
        store_streams(connection, map_streams(RIDER, 1, answer), ASKED + timedelta(hours=1))
        streams = load_streams(connection, 1)
    assert streams is not None
    assert streams.other == {"core_temperature": [37.1, None]}
    assert streams.latitude == [48.2, 48.2]


def test_streams_and_figures_of_a_deleted_activity_are_not_stored(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    with engine.begin() as connection:
        streams = load_streams(connection, 1)
        assert streams is not None
        delete_activities(connection, [1])
        assert not store_streams(connection, map_streams(RIDER, 1, stream_body()), ASKED)
        store_analysis(connection, streams, AnalysisRows({"point_count": 4}))
    assert count(engine, activity_streams, 1) == 0
    assert count(engine, route_analyses, 1) == 0


def test_raw_answers_are_kept_by_kind_and_the_newest_stays(engine: Engine) -> None:
    body = activity_body(1, on(1))
    replace_month(engine, [body | {"name": "listed"}])
    store_whole(engine, body | {"name": "detailed"})
    replace_month(engine, [body | {"name": "outdated"}], ASKED - timedelta(hours=1))
    with engine.connect() as connection:
        kept = {row.kind: row.body["name"] for row in connection.execute(select(payloads))}
    assert kept == {"summary": "listed", "detail": "detailed"}


def test_the_start_of_an_activity_is_known_while_it_is_stored(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    with engine.connect() as connection:
        assert store.activity_start(connection, RIDER, 1) == on(1)
        assert store.activity_start(connection, RIDER, 2) is None


def test_an_answer_from_before_a_deletion_brings_nothing_back(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    store_whole(engine, activity_body(2, on(2)))
    later = ASKED + timedelta(hours=1)
    assert replace_month(engine, [activity_body(2, on(2))], later) == 1
    with engine.connect() as connection:
        (stone,) = connection.execute(select(tombstones))
    assert (stone.activity_id, stone.athlete_id, stone.asked_at, stone.reason) == (1, RIDER, later, "no longer listed")
    late = activity_body(1, on(1))
    with engine.begin() as connection:
        rows, payload = detail_rows(RIDER, late), Payload(1, RIDER, late, digest(late))
        assert not store.store_detail(connection, rows, payload, later)
    assert replace_month(engine, [activity_body(1, on(1)), activity_body(2, on(2))], ASKED) == 0
    assert ids(engine) == {2}


def test_an_activity_that_is_there_again_is_stored_and_its_tombstone_goes(engine: Engine) -> None:
    store_whole(engine, activity_body(1, on(1)))
    assert replace_month(engine, [], ASKED + timedelta(hours=1), listed={99}) == 1
    assert store_whole(engine, activity_body(1, on(1)), ASKED + timedelta(hours=2))
    assert ids(engine) == {1}
    with engine.connect() as connection:
        assert connection.execute(select(tombstones)).all() == []
