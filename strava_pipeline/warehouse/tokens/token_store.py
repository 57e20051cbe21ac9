"""Connected athletes and their tokens: stored as envelopes, refreshed once for all processes, audited.

A refresh holds the lock on the athlete's row from the look at the stored token to the commit of the new pair; on its
way the pair passes :mod:`strava_pipeline.warehouse.tokens.token_journal`, so that it survives this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import HasLeft, NeedsReauthorization, StravaError, UnknownAthlete
from strava_pipeline.keyring import Keyring, Place
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox.events import unpark
from strava_pipeline.warehouse.mail.consent import give_address
from strava_pipeline.warehouse.schema.ops_tables import invites, users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens import token_journal
from strava_pipeline.warehouse.tokens.cool_down import note_failure, refuse_while_cooling_down, refuse_while_fresh
from strava_pipeline.warehouse.tokens.token_audit import audit
from strava_pipeline.warehouse.tokens.token_journal import Attempt, Envelopes

# Longer than the HTTP deadline of the refresh that the holder of the lock may be in.
ROW_LOCK_MILLISECONDS = 45_000
# Longer than that deadline, too: the server takes the lock from a process that was stopped, or whose host is gone.
IDLE_LOCK_MILLISECONDS = 60_000
ACCESS = "strava_access_token"
REFRESH = "strava_refresh_token"


@dataclass(frozen=True)
class PostgresTokenStore:
    """Reads and refreshes tokens in ``ops.users``; plaintext exists only in the caller's hands."""

    engine: Engine
    keyring: Keyring

    def access_token(self, athlete_id: int) -> Secret:
        """The token to use now. ``UnknownAthlete``, ``NeedsReauthorization`` or ``TokenUnreadable``.

        ``RetriableStravaError`` while the cool-down after a failed refresh lasts: that token is known not to work.
        """
        with autocommit(self.engine) as connection:
            row = _row(connection, athlete_id)
            waiting = row.state == GrantState.NEEDS_REAUTH and self._waiting_answer(connection, row)
        if waiting:
            # The answer to a refresh came after all, from a process that had been taken for dead.
            with self._locked(athlete_id) as (_, row):
                pass
        refuse_while_cooling_down(row)
        return self._open(row, ACCESS)

    def refreshed(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        """A token other than ``rejected``. The row's lock lets one process call Strava; the rest wait and read.

        ``NeedsReauthorization`` if Strava says that the grant is dead. ``RetriableStravaError`` after a failed
        refresh, while its cool-down lasts, and when the rejected token was itself refreshed less than a minute ago.
        """
        current = self.access_token(athlete_id)
        if current != rejected:
            return current
        with self._locked(athlete_id) as (connection, row):
            current = self._open(row, ACCESS)
            if current != rejected:
                return current
            refuse_while_cooling_down(row)
            refuse_while_fresh(row)
            try:
                with token_journal.begun(self.engine, athlete_id, row.generation + 1) as attempt:
                    return self._ask(connection, row, attempt, refresh)
            except StravaError as error:
                failure = error
                # Committed before the lock goes, so that whoever waits for it sees it and does not try.
                note_failure(connection, athlete_id, error)
        raise failure

    def token_pair(self, athlete_id: int) -> TokenGrant:
        """Both tokens, for giving them back to Strava; errors as of :meth:`access_token`."""
        with autocommit(self.engine) as connection:
            row = _row(connection, athlete_id)
        return TokenGrant(self._open(row, ACCESS), self._open(row, REFRESH), row.strava_token_expires_at)

    def exchanged(
        self, exchange: Callable[[], TokenGrant], scopes: Sequence[str], **more: str | None
    ) -> tuple[int, TokenGrant]:
        """Exchange a code and store the tokens; returns the athlete's id and what came. A refused code is audited.

        ``more``: as of :meth:`connect`.
        """
        try:
            grant = exchange()
        except StravaError as error:
            with self.engine.begin() as connection:
                audit(connection, None, "exchange", "failed", str(error))
            raise
        return self.connect(grant, scopes, **more), grant

    def connect(
        self,
        grant: TokenGrant,
        scopes: Sequence[str],
        *,
        email: str | None = None,
        dagster_task: str | None = None,
        link: str | None = None,
    ) -> int:
        """Store the tokens of a code exchange; returns the athlete's id. Events that waited for this go on.

        ``email`` gets a mail that asks whether it takes others; without one a stored one stays. ``dagster_task``: what
        Dagster has yet to be told. ``link``: the invitation it comes by, if it does; ``HasLeft`` if the athlete had
        come by the same one, and was disconnected since.
        """
        athlete_id: int = (grant.athlete or {})["id"]
        with patient_transaction(self.engine) as connection:
            connection.execute(
                insert_or_update(users)
                .values(athlete_id=athlete_id, scopes=[], state=GrantState.NEEDS_REAUTH, generation=0)
                .on_conflict_do_nothing()
            )
            row = _row(connection, athlete_id, lock=True)
            if row.state == GrantState.REVOKED and link is not None and _has_come_by(connection, link, athlete_id):
                raise HasLeft(f"athlete {athlete_id} was disconnected, and the link they had used brings them not back")
            self._store(
                connection,
                row,
                self._sealed(row, grant),
                refreshed_at=None,
                scopes=list(scopes),
                dagster_task=dagster_task,
            )
            if email is not None:
                give_address(connection, athlete_id, email)
            token_journal.forget_all(connection, athlete_id)
            audit(connection, athlete_id, "exchange", "ok")
            unpark(connection, athlete_id)
        return athlete_id

    @contextmanager
    def _locked(self, athlete_id: int) -> Iterator[tuple[Connection, Row[Any]]]:
        """The athlete's row, locked; if the answer to a process that died waits in the journal, it is in the row."""
        with patient_transaction(self.engine) as connection:
            row = _row(connection, athlete_id, lock=True)
            yield connection, self._adopted(connection, row) or row

    def _ask(
        self, connection: Connection, row: Row[Any], attempt: Attempt, refresh: Callable[[Secret], TokenGrant]
    ) -> Secret:
        """Ask Strava with the stored token; while it says dead, with whatever else it has issued. Stores the answer."""
        tried: set[Secret] = set()
        for refresh_token in self._refresh_tokens(connection, row):
            if refresh_token in tried:
                continue
            tried.add(refresh_token)
            try:
                grant = refresh(refresh_token)
            except NeedsReauthorization as error:
                dead = error
                adopted = self._adopted(connection, row)
                if adopted is not None:
                    # The holder before us, whose lock had been taken away, got its answer while we asked.
                    return self._open(adopted, ACCESS)
            else:
                envelopes = self._sealed(row, grant)
                attempt.keep(envelopes)
                self._store(connection, row, envelopes, refreshed_at=func.clock_timestamp())
                token_journal.forget_all(connection, row.athlete_id)
                note = "an earlier one got no answer" if attempt.follows_unanswered else None
                audit(connection, row.athlete_id, "refresh", "ok", note)
                return grant.access_token
        raise dead

    def _refresh_tokens(self, connection: Connection, row: Row[Any]) -> Iterator[Secret]:
        """The stored one, then the journal's, newest first, as it is by then."""
        yield self._open(row, REFRESH)
        for candidate in token_journal.answers(connection, row.athlete_id):
            yield self.keyring.decrypt(
                candidate.strava_refresh_token, Place(row.athlete_id, REFRESH, candidate.generation)
            )

    def _waiting_answer(self, connection: Connection, row: Row[Any]) -> Row[Any] | None:
        return token_journal.answer_for(connection, row.athlete_id, row.generation + 1)

    def _adopted(self, connection: Connection, row: Row[Any]) -> Row[Any] | None:
        """The row with the answer that waits for it; ``None`` if none does, or all tokens were erased."""
        answer = None if row.state == GrantState.REVOKED else self._waiting_answer(connection, row)
        if answer is None:
            return None
        for column in (ACCESS, REFRESH):
            self.keyring.decrypt(getattr(answer, column), Place(row.athlete_id, column, answer.generation))
        envelopes = Envelopes(answer.strava_access_token, answer.strava_refresh_token, answer.strava_token_expires_at)
        adopted = self._store(connection, row, envelopes, refreshed_at=answer.answered_at)
        token_journal.forget(connection, answer.id)
        audit(connection, row.athlete_id, "refresh", "adopted")
        return adopted

    def _open(self, row: Row[Any], column: str) -> Secret:
        envelope = getattr(row, column)
        if row.state != GrantState.ACTIVE or envelope is None:
            raise NeedsReauthorization(f"athlete {row.athlete_id} is {row.state}: connect the athlete again")
        return self.keyring.decrypt(envelope, Place(row.athlete_id, column, row.generation))

    def _sealed(self, row: Row[Any], grant: TokenGrant) -> Envelopes:
        """A pair as the row's next generation will hold it."""
        access, refresh = (
            self.keyring.encrypt(token, Place(row.athlete_id, column, row.generation + 1))
            for column, token in ((ACCESS, grant.access_token), (REFRESH, grant.refresh_token))
        )
        return Envelopes(access, refresh, grant.expires_at)

    def _store(self, connection: Connection, row: Row[Any], envelopes: Envelopes, **more: Any) -> Row[Any]:
        """The row's next generation."""
        return _change(
            connection,
            row,
            state=GrantState.ACTIVE,
            generation=row.generation + 1,
            refresh_not_before=None,
            **asdict(envelopes),
            **more,
        )


@contextmanager
def patient_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that waits for whoever refreshes, and that does not outlive its process for long."""
    with engine.connect() as connection:
        # Those who wait here must not hold the pool's connections, of which the one ahead needs another.
        connection.detach()
        with connection.begin():
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = {ROW_LOCK_MILLISECONDS};"
                f" SET LOCAL idle_in_transaction_session_timeout = {IDLE_LOCK_MILLISECONDS}"
            )
            yield connection


def erase_tokens(connection: Connection, athlete_id: int) -> bool:
    """Erase every token of an athlete whose grant has ended; False if that was done before. ``UnknownAthlete``.

    In a patient transaction: a refresh or a write under way is waited for, and none begins before this one ends.
    """
    query = select(users.c.state).where(users.c.athlete_id == athlete_id).with_for_update()
    if connection.execute(query).first() is None:
        raise _unknown(athlete_id)
    row = _row(connection, athlete_id, lock=True)
    token_journal.forget_all(connection, athlete_id)
    if row.state == GrantState.REVOKED:
        return False
    nothing = {ACCESS: None, REFRESH: None, "strava_token_expires_at": None, "refresh_not_before": None}
    _change(connection, row, state=GrantState.REVOKED, generation=row.generation + 1, scopes=[], **nothing)
    audit(connection, athlete_id, "revoke", "ok")
    return True


def _row(connection: Connection, athlete_id: int, *, lock: bool = False) -> Row[Any]:
    """The athlete's row, and the database's time as ``moment``."""
    query = select(users, func.clock_timestamp().label("moment")).where(users.c.athlete_id == athlete_id)
    # Weaker than what an erasure takes: rows of the athlete are stored while a refresh is under way.
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    if row is None:
        raise _unknown(athlete_id)
    return row


def _has_come_by(connection: Connection, link: str, athlete_id: int) -> bool:
    query = select(invites.c.id).where(invites.c.secret_hash == link, invites.c.athlete_id == athlete_id)
    return connection.execute(query.limit(1)).first() is not None


def _unknown(athlete_id: int) -> UnknownAthlete:
    return UnknownAthlete(f"athlete {athlete_id} is not connected: run strava-pipeline connect")


def _change(connection: Connection, row: Row[Any], **values: Any) -> Row[Any]:
    """The changed row. Its lock is held, so it is the one that was read."""
    return connection.execute(
        update(users)
        .where(users.c.athlete_id == row.athlete_id, users.c.generation == row.generation)
        .values(updated_at=func.clock_timestamp(), **values)
        .returning(users, func.clock_timestamp().label("moment"))
    ).one()
