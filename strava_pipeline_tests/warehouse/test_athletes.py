"""Athletes and gear: the newest profile stays, and a summary of a bike keeps its detail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from strava_pipeline.strava.payload import athlete_row, gear_row
from strava_pipeline.warehouse.athletes import store_athlete, store_gear
from strava_pipeline.warehouse.tables import athletes, gear

ASKED = datetime(2025, 9, 1, tzinfo=UTC)
RIDER = 1001


def profile(**more: Any) -> dict[str, Any]:
    return athlete_row({"id": RIDER, "firstname": "Mira", "weight": 61} | more)


def test_the_newest_profile_stays(engine: Engine) -> None:
    with engine.begin() as connection:
        store_athlete(connection, profile(city="Graz"), ASKED)
        store_athlete(connection, profile(city="Wien", weight=None), ASKED + timedelta(days=1))
        store_athlete(connection, profile(city="Linz"), ASKED - timedelta(days=1))
        stored = connection.execute(select(athletes)).one()
    assert (stored.city, stored.weight, stored.fetched_at) == ("Wien", None, ASKED + timedelta(days=1))


def test_gear_of_different_fields_is_stored_and_a_summary_keeps_the_detail(engine: Engine) -> None:
    detailed = {"id": "b1", "name": "Blue", "primary": True, "brand_name": "Velo", "weight": 8.1, "distance": 1000}
    shoes = {"id": "g1", "name": "Grey", "primary": False}
    with engine.begin() as connection:
        store_gear(connection, [gear_row(RIDER, detailed), gear_row(RIDER, shoes)], ASKED)
        summary = {"id": "b1", "name": "Blue", "primary": False, "distance": 1500}
        store_gear(connection, [gear_row(RIDER, summary)], ASKED + timedelta(days=1))
        stored = {row.id: row for row in connection.execute(select(gear))}
    assert (stored["b1"].brand_name, stored["b1"].distance, stored["b1"].is_primary) == ("Velo", 1500.0, False)
    assert stored["g1"].name == "Grey"


def test_an_athlete_without_gear_has_none(engine: Engine) -> None:
    with engine.begin() as connection:
        store_gear(connection, [], ASKED)
        assert connection.execute(select(gear)).all() == []
