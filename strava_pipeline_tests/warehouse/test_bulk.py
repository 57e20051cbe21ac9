"""Many rows at once: what is newer wins, what is not given is kept, and any value survives the journey."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, delete, select, text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.bulk import FEW, append, replace_parts, store_changed, store_newer, store_under_lock
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, gear, laps, metadata, splits

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
# Each example opens its own transaction on the test's database, which is empty again afterwards.
ON_ONE_DATABASE = hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
storable_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
samples = st.lists(st.none() | st.floats(allow_nan=False, width=64), max_size=20)


def bike(number: str = "b1", **more: Any) -> dict[str, Any]:
    return {"id": number, "athlete_id": 7, "fetched_at": NOON} | more


def test_rows_are_inserted_and_then_updated(engine: Engine) -> None:
    with engine.begin() as connection:
        assert store_newer(connection, gear, [bike("b1", name="old"), bike("b2", name="two")]) == 2
        assert store_newer(connection, gear, [bike("b1", name="new"), bike("b3", name="three")]) == 2
        stored = dict(connection.execute(select(gear.c.id, gear.c.name)).all())
    assert stored == {"b1": "new", "b2": "two", "b3": "three"}


def test_no_rows_write_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        assert store_newer(connection, gear, []) == 0


@ON_ONE_DATABASE
@given(answers=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), min_size=1, max_size=12))
def test_an_older_answer_never_overwrites_a_newer_one(engine: Engine, answers: list[tuple[int, int]]) -> None:
    with engine.begin() as connection:
        for minute, distance in answers:
            row = bike(distance=float(distance), fetched_at=NOON + timedelta(minutes=minute))
            store_newer(connection, gear, [row])
        stored = connection.execute(select(gear.c.distance, gear.c.fetched_at)).one()
        connection.execute(delete(gear))
    newest = max(minute for minute, _ in answers)
    # Of equally old answers the last to arrive stays.
    assert stored.fetched_at == NOON + timedelta(minutes=newest)
    assert stored.distance == [distance for minute, distance in answers if minute == newest][-1]


@pytest.mark.parametrize("write", [store_newer, store_under_lock])
@pytest.mark.parametrize("count", [FEW, 4 * FEW], ids=["few", "many"])
def test_rows_that_are_there_and_new_ones_go_together(engine: Engine, count: int, write: Callable[..., int]) -> None:
    stored = [bike(f"b{number}", name="old", fetched_at=NOON) for number in range(0, count, 2)]
    later, earlier = NOON + timedelta(minutes=1), NOON - timedelta(minutes=1)
    rows = [bike(f"b{number}", name="new", fetched_at=earlier if number % 4 == 0 else later) for number in range(count)]
    with engine.begin() as connection:
        assert write(connection, gear, stored) == len(stored)
        # Every fourth is older than what is stored.
        assert write(connection, gear, rows) == count - len(range(0, count, 4))
        names = dict(connection.execute(select(gear.c.id, gear.c.name)).all())
    assert names == {f"b{number}": "old" if number % 4 == 0 else "new" for number in range(count)}


def test_the_number_written_leaves_out_what_was_too_old(engine: Engine) -> None:
    with engine.begin() as connection:
        store_newer(connection, gear, [bike("b1")])
        late = [bike("b1", fetched_at=NOON - timedelta(seconds=1)), bike("b2", fetched_at=NOON - timedelta(seconds=1))]
        assert store_newer(connection, gear, late) == 1


def test_a_row_that_changes_in_nothing_but_its_stamp_is_not_written(engine: Engine) -> None:
    later = NOON + timedelta(minutes=1)
    with engine.begin() as connection:
        assert store_changed(connection, gear, [bike("b1", name="one"), bike("b2", name="two")]) == 2
        again = [bike("b1", name="one", fetched_at=later), bike("b2", name="2", fetched_at=later)]
        assert store_changed(connection, gear, again) == 1
        stored = {row.id: (row.name, row.fetched_at) for row in connection.execute(select(gear))}
    assert stored == {"b1": ("one", NOON), "b2": ("2", later)}


def test_columns_not_given_and_columns_to_keep_are_kept(engine: Engine) -> None:
    with engine.begin() as connection:
        store_newer(connection, gear, [bike(name="Blue", weight=8.5, retired=False)])
        store_under_lock(connection, gear, [bike(name="Red", retired=True)], keep={"retired"})
        stored = connection.execute(select(gear.c.name, gear.c.weight, gear.c.retired)).one()
    assert tuple(stored) == ("Red", 8.5, False)


def test_of_several_rows_with_one_key_the_last_counts(engine: Engine) -> None:
    with engine.begin() as connection:
        assert store_newer(connection, gear, [bike(name="first"), bike(name="last")]) == 1
        assert connection.execute(select(gear.c.name)).scalar_one() == "last"


@ON_ONE_DATABASE
@given(name=storable_text, altitude=samples, big=st.integers(2**53, 2**63 - 1))
def test_any_value_comes_back_as_it_went_in(engine: Engine, name: str, altitude: list[float | None], big: int) -> None:
    with engine.begin() as connection:
        store_newer(connection, gear, [bike(name=name, athlete_id=big)])
        row = {"activity_id": big, "athlete_id": 7, "point_count": 0, "altitude": altitude, "fetched_at": NOON}
        store_newer(connection, activity_streams, [row])
        assert connection.execute(select(gear.c.name, gear.c.athlete_id)).one() == (name, big)
        assert connection.execute(select(activity_streams.c.altitude)).scalar_one() == altitude
        connection.rollback()


@pytest.mark.parametrize("name", ["\\N", "\\.", "a\tb\nc\r\\", "'; DROP TABLE x; --", "🚴‍♀️ \u202eabc", "", "NULL"])
def test_text_that_copy_could_misread_stays_text(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        store_newer(connection, gear, [bike(name=name, nickname=None)])
        assert connection.execute(select(gear.c.name, gear.c.nickname)).one() == (name, None)


def test_not_a_number_is_kept_apart_from_null(engine: Engine) -> None:
    with engine.begin() as connection:
        store_newer(
            connection, gear, [bike("b1", distance=math.nan), bike("b2", distance=None), bike("b3", distance=math.inf)]
        )
        found = dict(connection.execute(select(gear.c.id, gear.c.distance)).all())
    assert math.isnan(found["b1"])
    assert (found["b2"], found["b3"]) == (None, math.inf)


def test_arrays_may_be_empty_or_absent(engine: Engine) -> None:
    row = {"activity_id": 1, "athlete_id": 7, "point_count": 0, "time": [], "moving": [True, None], "temp": None}
    with engine.begin() as connection:
        store_newer(connection, activity_streams, [row | {"fetched_at": NOON}])
        stored = connection.execute(select(activity_streams)).one()
    assert (stored.time, stored.moving, stored.temp) == ([], [True, None], None)


# Of each type a table has: one value that the binary form could spoil, beside an empty cell.
SAMPLES: dict[str, Any] = {
    "BIGINT": 2**63 - 1,
    "INTEGER": -(2**31),
    "TEXT": "\\N\t🚴",
    "BOOLEAN": True,
    "DOUBLE PRECISION": 0.1 + 0.2,
    "TIMESTAMP WITH TIME ZONE": NOON + timedelta(microseconds=1),
    "TIMESTAMP WITHOUT TIME ZONE": datetime(1969, 12, 31, 23, 59, 59),  # noqa: DTZ001  local wall time
    "DATE": date(1999, 12, 31),
    "JSON": {"a": ["é", None, 1e300]},
    "DOUBLE PRECISION[]": [1.5, -0.0, None],
    "INTEGER[]": [1, 2**31 - 1],
    "BOOLEAN[]": [True, None],
    "TEXT[]": ["a,b", '"'],
}
COPIED = [table for table in metadata.sorted_tables if table.schema == "strava"] + [payloads]


@pytest.mark.parametrize("table", COPIED, ids=lambda table: table.name)
def test_every_column_of_a_copied_table_comes_back_as_it_went_in(engine: Engine, table: Table) -> None:
    kinds = {column.name: column.type.compile(engine.dialect) for column in table.columns}
    full = {name: "file" if (name, kind) == ("source", "TEXT") else SAMPLES[kind] for name, kind in kinds.items()}
    other = dict.fromkeys(kinds) | {
        column.name: SAMPLES["DATE"] - timedelta(days=1) if kinds[column.name] == "DATE" else full[column.name]
        for column in table.columns
        if not column.nullable
    }
    first = next(column.name for column in table.primary_key if kinds[column.name] in {"BIGINT", "TEXT"})
    other[first] = 7 if kinds[first] == "BIGINT" else "other"
    written = [
        {name: json.dumps(value) if kinds[name] == "JSON" else value for name, value in row.items()}
        for row in (full, other)
    ]
    with engine.begin() as connection:
        append(connection, table, written)
        found = {row[first]: dict(row) for row in connection.execute(select(table)).mappings()}
    assert found == {full[first]: full, other[first]: other}


def test_children_become_exactly_the_given_rows(engine: Engine) -> None:
    def lap(number: int, activity: int, name: str) -> dict[str, Any]:
        return {"activity_id": activity, "id": number, "athlete_id": 7, "name": name}

    with engine.begin() as connection:
        replace_parts(connection, 1, {laps: [lap(11, 1, "a"), lap(12, 1, "b")]})
        replace_parts(connection, 2, {laps: [lap(21, 2, "c")]})
        replace_parts(connection, 1, {laps: [lap(12, 1, "b2"), lap(13, 1, "d")]})
        found = connection.execute(select(laps.c.id, laps.c.name).order_by(laps.c.id)).all()
    assert found == [(12, "b2"), (13, "d"), (21, "c")]


@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1])
def test_children_may_be_none_few_or_many(engine: Engine, count: int) -> None:
    rows = [{"activity_id": 1, "id": number, "athlete_id": 7} for number in range(count)]
    with engine.begin() as connection:
        replace_parts(connection, 1, {laps: [{"activity_id": 1, "id": -1, "athlete_id": 7}]})
        replace_parts(connection, 1, {laps: rows})
        assert list(connection.execute(select(laps.c.id).order_by(laps.c.id)).scalars()) == list(range(count))


def test_a_time_limit_within_the_copy_is_database_away(engine: Engine) -> None:
    with engine.connect() as holder, engine.begin() as connection:
        with holder.begin():
            holder.execute(text("LOCK TABLE strava.gear IN EXCLUSIVE MODE"))
            connection.execute(text("SET LOCAL lock_timeout = 20"))
            with pytest.raises(DatabaseUnavailable, match="lock timeout"):
                store_newer(connection, gear, [bike()])
        connection.rollback()


def test_a_time_limit_among_the_children_is_database_away(engine: Engine) -> None:
    with engine.connect() as holder, engine.begin() as connection:
        with holder.begin():
            holder.execute(text("LOCK TABLE strava.laps IN EXCLUSIVE MODE"))
            connection.execute(text("SET LOCAL lock_timeout = 20"))
            with pytest.raises(DatabaseUnavailable, match="lock timeout"):
                replace_parts(connection, 1, {laps: [], splits: []})
        connection.rollback()
    with engine.connect() as connection:
        assert connection.execute(select(1)).scalar_one() == 1


def test_a_connection_that_breaks_within_the_copy_is_database_away(engine: Engine) -> None:
    def store_on_a_broken_connection() -> None:
        with engine.begin() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            store_newer(connection, gear, [bike()])

    with pytest.raises(DatabaseUnavailable):
        store_on_a_broken_connection()
    with engine.connect() as connection:
        assert connection.execute(select(activities)).all() == []
