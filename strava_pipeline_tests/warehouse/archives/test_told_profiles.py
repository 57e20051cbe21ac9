"""The profile of an athlete is what the API tells, then the newest archive, in whatever order they come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.files.archive.side_tables import Preferences, Profile
from strava_pipeline.strava.mapping.athlete import athlete_row
from strava_pipeline.warehouse.archives import imports
from strava_pipeline.warehouse.archives.athletes import told_of_athlete
from strava_pipeline.warehouse.archives.imports import fail_import
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.athletes.profiles import store_athlete
from strava_pipeline.warehouse.athletes.told_profiles import FILLED, TOLD
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline_tests.handed_in import TAKEN, HandIn
from strava_pipeline_tests.strava_stand_in import RIDER

ASKED = datetime(2025, 9, 1, tzinfo=UTC)
OLD = {"weight": 70.0, "ftp": 200, "bio": "climbs"}
NEW = {"weight": 71.0, "city": "Linz"}
API = {"firstname": "Mira", "weight": None, "ftp": 250, "city": None}


@pytest.fixture
def hand_in(engine: Engine) -> HandIn:
    return HandIn(engine)


def archive(hand_in: HandIn, told: dict[str, Any], days: int = 0) -> int:
    return hand_in.archive([], TAKEN + timedelta(days=days), options={TOLD: told})


def api_tells(engine: Engine, body: dict[str, Any], days: int = 0) -> None:
    with engine.begin() as connection:
        store_athlete(connection, athlete_row({"id": RIDER} | body), ASKED + timedelta(days=days))


def profile(engine: Engine) -> tuple[Any, ...]:
    columns = athletes.c["firstname", "weight", "ftp", "city", "bio"]
    with engine.connect() as connection:
        return tuple(connection.execute(select(*columns)).one())


@pytest.mark.parametrize("order", list(permutations(("old", "new", "api"))), ids="-".join)
def test_a_profile_is_the_same_in_any_order(engine: Engine, hand_in: HandIn, order: Sequence[str]) -> None:
    numbers = {}
    for source in order:
        if source == "api":
            api_tells(engine, API)
        else:
            numbers[source] = archive(hand_in, *{"old": (OLD, 0), "new": (NEW, 1)}[source])
    assert profile(engine) == ("Mira", 71.0, 250, "Linz", "climbs")
    undo_import(engine, numbers["new"])
    assert profile(engine) == ("Mira", 70.0, 250, None, "climbs")
    undo_import(engine, numbers["old"])
    assert profile(engine) == ("Mira", None, 250, None, None)


def test_an_archive_fills_what_the_next_answer_of_the_api_tells_nothing_of(engine: Engine, hand_in: HandIn) -> None:
    number = archive(hand_in, OLD)
    api_tells(engine, {"firstname": "Mira"})
    assert profile(engine) == ("Mira", 70.0, 200, None, "climbs")
    api_tells(engine, {"firstname": "Mira", "weight": 61.0, "ftp": None}, days=1)
    assert profile(engine) == ("Mira", 61.0, 200, None, "climbs")
    undo_import(engine, number)
    assert profile(engine) == ("Mira", 61.0, None, None, None)


def test_what_the_api_tells_while_an_undo_begins_stays(
    engine: Engine, hand_in: HandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = archive(hand_in, OLD)
    monkeypatch.setattr(imports, "_end_dead", lambda *_: api_tells(engine, {"firstname": "Mira", "weight": 61.0}))
    undo_import(engine, number)
    assert profile(engine) == ("Mira", 61.0, None, None, None)


def test_without_an_archive_nothing_is_left_of_its_profile(engine: Engine, hand_in: HandIn) -> None:
    undo_import(engine, archive(hand_in, OLD))
    assert profile(engine) == (None, None, None, None, None)


def test_an_import_that_is_taken_up_knows_what_it_filled(engine: Engine, hand_in: HandIn) -> None:
    number = archive(hand_in, OLD)
    api_tells(engine, API)
    with engine.begin() as connection:
        fail_import(connection, number, "its disk was full")
    assert archive(hand_in, OLD) == number
    with engine.connect() as connection:
        options = connection.execute(select(archive_imports.c.options)).scalar_one()
    assert options == {TOLD: OLD, FILLED: ["bio", "weight"]}
    undo_import(engine, number)
    assert profile(engine) == ("Mira", None, 250, None, None)


def test_the_highest_heart_rate_of_an_archive_is_kept() -> None:
    told = told_of_athlete(Profile(athlete_id=RIDER, weight_kg=70.0), Preferences(max_heartrate_bpm=190, ftp_w=250))
    assert told == {"weight": 70.0, "ftp": 250, "max_heartrate": 190}
