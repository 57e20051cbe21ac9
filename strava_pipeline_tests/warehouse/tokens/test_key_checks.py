"""Processes with other keys than the database knows do not start."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, insert, select

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import AssociatedData, Keyring, generate_key
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client, open_tokens
from strava_pipeline.warehouse.schema.grant_tables import key_checks, token_journal
from strava_pipeline.warehouse.tokens.key_checks import check_keys, read_use
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore, erase_tokens, patient_transaction
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

RIDER = 2**40


def key(key_id: str) -> str:
    """A fresh key under an id of the test's choice."""
    return f"{key_id}:{generate_key().partition(':')[2]}"


def known(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(key_checks.c.key_id)).scalars())


def connect(engine: Engine, keys: str) -> None:
    grant = TokenGrant(Secret("access"), Secret("refresh"), None, {"id": RIDER})
    PostgresTokenStore(engine, Keyring.parse(keys)).connect(grant, ["read"])


def test_a_writing_key_becomes_known_at_its_first_use(engine: Engine) -> None:
    first, second = key("a"), key("b")
    check_keys(engine, Keyring.parse(first))
    assert known(engine) == {"a"}
    check_keys(engine, Keyring.parse(f"{first},{second}"))
    assert known(engine) == {"a"}
    check_keys(engine, Keyring.parse(f"{second},{first}"))
    assert known(engine) == {"a", "b"}


@pytest.mark.parametrize("place", ["first", "behind"])
def test_another_key_of_a_known_id_is_refused_and_not_shown(engine: Engine, place: str) -> None:
    check_keys(engine, Keyring.parse(key("a")))
    wrong = key("a")
    keys = wrong if place == "first" else f"{key('b')},{wrong}"
    with pytest.raises(ConfigurationError, match="key a is not the key that this database knows") as caught:
        check_keys(engine, Keyring.parse(keys))
    assert wrong[2:12] not in str(caught.value)
    assert known(engine) == {"a"}


def test_a_key_that_stored_tokens_need_must_be_there(engine: Engine) -> None:
    connect(engine, key("a"))
    with pytest.raises(ConfigurationError, match="lacks key a, which 1 rows of stored tokens were written with"):
        check_keys(engine, Keyring.parse(key("b")))
    assert known(engine) == set()


def test_a_key_that_only_the_journal_needs_must_be_there_too(engine: Engine) -> None:
    envelope = Keyring.parse(key("a")).encrypt(Secret("token"), AssociatedData(RIDER, "strava_access_token", 2))
    with engine.begin() as connection:
        connection.execute(
            insert(token_journal).values(
                athlete_id=RIDER, generation=2, strava_access_token=envelope, strava_refresh_token=envelope
            )
        )
    with pytest.raises(ConfigurationError, match="lacks key a"):
        check_keys(engine, Keyring.parse(key("b")))


def test_of_two_processes_with_different_keys_of_one_new_id_one_starts(engine: Engine) -> None:
    together = threading.Barrier(2)

    def start() -> str:
        keyring = Keyring.parse(key("a"))
        together.wait(PATIENCE_SECONDS)
        try:
            check_keys(engine, keyring)
        except ConfigurationError:
            return "refused"
        return "started"

    with ThreadPoolExecutor(2) as both:
        for _ in range(10):
            with engine.begin() as connection:
                connection.execute(delete(key_checks))
            futures = [both.submit(start) for _ in range(2)]
            assert sorted(future.result() for future in futures) == ["refused", "started"]


def test_rows_are_counted_by_the_key_they_need(engine: Engine, keyring: Keyring) -> None:
    store = PostgresTokenStore(engine, keyring)
    for athlete in (1, 2, 3):
        store.connect(TokenGrant(Secret("a"), Secret("r"), None, {"id": athlete}), ["read"])
    with patient_transaction(engine) as connection:
        erase_tokens(connection, 3, "asked to go")
    with engine.connect() as connection:
        use = read_use(connection)
    assert use.users == {keyring.writing_key_id: 2}
    assert use.journal == {}
    assert use.rows(keyring.writing_key_id) == 2


def test_whatever_opens_tokens_checks_its_keys(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_client(settings, engine, Lane.LIVE, timedelta(0))
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", f"{settings.required('token_keys').partition(':')[0]}:{'A' * 43}=")
    changed = load_settings()
    with pytest.raises(ConfigurationError, match="is not the key that this database knows"):
        open_client(changed, engine, Lane.LIVE, timedelta(0))
    with pytest.raises(ConfigurationError, match="is not the key that this database knows"):
        open_tokens(changed, engine)
