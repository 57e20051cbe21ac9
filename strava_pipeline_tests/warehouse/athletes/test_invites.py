"""Places on links: held by one connection, and free again when that one does not come to its end."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select, text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.athletes import invites as links
from strava_pipeline.warehouse.schema.access_tables import invites

PROOF = "proof"
RIDER = 1001


@pytest.fixture
def name(engine: Engine) -> str:
    """A link for two."""
    with engine.begin() as connection:
        return links.name_of(links.new_invite(connection, PROOF, 2))


def used(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        query = select(invites.c.athlete_id).where(invites.c.used_at.is_not(None)).order_by(invites.c.id)
        return list(connection.execute(query).scalars())


def test_a_place_that_is_held_is_nobody_elses(engine: Engine, name: str) -> None:
    with (
        links.reserve_place(engine, name, PROOF, None) as first,
        links.reserve_place(engine, name, PROOF, None) as second,
    ):
        assert first is not None
        assert second is not None
        assert first.id != second.id
        with links.reserve_place(engine, name, PROOF, None) as third:
            assert third is None
        first.use_up(RIDER)
    assert used(engine) == [RIDER]


def test_a_connection_that_fails_gives_its_place_back(engine: Engine, name: str) -> None:
    def fail() -> None:
        with links.reserve_place(engine, name, PROOF, None) as place:
            assert place is not None
            place.use_up(RIDER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert used(engine) == []


def test_a_process_that_dies_gives_its_place_back(engine: Engine, name: str) -> None:
    def die() -> None:
        with links.reserve_place(engine, name, PROOF, None) as place:
            assert place is not None
            place.use_up(RIDER)
            backend = place.connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:backend, 5000)"), {"backend": backend})
            place.use_up(RIDER)

    with pytest.raises(DatabaseUnavailable):
        die()
    assert used(engine) == []
    with engine.connect() as connection:
        assert links.has_room(connection, name, PROOF, None)


def test_a_place_that_was_used_is_only_its_browsers(engine: Engine, name: str) -> None:
    with links.reserve_place(engine, name, PROOF, None) as place:
        assert place is not None
        place.use_up(RIDER)
    with links.reserve_place(engine, name, PROOF, place.id) as again:
        assert again is not None
        assert (again.id, again.athlete_id) == (place.id, RIDER)
    with links.reserve_place(engine, name, PROOF, None) as another:
        assert another is not None
        assert (another.id != place.id, another.athlete_id) == (True, None)


@pytest.mark.parametrize("proof", ["another", ""])
def test_another_token_knows_no_link(engine: Engine, name: str, proof: str) -> None:
    with engine.connect() as connection:
        assert not links.has_room(connection, name, proof, None)
        assert not links.is_known(connection, name, proof)
        assert links.living_invites(connection, proof) == []
    with links.reserve_place(engine, name, proof, None) as place:
        assert place is None


def test_what_was_made_under_another_token_ends_for_good(engine: Engine, name: str) -> None:
    with engine.begin() as connection:
        assert links.cancel_invites_of_other_tokens(connection, PROOF) == 0
        assert links.is_known(connection, name, PROOF)
        assert links.cancel_invites_of_other_tokens(connection, "another") == 2
        assert not links.is_known(connection, name, PROOF)


def test_an_attempt_counts_unless_the_process_ends(engine: Engine, name: str) -> None:
    for _ in range(2 * links.MOST_ATTEMPTS):
        with links.reserve_place(engine, name, PROOF, None) as place:
            assert place is not None
    with links.reserve_place(engine, name, PROOF, None) as place:
        assert place is None
