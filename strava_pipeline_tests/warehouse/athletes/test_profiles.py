"""Athletes and gear: the newest profile stays, and a summary of a bike keeps its detail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select

from strava_pipeline.strava.mapping.athlete import athlete_row, gear_row, stats_rows, zone_rows
from strava_pipeline.warehouse.athletes.profiles import store_athlete, store_gear, store_stats, store_zones
from strava_pipeline.warehouse.schema.tables import athlete_stats, athlete_zones, athletes, gear

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


def test_a_summary_of_an_athlete_keeps_the_threshold_power(engine: Engine) -> None:
    with engine.begin() as connection:
        store_athlete(connection, profile(ftp=250, city="Graz"), ASKED)
        summary = {"id": RIDER, "firstname": "Mira", "city": None}
        store_athlete(connection, athlete_row(summary), ASKED + timedelta(days=1))
        stored = connection.execute(select(athletes)).one()
    assert (stored.ftp, stored.weight, stored.city) == (250, 61.0, None)


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


def zones(*ends: int) -> dict[str, list[dict[str, Any]]]:
    """Zones of heart rate that begin at 0 and then at each of these ends."""
    lower = [0, *ends]
    found = [{"min": start, "max": end} for start, end in zip(lower, [*ends, -1], strict=True)]
    return zone_rows(RIDER, {"heart_rate": {"custom_zones": True, "zones": found}})


def stored_zones(engine: Engine) -> list[tuple[str, int, int | None]]:
    query = select(athlete_zones.c.valid_from, athlete_zones.c.min, athlete_zones.c.max).order_by(
        athlete_zones.c.valid_from, athlete_zones.c.zone
    )
    with engine.connect() as connection:
        return [(str(day), low, high) for day, low, high in connection.execute(query)]


def test_zones_that_changed_hold_from_the_day_they_were_seen_and_the_earlier_ones_stay(engine: Engine) -> None:
    with engine.begin() as connection:
        store_athlete(connection, profile(), ASKED)
        assert store_zones(connection, RIDER, zones(120), ASKED) == ["heart_rate"]
        assert store_zones(connection, RIDER, zones(120), ASKED + timedelta(days=1)) == []
        assert store_zones(connection, RIDER, zones(125), ASKED + timedelta(days=2)) == ["heart_rate"]
        assert store_zones(connection, RIDER, {}, ASKED + timedelta(days=3)) == []
    assert stored_zones(engine) == [
        ("2025-09-01", 0, 120),
        ("2025-09-01", 120, None),
        ("2025-09-03", 0, 125),
        ("2025-09-03", 125, None),
    ]


def test_zones_that_change_twice_a_day_are_the_last_ones_and_an_older_answer_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        store_zones(connection, RIDER, zones(110, 140), ASKED)
        store_zones(connection, RIDER, zones(130), ASKED + timedelta(hours=2))
        assert store_zones(connection, RIDER, zones(99), ASKED + timedelta(hours=1)) == []
    assert stored_zones(engine) == [("2025-09-01", 0, 130), ("2025-09-01", 130, None)]


def test_totals_are_a_snapshot_a_day_whose_last_one_counts(engine: Engine) -> None:
    body = {"biggest_ride_distance": 99.5, "all_ride_totals": {"count": 3, "moving_time": 474287.0}}
    with engine.begin() as connection:
        store_stats(connection, stats_rows(RIDER, body | {"all_run_totals": {"count": 1, "distance": 5}}), ASKED)
        store_stats(connection, stats_rows(RIDER, body), ASKED + timedelta(days=1))
        more = body | {"all_ride_totals": {"count": 4}}
        store_stats(connection, stats_rows(RIDER, more), ASKED + timedelta(days=1, hours=1))
        store_stats(connection, stats_rows(RIDER, body), ASKED + timedelta(days=1))
        columns = athlete_stats.c
        rows = connection.execute(
            select(columns.taken_on, columns.sport, columns.count, columns.biggest_ride_distance).order_by(
                columns.taken_on, columns.sport
            )
        )
        assert [(str(day), *rest) for day, *rest in rows] == [
            ("2025-09-01", "ride", 3, 99.5),
            ("2025-09-01", "run", 1, None),
            ("2025-09-02", "ride", 4, 99.5),
        ]
