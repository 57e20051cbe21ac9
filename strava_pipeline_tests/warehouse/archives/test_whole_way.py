"""Athletes of whom something was handed in: erased without keys, connected later, mapped anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import ConfigurationError, NeedsReauthorization
from strava_pipeline.files.archive.gear import Gear
from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.archives.gear import store_listed_gear
from strava_pipeline.warehouse.archives.undo import undo_import
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities, gear
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.erasing import data_of, disconnect_and_erase, grant
from strava_pipeline_tests.handed_in import HandIn, archive_row, later, made_recording
from strava_pipeline_tests.strava_stand_in import RIDER

START = datetime(2025, 6, 3, 8, tzinfo=UTC)
OTHER = RIDER + 1


@pytest.fixture
def hand_in(engine: Engine) -> HandIn:
    """An archive with a file, and a file of its own."""
    hand_in = HandIn(engine)
    hand_in.archive([archive_row(5, START, total_steps=3)], files=[(5, b"ride", made_recording(START))])
    _, merged = hand_in.file(b"own", made_recording(later(START, 86400)))
    hand_in.read([5, *merged.activity_ids])
    return hand_in


@pytest.mark.usefixtures("hand_in")
def test_an_erasure_needs_no_keys_and_leaves_nothing(engine: Engine) -> None:
    other = HandIn(engine, athlete_id=OTHER)
    other.archive([archive_row(50, START)], files=[(50, b"ride", made_recording(START))])
    kept = data_of(engine, OTHER)
    filled = {"archive_imports", "archive_rows", "archive_files", "recording_bytes", "recordings", "recording_channels"}
    assert filled | {"archive_figures"} <= data_of(engine, RIDER).keys()
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="asked for")
    assert data_of(engine, RIDER) == {}
    assert data_of(engine, OTHER) == kept
    with pytest.raises(NeedsReauthorization, match=f"athlete {RIDER} has disconnected"):
        HandIn(engine).archive([archive_row(5, START)])


@pytest.mark.usefixtures("hand_in")
def test_connecting_later_turns_the_state(engine: Engine, keyring: Keyring) -> None:
    PostgresTokenStore(engine, keyring).connect(grant(RIDER), ["read", "activity:read_all"])
    with engine.connect() as connection:
        assert connection.execute(select(users.c.state)).scalar() == "active"
        assert len(connection.execute(select(activities.c.id)).all()) == 2


@pytest.mark.usefixtures("hand_in")
def test_a_remap_makes_the_rows_of_archives_and_files_again(engine: Engine) -> None:
    def stored() -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(activities).order_by(activities.c.id))]

    before = stored()
    with engine.begin() as connection:
        moment = now(connection)
        connection.execute(update(activities).values(name="spoilt", distance=1))
    done = list(remap(engine, before=moment + timedelta(days=1), athlete_id=RIDER, batch=1))
    assert sum(each.rebuilt for each in done) == 2
    assert stored() == before


def test_a_mail_about_a_file_is_about_stravas_activity_by_now(engine: Engine, hand_in: HandIn) -> None:
    with engine.begin() as connection:
        (own,) = connection.execute(select(activities.c.id).where(activities.c.id < 0)).scalars()
        told = {"activity_id": own, "kind": "ride_summary", "athlete_id": RIDER, "state": "sent"}
        connection.execute(notifications.insert().values(**told))
    hand_in.archive([archive_row(6, later(START, 86400))])
    with engine.connect() as connection:
        assert connection.execute(select(notifications.c.activity_id)).scalars().all() == [6]
        assert set(connection.execute(select(activities.c.id)).scalars()) == {5, 6}


def test_gear_is_named_by_archives_where_the_api_tells_nothing(engine: Engine, hand_in: HandIn) -> None:
    number = hand_in.archive([archive_row(6, later(START, 9000), bike_id="b1", gear_name="Blue")])
    with engine.begin() as connection:
        listed = {"b1": Gear(id="b1", name="Blue", brand="Canyon"), "g2": Gear(id="g2", name="Old shoes")}
        store_listed_gear(connection, number, RIDER, listed)
        connection.execute(update(gear).where(gear.c.id == "g2").values(name="By the API", fetched_at=START))
        store_listed_gear(connection, number, RIDER, listed)
        found = connection.execute(select(gear.c.id, gear.c.name, gear.c.brand_name).order_by(gear.c.id)).all()
    assert [tuple(row) for row in found] == [("b1", "Blue", "Canyon"), ("g2", "By the API", None)]
    undo_import(engine, number)
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.id)).scalars().all() == ["g2"]


def test_a_zone_that_nobody_knows_is_refused(hand_in: HandIn) -> None:
    with pytest.raises(ConfigurationError, match="Mars/Base is no time zone"):
        hand_in.archive([archive_row(6, START)], options={"timezone": "Mars/Base"})
