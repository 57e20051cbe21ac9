"""Checks that a process has the keys that the stored tokens need, before it decrypts or encrypts any token."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine, Table, func, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.schema.grant_tables import key_checks, token_journal, users


@dataclass(frozen=True)
class KeyUse:
    """The keys that the database knows.

    ``users``, ``journal``: rows with tokens in ``ops.users`` and ``ops.token_journal``, by key id. ``check_values``,
    ``first_seen`` (UTC): of every key that was ever the writing key, by key id.
    """

    users: Counter[str] = field(default_factory=Counter)
    journal: Counter[str] = field(default_factory=Counter)
    check_values: dict[str, str] = field(default_factory=dict)
    first_seen: dict[str, datetime] = field(default_factory=dict)

    def rows(self, key_id: str) -> int:
        """Return how many rows cannot be decrypted without this key."""
        return self.users[key_id] + self.journal[key_id]

    def needed(self) -> list[str]:
        """Return the ids of all keys that stored tokens are encrypted with, sorted."""
        return sorted(self.users.keys() | self.journal.keys())

    def missing(self, keyring: Keyring) -> list[str]:
        """Return the ids of the keys that stored tokens are encrypted with and that the keyring lacks."""
        return [key_id for key_id in self.needed() if key_id not in keyring.keys]

    def different(self, keyring: Keyring) -> list[str]:
        """Return the ids of the keyring's keys whose check value differs from the stored one."""
        return [
            key_id
            for key_id in keyring.keys
            if self.check_values.get(key_id, keyring.check_value(key_id)) != keyring.check_value(key_id)
        ]


def read_use(connection: Connection) -> KeyUse:
    """Read which keys the stored tokens need, and which keys are known."""
    known = connection.execute(select(key_checks)).all()
    return KeyUse(
        users=_rows_by_key(connection, users),
        journal=_rows_by_key(connection, token_journal),
        check_values={row.key_id: row.check_value for row in known},
        first_seen={row.key_id: row.first_seen_at for row in known},
    )


def check_keys(engine: Engine, keyring: Keyring) -> None:
    """Refuse wrong keys as :func:`refuse_wrong_keys` does, and store the check value of a new writing key.

    Every process calls this before it touches a token, so no two processes encrypt with different keys of one id.
    """
    with engine.begin() as connection:
        refuse_wrong_keys(read_use(connection), keyring)
        writing = keyring.writing_key_id
        connection.execute(
            insert_or_skip(key_checks)
            .values(key_id=writing, check_value=keyring.check_value(writing))
            .on_conflict_do_nothing()
        )
        # Another process may have stored another key under this id first.
        refuse_wrong_keys(read_use(connection), keyring)


def refuse_wrong_keys(use: KeyUse, keyring: Keyring) -> None:
    """Raise ``ConfigurationError`` if a known key has another value in the keyring, or a needed key is missing there.

    The message names the id of the first such key, never a value.
    """
    for key_id in use.different(keyring):
        raise ConfigurationError(
            f"STRAVA_TOKEN_KEYS: key {key_id} is not the key that this database knows by that id,"
            " so tokens would not open: restore it, or give the new key an id of its own"
        )
    for key_id in use.missing(keyring):
        raise ConfigurationError(
            f"STRAVA_TOKEN_KEYS lacks key {key_id}, which {use.rows(key_id)} rows of stored tokens were written with:"
            " put it back, behind the first one"
        )


def _rows_by_key(connection: Connection, table: Table) -> Counter[str]:
    """Rows by key id; a row counts once for each key that its envelopes need, which is normally one."""
    access, refresh = (
        func.split_part(table.c[name], ".", 2) for name in ("strava_access_token", "strava_refresh_token")
    )
    counted: Counter[str] = Counter()
    for *key_ids, rows in connection.execute(select(access, refresh, func.count()).group_by(access, refresh)):
        for key_id in filter(None, set(key_ids)):
            counted[key_id] += rows
    return counted
