"""The tables as pandas frames: what an analyst gets, by which login, and what is said where there is nothing to get."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine, insert, text, update

from strava_pipeline import frames
from strava_pipeline.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    UnknownActivity,
    UnknownAthlete,
    WarehouseError,
)
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.migrate import prepare
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.analysis_tables import training_load
from strava_pipeline_tests.moody_server import MoodyServer

RIDER, OTHER, NEWCOMER = 1001, 2**60 + 1, 3003
RIDE, BY_HAND, LISTED, OTHERS = 2**60 + 7, 12, 13, 14
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, 22, 30, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs" / "queries.md"


def activity(number: int, athlete: int, start: datetime, **more: Any) -> dict[str, Any]:
    given = {"resource_state": 2, "name": "Ünï 🚴", "type": "Ride", "sport_type": "Ride", "fetched_at": ASKED}
    at = {"start_date": start, "start_date_local": start.replace(tzinfo=None) + timedelta(hours=2)}
    return {"id": number, "athlete_id": athlete, **given, **at, **more}


@pytest.fixture
def stored(engine: Engine) -> Engine:
    """Two athletes with activities, and one without."""
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER, NEWCOMER):
            connection.execute(insert(tables.athletes).values(id=athlete, fetched_at=ASKED))
        for row in (
            activity(LISTED, RIDER, JUNE + timedelta(days=2)),
            activity(RIDE, RIDER, JUNE, distance=42_195.5, moving_time=0, commute=False, start_latlng=[47.1, 8.5]),
            activity(BY_HAND, RIDER, JUNE + timedelta(days=1), manual=True),
            activity(OTHERS, OTHER, JUNE),
        ):
            connection.execute(insert(tables.activities).values(row))
        streams = {"time": [0, 1, 5], "heartrate": [99.0, None, 120.0], "moving": [True, None, False]}
        for number, series in ((RIDE, {"point_count": 3, **streams}), (BY_HAND, {"point_count": 0})):
            connection.execute(
                insert(tables.activity_streams).values(activity_id=number, athlete_id=RIDER, fetched_at=ASKED, **series)
            )
        for day, load in ((date(2026, 6, 2), 80.5), (date(2026, 6, 3), 0.0)):
            connection.execute(
                insert(training_load).values(
                    athlete_id=RIDER, day=day, activity_count=1, load=load, fitness=1.5, computed_at=ASKED
                )
            )
    return engine


@pytest.fixture
def address(server: Server, database_name: str) -> str:
    """As ``analysts add`` prints it: without the name of a driver."""
    return server.url(database_name, Login.SQL_AS_ANALYST).replace("+psycopg", "")


def test_activities_keep_ids_whole_and_tell_nothing_from_zero(stored: Engine) -> None:
    frame = frames.activities(stored, athlete_id=RIDER)
    assert frame["id"].tolist() == [RIDE, BY_HAND, LISTED]
    assert list(frame.columns) == [column.name for column in tables.activities.c]
    ride, by_hand = frame.iloc[0], frame.iloc[1]
    assert (ride["distance"], ride["moving_time"], ride["commute"]) == (42_195.5, 0, False)
    assert (ride["name"], ride["start_latlng"]) == ("Ünï 🚴", [47.1, 8.5])
    for name in ("distance", "moving_time", "commute", "description"):
        assert by_hand[name] is pd.NA
    assert frame["distance"].sum() == 42_195.5
    kinds = ("id", "distance", "commute", "name", "start_date", "start_date_local", "start_latlng")
    assert [str(frame.dtypes[name]) for name in kinds] == [
        "Int64", "Float64", "boolean", "string", "datetime64[us, UTC]", "datetime64[us]", "object",
    ]  # fmt: skip


def test_times_are_utc_and_local_ones_have_no_zone(stored: Engine) -> None:
    ride = frames.activities(stored, athlete_id=RIDER).iloc[0]
    assert ride["start_date"] == pd.Timestamp("2026-06-01 22:30", tz="UTC")
    assert ride["start_date_local"] == pd.Timestamp("2026-06-02 00:30")


def test_a_session_in_another_zone_reads_the_same(stored: Engine) -> None:
    elsewhere = create_engine(stored.url, connect_args={"options": "-c timezone=America/St_Johns"})
    try:
        pd.testing.assert_frame_equal(frames.activities(elsewhere), frames.activities(stored))
        pd.testing.assert_frame_equal(frames.training_load(RIDER, elsewhere), frames.training_load(RIDER, stored))
    finally:
        elsewhere.dispose()


def test_units_are_those_of_the_comments(stored: Engine) -> None:
    units = frames.activities(stored).attrs["units"]
    assert {name: units[name] for name in ("distance", "moving_time", "max_speed", "average_temp", "kilojoules")} == {
        "distance": "m", "moving_time": "s", "max_speed": "m/s", "average_temp": "degrees Celsius", "kilojoules": "kJ",
    }  # fmt: skip
    assert units.keys().isdisjoint({"id", "name", "suffer_score", "commute", "kudos_count"})
    assert frames.activities(stored, columns=("id", "average_watts")).attrs["units"] == {"average_watts": "W"}
    assert frames.streams(RIDE, stored).attrs["units"]["altitude"] == "m"
    # Loads count against an hour at threshold.
    assert frames.training_load(RIDER, stored).attrs["units"] == {}


def test_a_span_holds_its_start_and_not_its_end(stored: Engine) -> None:
    def found(start: datetime | None = None, end: datetime | None = None) -> list[int]:
        return frames.activities(stored, athlete_id=RIDER, start=start, end=end)["id"].tolist()

    assert found(start=JUNE, end=JUNE + timedelta(days=2)) == [RIDE, BY_HAND]
    assert found(start=JUNE + timedelta(microseconds=1)) == [BY_HAND, LISTED]
    assert found(end=(JUNE + timedelta(days=1)).astimezone(timezone(timedelta(hours=-3)))) == [RIDE]
    assert found(start=pd.Timestamp("2026-06-04", tz="Europe/Zurich")) == [LISTED]


@pytest.mark.parametrize("name", ["start", "end"])
def test_a_time_without_a_zone_is_no_limit(stored: Engine, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} has no time zone"):
        frames.activities(stored, **{name: datetime(2026, 6, 1)})  # type: ignore[arg-type]  # noqa: DTZ001  the point


def test_columns_come_as_they_are_asked_for(stored: Engine) -> None:
    frame = frames.activities(stored, athlete_id=OTHER, columns=("distance", "id", "distance"))
    assert list(frame.columns) == ["distance", "id"]
    assert frame["id"].tolist() == [OTHERS]
    with pytest.raises(ValueError, match=r"^table activities has no column 'distanc', 'strava_access_token'$"):
        frames.activities(stored, columns=("distanc", "id", "strava_access_token"))
    with pytest.raises(ValueError, match="name one at least"):
        frames.activities(stored, columns=())


def test_more_than_fits_is_refused_and_says_what_helps(stored: Engine) -> None:
    assert len(frames.activities(stored, most_rows=4)) == 4
    with pytest.raises(WarehouseError, match="more than 3 such activities: ask for one athlete or a shorter time"):
        frames.activities(stored, most_rows=3)


def test_without_rows_the_dtypes_are_the_same(stored: Engine) -> None:
    full, none = frames.activities(stored, athlete_id=RIDER), frames.activities(stored, athlete_id=NEWCOMER)
    assert len(none) == 0
    assert none.dtypes.equals(full.dtypes)
    assert none.attrs == full.attrs
    full, none = frames.streams(RIDE, stored), frames.streams(BY_HAND, stored)
    assert len(none) == 0
    assert none.dtypes.equals(full.dtypes)
    assert none.index.name == full.index.name == "point_index"
    full, none = frames.training_load(RIDER, stored), frames.training_load(NEWCOMER, stored)
    assert len(none) == 0
    assert none.dtypes.equals(full.dtypes)
    assert none.index.dtype == full.index.dtype == "datetime64[us]"


def test_who_and_what_is_not_known_is_told(stored: Engine) -> None:
    with pytest.raises(UnknownAthlete, match="athlete 77 is not in the tables"):
        frames.activities(stored, athlete_id=77)
    with pytest.raises(UnknownAthlete):
        frames.training_load(77, stored)
    with pytest.raises(UnknownActivity, match="activity 77 is not in the tables"):
        frames.streams(77, stored)
    with pytest.raises(WarehouseError, match=f"samples of activity {LISTED} are not stored yet: materialize") as caught:
        frames.streams(LISTED, stored)
    assert type(caught.value) is WarehouseError


def test_streams_are_the_samples_of_the_view(stored: Engine) -> None:
    frame = frames.streams(RIDE, stored)
    assert list(frame.index) == [0, 1, 2]
    assert frame["time"].tolist() == [0, 1, 5]
    assert frame["heartrate"].tolist() == [99.0, pd.NA, 120.0]
    assert frame["moving"].tolist() == [True, pd.NA, False]
    assert frame["watts"].isna().all()
    points = text("SELECT * FROM strava.activity_points WHERE activity_id = :activity ORDER BY point_index")
    with stored.connect() as connection:
        view = pd.read_sql_query(points, connection, params={"activity": RIDE}, index_col="point_index")
    assert list(frame.columns) == [name for name in view.columns if name not in ("activity_id", "athlete_id")]
    for name in frame.columns:
        assert frame[name].dropna().tolist() == view[name].dropna().tolist()


def test_training_load_is_by_day(stored: Engine) -> None:
    frame = frames.training_load(RIDER, stored)
    assert frame["load"].to_dict() == {pd.Timestamp("2026-06-02"): 80.5, pd.Timestamp("2026-06-03"): 0.0}
    assert frame["fatigue"].isna().all()
    assert str(frame.dtypes["activity_count"]) == "Int64"
    assert frame["load"].loc["2026-06"].sum() == 80.5


def test_no_figure_is_nan(stored: Engine) -> None:
    with stored.begin() as connection:
        connection.execute(update(tables.activities).values(average_watts=float("nan")))
    assert frames.activities(stored)["average_watts"].tolist() == [pd.NA] * 4


def test_the_installations_own_analysts_login_reads_if_nothing_is_said(
    settings: Settings, stored: Engine, admin_engine: Engine
) -> None:
    assert len(frames.activities()) == 4
    assert len(frames.streams(RIDE)) == 3
    assert len(frames.training_load(RIDER)) == 2
    with admin_engine.begin() as connection:
        connection.execute(text("REVOKE SELECT ON strava.activities FROM strava_analyst"))
    with pytest.raises(WarehouseError, match="refuses: permission denied"):
        frames.activities()


def test_an_installation_without_a_login_for_analysts_says_so(
    settings: Settings, stored: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRAVA_ANALYST_DATABASE_URL")
    with pytest.raises(ConfigurationError, match=r"run strava-pipeline migrate.*or set STRAVA_ANALYST_DATABASE_URL"):
        frames.activities()


def test_without_an_address_an_embedded_postgres_that_runs_is_read(
    own_server: MoodyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(own_server.home))
    assert prepare(load_settings().with_embedded_database()).left == []
    assert frames.activities().empty


def test_without_an_address_a_frame_starts_no_postgres_and_makes_no_folder() -> None:
    told = r"^STRAVA_DATABASE_URL is not set, and the embedded Postgres is not there yet \(.*`embedded`"
    with pytest.raises(ConfigurationError, match=told):
        frames.activities()
    assert not load_settings().home.exists()


def test_an_address_is_taken_as_it_is_printed(stored: Engine, address: str) -> None:
    assert address.startswith("postgresql://strava_sql_analyst:")
    assert len(frames.activities(address)) == 4
    assert len(frames.streams(RIDE, address)) == 3
    assert len(frames.training_load(RIDER, address)) == 2


def test_what_is_opened_for_a_frame_is_closed_and_a_callers_engine_is_not(
    stored: Engine, admin_engine: Engine, address: str
) -> None:
    frames.activities(address)
    frames.activities(stored)
    look = text("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()")
    with admin_engine.connect() as connection:
        assert Login.SQL_AS_ANALYST not in connection.execute(look).scalars().all()
    assert stored.pool.checkedin() > 0  # type: ignore[attr-defined]  # the default pool has it


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("postgresql://mira:canary-access@127.0.0.1:9/strava", DatabaseUnavailable),
        ("mysql://mira:canary-access@127.0.0.1/strava", ConfigurationError),
        ("canary-access", ConfigurationError),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(source: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        frames.activities(source)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", ["DROP TABLE strava.activities CASCADE", "ALTER TABLE strava.activities DROP COLUMN kudos_count"]
)
def test_tables_of_another_version_are_told(stored: Engine, owner_engine: Engine, change: str) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text(change))
    with pytest.raises(WarehouseError, match=r"not the ones this version reads: run strava-pipeline migrate"):
        frames.activities(stored)


@pytest.fixture
def shown(address: str) -> dict[str, Any]:
    """What the page's example leaves behind, run as it stands there but for address and ids."""
    (block,) = [
        code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL) if "frames" in code
    ]
    code = block.replace("postgresql://mira:...@host:5432/strava", address)
    for told, meant in (("12345", str(RIDER)), ("67890", str(RIDE))):
        assert told in code
        code = code.replace(told, meant)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  our own page
    return names


def test_the_example_of_the_page_works(stored: Engine, shown: dict[str, Any]) -> None:
    assert shown["rides"]["id"].tolist() == [RIDE, BY_HAND, LISTED]
    assert shown["units"]["distance"] == "m"
    assert shown["samples"]["at"].tolist() == [JUNE + timedelta(seconds=s) for s in (0, 1, 5)]
    assert shown["heart"].tolist()[::2] == [99.0, 120.0]
    assert len(shown["load"]) == 2
