"""A link to upload is good for its athlete, for a week, until it is canceled or the athlete leaves."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, insert, select, update

from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.record_lives import remove_old_records
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upload_tables import upload_links
from strava_pipeline.warehouse.uploads.links import (
    LIFETIME,
    cancel_link,
    cancel_links_of_other_tokens,
    find_link,
    links_of,
    living_link,
    new_link,
)

ADA, BOB = 11, 12
PROOF = "of the token"


def made(engine: Engine, athlete_id: int = ADA, proof: str = PROOF) -> tuple[str, int]:
    """A new link: its secret, and its number."""
    with engine.begin() as connection:
        secret = new_link(connection, athlete_id, proof)
        found = find_link(connection, secret, proof)
    assert found is not None
    return secret, found.id


def is_good(engine: Engine, secret: str, proof: str = PROOF) -> bool:
    with engine.connect() as connection:
        return find_link(connection, secret, proof) is not None


def test_a_link_is_for_one_athlete_and_a_week(engine: Engine) -> None:
    secret, number = made(engine)
    with engine.connect() as connection:
        link = find_link(connection, secret, PROOF)
        assert link == living_link(connection, number, PROOF)
        assert links_of(connection, BOB, PROOF) == []
        assert links_of(connection, ADA, PROOF) == [link]
    assert link is not None
    assert link.athlete_id == ADA
    assert timedelta() <= link.expires_at - link.made_at - LIFETIME < timedelta(seconds=5)


def test_the_table_cannot_be_read_for_a_link(engine: Engine) -> None:
    secret, _ = made(engine)
    with engine.connect() as connection:
        assert secret not in str(connection.execute(select(upload_links)).all())
    assert not is_good(engine, secret + "x")
    assert not is_good(engine, "\ud800")


def test_a_link_ends_with_its_week_and_its_row_the_next_night(engine: Engine) -> None:
    secret, _ = made(engine)
    with engine.begin() as connection:
        connection.execute(update(upload_links).values(expires_at=database_time()))
    assert not is_good(engine, secret)
    assert remove_old_records(engine) == {"ops.upload_links": 1}


def test_a_link_is_canceled_by_the_page_of_its_athlete_only(engine: Engine) -> None:
    secret, number = made(engine)
    with engine.begin() as connection:
        assert not cancel_link(connection, BOB, number)
        assert cancel_link(connection, ADA, number)
        assert not cancel_link(connection, ADA, number)
    assert not is_good(engine, secret)


def test_links_end_with_the_operators_token(engine: Engine) -> None:
    secret, _ = made(engine)
    assert not is_good(engine, secret, "of another token")
    with engine.begin() as connection:
        assert cancel_links_of_other_tokens(connection, PROOF) == 0
        assert cancel_links_of_other_tokens(connection, "of another token") == 1


def test_who_leaves_takes_their_links_along_also_if_the_data_stay(engine: Engine) -> None:
    with engine.begin() as connection:
        for athlete_id in (ADA, BOB):
            connection.execute(insert(users).values(athlete_id=athlete_id, scopes=[], state="active", generation=1))
    (of_ada, _), (of_bob, _) = made(engine, ADA), made(engine, BOB)
    begin_erasure(engine, ADA, keep_data=True, actor=Actor.OPERATOR, cause="a test")
    assert (is_good(engine, of_ada), is_good(engine, of_bob)) == (False, True)
