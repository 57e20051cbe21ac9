"""Re-encrypts stored tokens with the writing key, row by row, while refreshes go on.

Each row has its own transaction, which writes only if the row still has the envelopes that were read (compare and
swap). So a refresh in between keeps its newer tokens, and a killed process leaves every row readable: run it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Table, func, or_, select, update

from strava_pipeline.errors import TokenUnreadable
from strava_pipeline.keyring import AssociatedData, Keyring, key_id_of
from strava_pipeline.warehouse.schema.grant_tables import token_journal, users
from strava_pipeline.warehouse.tokens.token_audit import audit
from strava_pipeline.warehouse.tokens.token_store import ACCESS, REFRESH, ROW_LOCK_MILLISECONDS

# A row that a refresh changed meanwhile is tried again. The passes are limited, because a process that still encrypts
# with an old key could change rows again and again.
PASSES = 3


@dataclass(frozen=True)
class Rotated:
    """The result for one row: ``table`` and ``athlete_id`` say which row; ``reason`` why it cannot be decrypted."""

    table: str
    athlete_id: int
    old_key_id: str
    reason: str | None = None


def rotate(engine: Engine, keyring: Keyring, *, dry_run: bool = False) -> Iterator[Rotated]:
    """Re-encrypt each row that is encrypted with another key than the writing key, and yield its result.

    With ``dry_run``, rows are only decrypted. A row that cannot be decrypted is yielded once, with a ``reason``.
    """
    unreadable: set[tuple[str, int]] = set()
    for _ in range(1 if dry_run else PASSES):
        found = [entry for entry in _entries(engine, keyring) if (entry.table.name, entry.identity) not in unreadable]
        for entry in found:
            try:
                done = _rotate_one(engine, keyring, entry, dry_run=dry_run)
            except TokenUnreadable as error:
                unreadable.add((entry.table.name, entry.identity))
                yield Rotated(entry.table.name, entry.athlete_id, entry.old_key_id, str(error))
            else:
                if done:
                    yield Rotated(entry.table.name, entry.athlete_id, entry.old_key_id)


@dataclass(frozen=True)
class _Entry:
    """A row with envelopes of another key, as read from its table."""

    table: Table
    identity: int
    athlete_id: int
    generation: int
    envelopes: dict[str, str]
    old_key_id: str


def _entries(engine: Engine, keyring: Keyring) -> list[_Entry]:
    writing = keyring.writing_key_id
    entries = []
    with engine.connect() as connection:
        for table in (users, token_journal):
            older = or_(*(func.split_part(table.c[name], ".", 2) != writing for name in (ACCESS, REFRESH)))
            [key] = table.primary_key
            query = select(key, *table.c["athlete_id", "generation", ACCESS, REFRESH]).where(older).order_by(key)
            for identity, athlete_id, generation, access, refresh in connection.execute(query):
                ids = {key_id_of(envelope) for envelope in (access, refresh)} - {writing}
                envelopes = {ACCESS: access, REFRESH: refresh}
                old = ", ".join(sorted(ids))
                entries.append(_Entry(table, identity, athlete_id, generation, envelopes, old))
    return entries


def _rotate_one(engine: Engine, keyring: Keyring, entry: _Entry, *, dry_run: bool) -> bool:
    """Whether the row was rewritten, that is, still had the envelopes that were read."""
    fresh = {}
    for name, envelope in entry.envelopes.items():
        place = AssociatedData(entry.athlete_id, name, entry.generation)
        fresh[name] = keyring.encrypt(keyring.decrypt(envelope, place), place)
    if dry_run:
        return True
    with engine.begin() as connection:
        # A refresh may hold the row for as long as Strava takes to answer.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {ROW_LOCK_MILLISECONDS}")
        if not _swap(connection, entry, fresh):
            return False
        where = "" if entry.table is users else "journal, "
        change = f"{where}{entry.old_key_id} -> {keyring.writing_key_id}"
        audit(connection, entry.athlete_id, "rotate", "ok", change)
    return True


def _swap(connection: Connection, entry: _Entry, fresh: dict[str, str]) -> bool:
    table = entry.table
    [key] = table.primary_key
    unchanged = [table.c[name] == envelope for name, envelope in entry.envelopes.items()]
    done = connection.execute(
        update(table).where(key == entry.identity, table.c.generation == entry.generation, *unchanged).values(fresh)
    )
    return bool(done.rowcount)
