"""Each query of the athletes' dashboard, sent as an analyst to a filled database, finds rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from benchmarks.many_athletes_data import FIRST_ATHLETE, Size, fill
from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline_tests.conftest import new_database, opened
from strava_pipeline_tests.deploy.grafana import ATHLETES, Target, sql_of

SIZE = Size(athletes=3, activities_each=600, events_each=1, live_calls=1)
NOW = datetime.now(UTC)
YEAR_AGO = NOW - timedelta(days=365)
# What the filled tables lack.
FILL_MORE = (
    "UPDATE strava.activities SET calories = 500",
    "UPDATE strava.route_analyses SET training_load = 60",
    "UPDATE strava.training_load SET week_load = 300",
    "UPDATE strava.best_efforts SET start_date_local = '2026-05-01 08:00'",
)


@pytest.fixture(scope="module")
def analyst(server: Server, template: str) -> Iterator[Engine]:
    """A filled database, as an analyst reads it."""
    with new_database(server, template) as name:
        with opened(server.url(name, Login.OWNER)) as owner:
            fill(owner, SIZE)
            with owner.begin() as connection:
                for statement in FILL_MORE:
                    connection.execute(text(statement))
        with opened(server.url(name, Login.SQL_AS_ANALYST)) as engine:
            yield engine


def ask(engine: Engine, query: str, *, athlete: str = str(FIRST_ATHLETE), sports: tuple[str, ...] = ()) -> list[Any]:
    """The rows that Grafana gets."""
    chosen = {"athlete": athlete, "sport": sports or ("Ride", "Run", "Swim")}
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(sql_of(query, YEAR_AGO, NOW, chosen).replace("%", "%%")).mappings())


@pytest.mark.parametrize("target", ATHLETES.targets, ids=str)
def test_a_panel_finds_rows_and_no_column_is_empty(analyst: Engine, target: Target) -> None:
    found = ask(analyst, target.query["rawSql"])
    assert found
    assert [name for name in found[0] if all(row[name] is None for row in found)] == []


@pytest.mark.parametrize("target", ATHLETES.targets, ids=str)
def test_a_panel_without_anything_chosen_is_empty_and_no_error(analyst: Engine, target: Target) -> None:
    ask(analyst, target.query["rawSql"], athlete="", sports=("",))


@pytest.mark.parametrize(
    "target", [each for each in ATHLETES.targets if each.query["format"] == "time_series"], ids=str
)
def test_a_time_series_has_its_time_first_and_in_order(analyst: Engine, target: Target) -> None:
    found = ask(analyst, target.query["rawSql"])
    times = [row["time"] for row in found]
    assert times == sorted(times)
    assert all(time.tzinfo is None for time in times)  # which Grafana reads as UTC, whatever the session's time zone
    names = set(found[0]) - {"time", "metric"}
    assert "metric" not in found[0] or len(names) == 1


@pytest.mark.parametrize("name", ["athlete", "sport"])
def test_a_variable_offers_values(analyst: Engine, name: str) -> None:
    offered = ask(analyst, ATHLETES.variables[name]["query"])
    assert len(offered) == SIZE.athletes


def test_the_reader_is_an_analyst(analyst: Engine) -> None:
    with pytest.raises(WarehouseError, match="permission denied"):
        ask(analyst, "SELECT 1 FROM ops.users")


def activities_query() -> str:
    (query,) = (target.query["rawSql"] for target in ATHLETES.targets if target.panel == "Activities")
    return str(query)


def test_only_the_chosen_athletes_rows_are_shown(analyst: Engine) -> None:
    assert ask(analyst, activities_query())
    assert ask(analyst, activities_query(), athlete="1") == []


def test_a_value_from_an_address_stays_a_value(analyst: Engine) -> None:
    """Whoever makes a link chooses what stands for a variable."""
    assert ask(analyst, activities_query(), sports=("Ride') OR ('' = '",)) == []
