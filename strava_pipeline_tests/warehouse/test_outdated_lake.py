"""Files of the lake are marked with the change that outdates them, whoever makes it and whenever it comes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import WarehouseError
from strava_pipeline.months import Span, month_span, month_text
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse import lake
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.activities.lake_months import BEGUN, note_in_lake, outdated_months, outdated_since
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.failed_months import note_failed
from strava_pipeline.warehouse.lake import write_month
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import GrantState, ImportStep
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import LONG_AGO, bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, stream_body
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

MAY, JUNE, JULY = (month_span(RIDER, datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 6, 7))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


@pytest.fixture
def strava(engine: Engine, url: str) -> StravaStandIn:
    """Two rides in June and one in July, stored and in the lake."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, start in ((1, JUNE.start), (2, JUNE.start), (3, JULY.start)):
        strava.add(number, start + timedelta(days=number))
        bring_up_to_date(strava.sync(engine), RIDER, number)
    for month in (JUNE, JULY):
        write_month(engine, url, month)
    assert outdated(engine) == []
    return strava


def outdated(engine: Engine) -> list[Span]:
    with engine.connect() as connection:
        return outdated_months(connection, is_set=False)


def in_lake(url: str) -> set[int]:
    """The activities in the lake."""
    source = f"read_parquet('{url}/*/*/*.parquet', hive_partitioning = true)"
    return {row[0] for row in duckdb.execute(f"SELECT DISTINCT activity_id FROM {source}").fetchall()}  # noqa: S608  a path of this test


def in_month(url: str, month: Span) -> set[int]:
    """The activities in a month's file."""
    source = f"read_parquet('{url}/*/month={month_text(month.start)}/*.parquet')"
    return {row[0] for row in duckdb.execute(f"SELECT DISTINCT activity_id FROM {source}").fetchall()}  # noqa: S608  a path of this test


def listing(strava: StravaStandIn, engine: Engine, *months: Span) -> None:
    assert all(isinstance(result, SpanResult) for result in import_summaries(strava.sync(engine), months))


def delete(strava: StravaStandIn, engine: Engine, number: int) -> None:
    strava.delete(number)
    bring_up_to_date(strava.sync(engine), RIDER, number, "delete")


def test_samples_that_are_stored_while_a_first_file_is_begun_come_into_it(engine: Engine, url: str) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in (1, 2):
        strava.add(number, JUNE.start + timedelta(days=number))
        bring_up_to_date(strava.sync(engine), RIDER, number)
    with ThreadPoolExecutor() as pool:
        with engine.begin() as storing:
            store_streams(storing, map_streams(RIDER, 2, stream_body(samples=9)), now(storing))
            writing = pool.submit(write_month, engine, url, JUNE)
            wait_for_a_lock(engine, 1)
        assert writing.result(PATIENCE_SECONDS).points == 4 + 9
    assert outdated(engine) == []


def test_a_deletion_marks_its_month_and_the_next_write_takes_the_samples_out(
    strava: StravaStandIn, engine: Engine, url: str
) -> None:
    delete(strava, engine, 1)
    assert outdated(engine) == [JUNE]
    assert 1 in in_lake(url)
    assert write_month(engine, url, JUNE).written
    assert outdated(engine) == []
    assert in_lake(url) == {2, 3}


def test_a_month_whose_last_activity_goes_is_marked_and_loses_its_file(
    strava: StravaStandIn, engine: Engine, url: str
) -> None:
    delete(strava, engine, 3)
    assert outdated(engine) == [JULY]
    assert write_month(engine, url, JULY).points == 0
    assert outdated(engine) == []
    assert [path.name for path in (Path(url) / f"athlete_id={RIDER}").iterdir()] == ["month=2025-06"]


def test_what_a_listing_lacks_marks_its_month(strava: StravaStandIn, engine: Engine) -> None:
    strava.delete(2)
    listing(strava, engine, JULY, JUNE)
    assert outdated(engine) == [JUNE]


def test_a_crop_marks_its_month_once_the_old_samples_go_and_again_when_the_new_ones_come(
    strava: StravaStandIn, engine: Engine, url: str
) -> None:
    strava.edit(1, elapsed_time=2)
    strava.streams[1] = stream_body(samples=2)
    listing(strava, engine, JUNE)
    assert outdated(engine) == [JUNE]
    write_month(engine, url, JUNE)
    assert in_lake(url) == {2, 3}
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    assert outdated(engine) == [JUNE]
    write_month(engine, url, JUNE)
    assert in_lake(url) == {1, 2, 3}


def test_an_activity_that_moves_to_another_month_marks_both(strava: StravaStandIn, engine: Engine, url: str) -> None:
    moved = (JULY.start + timedelta(days=9)).isoformat().replace("+00:00", "Z")
    strava.edit(1, start_date=moved, start_date_local=moved)
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    assert sorted(span.start for span in outdated(engine)) == [JUNE.start, JULY.start]
    for month in outdated(engine):
        write_month(engine, url, month)
    with engine.connect() as connection:
        assert activity_store.activity_start(connection, RIDER, 1) == JULY.start + timedelta(days=9)
    assert in_lake(url) == {1, 2, 3}


def test_a_re_map_that_moves_an_activity_marks_both_months(strava: StravaStandIn, engine: Engine, url: str) -> None:
    assert strava.activities
    with engine.begin() as connection:
        # As if an earlier version had read its start wrongly, and written it into July's file.
        connection.execute(update(activities).where(activities.c.id == 1).values(start_date=JULY.start))
    for month in (JUNE, JULY):
        write_month(engine, url, month)
    assert sum(batch.rebuilt for batch in remap(engine, before=datetime.now(UTC))) == 3
    assert sorted(span.start for span in outdated(engine)) == [JUNE.start, JULY.start]
    for month in outdated(engine):
        write_month(engine, url, month)
    assert in_month(url, JUNE) == {1, 2}
    assert in_month(url, JULY) == {3}


def test_a_re_map_that_moves_nothing_marks_no_month(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    assert sum(batch.rebuilt for batch in remap(engine, before=datetime.now(UTC))) == 3
    assert outdated(engine) == []


def test_a_new_ride_marks_its_month_and_an_edit_of_the_name_does_not(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, name="another name")
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    assert outdated(engine) == []
    strava.add(4, JUNE.start + timedelta(days=4))
    bring_up_to_date(strava.sync(engine), RIDER, 4)
    assert outdated(engine) == [JUNE]


def test_a_month_without_a_file_is_marked_by_its_first_ride(strava: StravaStandIn, engine: Engine, url: str) -> None:
    strava.add(5, MAY.start + timedelta(days=5))
    bring_up_to_date(strava.sync(engine), RIDER, 5)
    assert outdated(engine) == [MAY]
    write_month(engine, url, MAY)
    assert outdated(engine) == []
    assert in_lake(url) == {1, 2, 3, 5}


def test_who_asked_for_no_lake_gets_none_and_who_asks_later_gets_all_of_it(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, month in ((1, JUNE), (2, JULY)):
        strava.add(number, month.start + timedelta(days=number))
        bring_up_to_date(strava.sync(engine), RIDER, number)
    assert outdated(engine) == []
    with engine.connect() as connection:
        assert sorted(span.start for span in outdated_months(connection, is_set=True)) == [JUNE.start, JULY.start]


def test_one_month_that_was_begun_asks_for_the_lake(engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer dies after the file was written: what is deleted later must leave that file."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.add(1, JUNE.start + timedelta(days=1))
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    with monkeypatch.context() as dying:
        dying.setattr(lake, "_month_file", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(WarehouseError, match="gone"):
            write_month(engine, url, JUNE)
    delete(strava, engine, 1)
    assert outdated(engine) == [JUNE]
    with engine.connect() as connection:
        assert connection.execute(select(import_months.c.lake_at)).scalar_one() == BEGUN


def test_what_is_older_than_it_may_be_kept_marks_its_month(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    remove_activities_before(engine, JULY.start)
    assert outdated(engine) == [JUNE]


def test_a_change_after_the_file_was_read_stays_marked(
    strava: StravaStandIn, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the writer has compared file and tables, before it notes that they are equal."""
    real = lake._month_file

    def late(*args: Any, **more: Any) -> Any:
        if 1 in strava.activities:
            delete(strava, engine, 1)
        return real(*args, **more)

    delete(strava, engine, 2)
    monkeypatch.setattr(lake, "_month_file", late)
    write_month(engine, url, JUNE)
    assert in_lake(url) == {1, 3}
    assert outdated(engine) == [JUNE]
    write_month(engine, url, JUNE)
    assert outdated(engine) == []
    assert in_lake(url) == {3}


def test_a_change_during_the_first_write_of_a_month_stays_marked(
    strava: StravaStandIn, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava.add(5, MAY.start + timedelta(days=5))
    bring_up_to_date(strava.sync(engine), RIDER, 5)
    real = lake._month_file

    def late(*args: Any, **more: Any) -> Any:
        if 5 in strava.activities:
            delete(strava, engine, 5)
        return real(*args, **more)

    monkeypatch.setattr(lake, "_month_file", late)
    write_month(engine, url, MAY)
    assert 5 in in_lake(url)
    assert outdated(engine) == [MAY]
    write_month(engine, url, MAY)
    assert 5 not in in_lake(url)


def test_a_writer_that_dies_before_it_notes_the_file_leaves_it_marked(
    strava: StravaStandIn, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava.add(5, MAY.start + timedelta(days=5))
    bring_up_to_date(strava.sync(engine), RIDER, 5)
    with monkeypatch.context() as dying:
        dying.setattr(lake, "_month_file", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        with pytest.raises(WarehouseError, match="gone"):
            write_month(engine, url, MAY)
    assert 5 in in_lake(url)
    assert outdated(engine) == [MAY]
    assert not write_month(engine, url, MAY).written
    assert outdated(engine) == []


@pytest.mark.usefixtures("strava")
def test_a_late_writer_takes_no_newer_mark_away(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(import_months).values(lake_outdated_at=LONG_AGO))
        read = outdated_since(connection, JUNE)
        connection.execute(update(import_months).values(lake_outdated_at=now(connection)))
        note_in_lake(connection, JUNE, now(connection), read)
        assert read == LONG_AGO
        assert outdated_since(connection, JUNE) is not None
        note_in_lake(connection, JUNE, now(connection), outdated_since(connection, JUNE))
        assert outdated_since(connection, JUNE) is None


@pytest.mark.usefixtures("strava")
def test_the_last_mark_comes_first_and_failed_months_wait_for_their_time(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(import_months).values(lake_outdated_at=LONG_AGO))
        june = import_months.c.month == JUNE.start.date()
        connection.execute(update(import_months).where(june).values(lake_outdated_at=LONG_AGO + timedelta(1)))
    assert outdated(engine) == [JUNE, JULY]
    with engine.begin() as connection:
        assert outdated_months(connection, is_set=False, limit=1) == [JUNE]
        note_failed(connection, JULY, ImportStep.LAKE, "no space left")
        note_failed(connection, JUNE, ImportStep.DETAIL, "odd")
    assert outdated(engine) == [JUNE]
    with engine.begin() as connection:
        connection.execute(update(failed_months).values(retry_at=LONG_AGO))
    assert outdated(engine) == [JUNE, JULY]


@pytest.mark.usefixtures("strava")
def test_of_an_athlete_who_left_nothing_is_written_or_noted(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(import_months).values(lake_outdated_at=LONG_AGO))
        connection.execute(update(users).values(state=GrantState.REVOKED))
        before = connection.execute(select(import_months).order_by(import_months.c.month)).all()
    assert outdated(engine) == []
    write_month(engine, url, JUNE)
    write_month(engine, url, MAY)
    with engine.connect() as connection:
        assert connection.execute(select(import_months).order_by(import_months.c.month)).all() == before
