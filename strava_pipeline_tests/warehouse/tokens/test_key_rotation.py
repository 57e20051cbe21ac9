"""Another key for all stored tokens, while they are in use: each stays readable at all times."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.errors import TokenUnreadable
from strava_pipeline.keyring import AssociatedData, Keyring, generate_key, key_id_of
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.schema.grant_tables import token_audit, token_journal, users
from strava_pipeline.warehouse.tokens.key_rotation import Rotated, rotate
from strava_pipeline.warehouse.tokens.token_store import ACCESS, REFRESH, PostgresTokenStore
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.warehouse.tokens.token_endpoint import Mode, TokenEndpoint
from strava_pipeline_tests.warehouse.tokens.token_processes import RIDER, TokenProcesses, gate_closed, is_alive

SEED = 20_261_103
ATHLETES = range(100, 140)


@pytest.fixture
def new_key() -> str:
    return generate_key()


@pytest.fixture
def both(new_key: str, keyring: Keyring) -> Keyring:
    """The old key behind a new one."""
    return Keyring(Keyring.parse(new_key).keys | keyring.keys)


@pytest.fixture
def store(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    """A store of the old key with some athletes."""
    store = PostgresTokenStore(engine, keyring)
    for athlete in (1, 2, 3):
        store.connect(
            TokenGrant(Secret(f"canary-access-{athlete}"), Secret(f"canary-refresh-{athlete}"), None, {"id": athlete}),
            ["read"],
        )
    return store


def key_ids(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        rows = connection.execute(select(users.c[ACCESS], users.c[REFRESH])).all()
    return {key_id_of(envelope) for row in rows for envelope in row}


def test_every_row_gets_the_writing_key_and_an_audit_row(store: PostgresTokenStore, both: Keyring) -> None:
    old, new = store.keyring.writing_key_id, both.writing_key_id
    assert list(rotate(store.engine, both)) == [Rotated("users", athlete, old) for athlete in (1, 2, 3)]
    only_new = PostgresTokenStore(store.engine, Keyring({new: both.keys[new]}))
    assert [only_new.token_pair(athlete).refresh_token.reveal() for athlete in (1, 2, 3)] == [
        "canary-refresh-1",
        "canary-refresh-2",
        "canary-refresh-3",
    ]
    with store.engine.connect() as connection:
        rows = connection.execute(select(token_audit).where(token_audit.c.operation == "rotate")).all()
    assert [(row.athlete_id, row.outcome, row.detail) for row in rows] == [
        (athlete, "ok", f"{old} -> {new}") for athlete in (1, 2, 3)
    ]
    assert list(rotate(store.engine, both)) == []


def test_a_dry_run_counts_and_writes_nothing(store: PostgresTokenStore, both: Keyring) -> None:
    assert len(list(rotate(store.engine, both, dry_run=True))) == 3
    assert key_ids(store.engine) == {store.keyring.writing_key_id}


def test_the_journal_is_rotated_too_and_its_answer_still_adopted(store: PostgresTokenStore, both: Keyring) -> None:
    sealed = {
        column: store.keyring.encrypt(token, AssociatedData(1, column, 2))
        for column, token in ((ACCESS, Secret("canary-access-9")), (REFRESH, Secret("canary-refresh-9")))
    }
    with store.engine.begin() as connection:
        answered_at = "2026-11-03T10:00:00Z"
        connection.execute(insert(token_journal).values(athlete_id=1, generation=2, answered_at=answered_at, **sealed))
    assert [row.table for row in rotate(store.engine, both)] == ["users"] * 3 + ["token_journal"]
    new = both.writing_key_id
    only_new = PostgresTokenStore(store.engine, Keyring({new: both.keys[new]}))
    assert only_new.refresh_once(1, Secret("canary-access-1"), lambda _: pytest.fail("asked")) == Secret(
        "canary-access-9"
    )


def test_a_row_that_does_not_open_is_reported_once_and_stops_nobody(store: PostgresTokenStore, both: Keyring) -> None:
    with store.engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == 2).values(generation=7))
    found = list(rotate(store.engine, both))
    assert [(row.athlete_id, row.reason is None) for row in found] == [(1, True), (2, False), (3, True)]
    with pytest.raises(TokenUnreadable):
        PostgresTokenStore(store.engine, both).access_token(2)


def test_what_a_refresh_wrote_meanwhile_is_not_overwritten(
    store: PostgresTokenStore, both: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypt, refreshed = Keyring.encrypt, list[bool]()

    def encrypt_late(self: Keyring, plaintext: Secret, place: AssociatedData) -> str:
        if self is both and place.athlete_id == 1 and not refreshed:
            refreshed.append(True)
            store.refresh_once(
                1,
                Secret("canary-access-1"),
                lambda _: TokenGrant(Secret("canary-access-9"), Secret("canary-refresh-9"), None),
            )
        return encrypt(self, plaintext, place)

    monkeypatch.setattr(Keyring, "encrypt", encrypt_late)
    assert [row.athlete_id for row in rotate(store.engine, both)] == [2, 3, 1]
    assert PostgresTokenStore(store.engine, both).access_token(1) == Secret("canary-access-9")
    assert key_ids(store.engine) == {both.writing_key_id}


@pytest.fixture
def refreshing(settings: Settings, new_key: str, loopback: Loopback) -> Iterator[TokenProcesses]:
    """Processes that still write with the old key, and read the new one."""
    keys = f"{settings.required('token_keys')},{new_key}"
    processes = TokenProcesses.begin(STRAVA_OAUTH_URL=loopback.url, STRAVA_TOKEN_KEYS=keys)
    yield processes
    processes.end()


@pytest.fixture
def rotating(settings: Settings, new_key: str) -> Iterator[TokenProcesses]:
    """Processes that write with the new key."""
    processes = TokenProcesses.begin(STRAVA_TOKEN_KEYS=f"{new_key},{settings.required('token_keys')}")
    yield processes
    processes.end()


def test_keys_change_under_kills_while_16_processes_refresh(
    store: PostgresTokenStore,
    both: Keyring,
    loopback: Loopback,
    refreshing: TokenProcesses,
    rotating: TokenProcesses,
) -> None:
    endpoint = TokenEndpoint(Mode.REVOKING, lifetime_s=0)
    loopback.answer = endpoint.answer
    for athlete in (*ATHLETES, RIDER):
        grant = (
            endpoint.grant(RIDER)
            if athlete == RIDER
            else TokenGrant(Secret(f"canary-access-{athlete}"), Secret("r"), None)
        )
        store.connect(replace(grant, athlete={"id": athlete}), ["read"])
    with gate_closed(store.engine):
        crowd = [refreshing.fork("loop") for _ in range(16)]
    reader = PostgresTokenStore(store.engine, both)
    chance, kills = random.Random(SEED), 0  # noqa: S311  no secret hangs on it
    while still_of(store.engine, store.keyring.writing_key_id):
        process = rotating.fork("rotate")
        for _ in range(chance.randrange(1, 8)):
            if rotating.report(process) == "done":
                break
        rotating.kill(process)
        kills += 1
        assert all(reader.access_token(athlete).reveal() == f"canary-access-{athlete}" for athlete in ATHLETES)
    assert kills > len(ATHLETES) / 10
    # None of them has failed, which would have ended it.
    assert all(map(is_alive, crowd))
    assert endpoint.calls > kills
    assert not endpoint.revoked
    assert reader.token_pair(RIDER).access_token.reveal().startswith("canary-access-")


def still_of(engine: Engine, key_id: str) -> bool:
    """Whether one of the athletes whom nobody refreshes has a token of this key."""
    with engine.connect() as connection:
        rows = connection.execute(select(users.c[ACCESS]).where(users.c.athlete_id.in_(ATHLETES)))
        return key_id in {key_id_of(envelope) for envelope in rows.scalars()}
