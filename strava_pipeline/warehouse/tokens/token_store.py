"""Stores the tokens of connected athletes: encrypted, refreshed once for all processes, audited.

A refresh holds the lock on the athlete's row from reading the stored token until the new pair is committed. The pair
is first written to :mod:`strava_pipeline.warehouse.tokens.token_journal`, so that it survives this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import ErasureUnderWay, InviteAlreadyUsed, NeedsReauthorization, RefreshDelayed, StravaError
from strava_pipeline.keyring import AssociatedData, Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.erasures import is_being_erased
from strava_pipeline.warehouse.inbox.events import release_parked
from strava_pipeline.warehouse.mail.consent import give_address
from strava_pipeline.warehouse.mail.reconnect import ask_no_more
from strava_pipeline.warehouse.quota.oauth_watch import oauth_turn
from strava_pipeline.warehouse.schema.access_tables import invites
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import histories
from strava_pipeline.warehouse.states import WITHOUT_GRANT, GrantState
from strava_pipeline.warehouse.tokens import token_journal
from strava_pipeline.warehouse.tokens.cool_down import (
    note_failure,
    refuse_while_away,
    refuse_while_cooling_down,
    refuse_while_fresh,
)
from strava_pipeline.warehouse.tokens.stored_tokens import (
    StoredTokens,
    change_tokens,
    lock_tokens,
    read_active_tokens,
    read_tokens,
    unknown,
)
from strava_pipeline.warehouse.tokens.token_audit import audit
from strava_pipeline.warehouse.tokens.token_journal import Answer, Attempt, Envelopes

# Longer than the HTTP deadline of a refresh, which the holder of the lock may be waiting for.
ROW_LOCK_MILLISECONDS = 45_000
# Also longer than that deadline. The server ends the transaction of a process that was stopped or whose host is gone.
IDLE_LOCK_MILLISECONDS = 60_000
ACCESS = "strava_access_token"
REFRESH = "strava_refresh_token"


@dataclass(frozen=True)
class PostgresTokenStore:
    """The tokens in ``ops.users``; only the caller gets them in plain text.

    ``checks_restore``: refreshes are for comparing a restored database with Strava, before which no others are sent.
    """

    engine: Engine
    keyring: Keyring
    checks_restore: bool = False

    def access_token(self, athlete_id: int) -> Secret:
        """Return the access token to use now.

        ``UnknownAthlete`` if the athlete never connected, ``NeedsReauthorization`` if the grant is not active,
        ``TokenUnreadable`` if no configured key decrypts the token. While the stored token is known not to work:
        ``RefreshDelayed`` during the cool-down after a failed refresh; ``StravaAway`` if OAuth is away, during the
        cool-down or once the token has expired, but for whoever may probe.
        """
        with autocommit(self.engine) as connection:
            tokens = read_tokens(connection, athlete_id)
            waiting = tokens.state == GrantState.NEEDS_REAUTH and self._waiting_answer(connection, tokens)
        if waiting:
            # A process that seemed dead has stored the answer to its refresh after all: taking the lock adopts it.
            with self._locked(athlete_id) as (_, tokens):
                pass
        token = self._open(tokens, ACCESS)
        refuse_while_away(self.engine, tokens)
        refuse_while_cooling_down(tokens)
        return token

    def refresh_once(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        """Return an access token other than ``rejected``, stored by another process or refreshed now.

        The row's lock lets one process call Strava; the others wait, and read what it stored.
        ``NeedsReauthorization`` if Strava says that the grant is dead. ``RetriableStravaError`` after a failed
        refresh, while its cool-down lasts, or if the rejected token was itself refreshed less than a minute ago.
        ``StravaAway`` while Strava's OAuth answers nobody, also for the probe that failed. An error of ``refresh`` is
        audited and raised.
        """
        current = self.access_token(athlete_id)
        if current != rejected:
            return current
        # The turn ends after the tokens are committed: nothing comes between Strava's answer and its storing.
        try:
            with oauth_turn(self.engine, checks_restore=self.checks_restore) as turn:
                return self._refresh(athlete_id, rejected, turn.watched(refresh))
        except RefreshDelayed:
            with autocommit(self.engine) as connection:
                tokens = read_tokens(connection, athlete_id)
            refuse_while_away(self.engine, tokens)
            raise

    def _refresh(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        with self._locked(athlete_id) as (connection, tokens):
            current = self._open(tokens, ACCESS)
            if current != rejected:
                return current
            refuse_while_cooling_down(tokens)
            refuse_while_fresh(tokens)
            try:
                with token_journal.record_attempt(self.engine, athlete_id, tokens.generation + 1) as attempt:
                    return self._ask(connection, tokens, attempt, refresh)
            except StravaError as error:
                # Committed while the lock is held: a process that waits for the lock then sees the failure, and does
                # not try again.
                failure = note_failure(connection, athlete_id, error)
        raise failure

    def token_pair(self, athlete_id: int) -> TokenGrant:
        """Return both tokens, for revoking them at Strava.

        Errors as in :meth:`access_token`, except that no cool-down is observed.
        """
        with autocommit(self.engine) as connection:
            tokens = read_tokens(connection, athlete_id)
        return TokenGrant(self._open(tokens, ACCESS), self._open(tokens, REFRESH), tokens.strava_token_expires_at)

    def decrypt_all(self) -> int:
        """Decrypt the tokens of every connected athlete, and return how many athletes these are; changes nothing.

        ``TokenUnreadable`` for the first whose tokens no configured key decrypts.
        """
        with autocommit(self.engine) as connection:
            everybody = read_active_tokens(connection)
        for tokens in everybody:
            self._open(tokens, ACCESS)
            self._open(tokens, REFRESH)
        return len(everybody)

    def store_exchange(
        self, exchange: Callable[[], TokenGrant], scopes: Sequence[str], **more: Any
    ) -> tuple[int, TokenGrant]:
        """Exchange a code and store the tokens; return the athlete's id and the tokens. A failed exchange is audited.

        ``more``: the keyword arguments of :meth:`connect`.
        """
        with oauth_turn(self.engine, always=True) as turn:
            try:
                grant = turn.watched(exchange)()
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
        link: str | None = None,
        also: Callable[[Connection, int], None] | None = None,
    ) -> int:
        """Store the tokens of a code exchange and release the athlete's parked events; return the athlete's id.

        ``email``: an address, to which a mail is sent that asks for confirmation; without it, a stored address stays.
        ``link``: the name of the invitation used, if any; ``InviteAlreadyUsed`` if the athlete connected by this
        invitation before and was disconnected since. ``ErasureUnderWay`` while the data of an athlete who was
        disconnected are being deleted. ``also`` is called in this transaction, with the athlete's id.
        A task that Dagster has yet to do for the athlete is dropped.
        """
        athlete_id: int = (grant.athlete or {})["id"]
        with patient_transaction(self.engine) as connection:
            connection.execute(
                insert_or_update(users)
                .values(athlete_id=athlete_id, scopes=[], state=GrantState.NEEDS_REAUTH, generation=0)
                .on_conflict_do_nothing()
            )
            tokens = lock_tokens(connection, athlete_id)
            if tokens.state == GrantState.REVOKED and link is not None and _has_come_by(connection, link, athlete_id):
                raise InviteAlreadyUsed(f"athlete {athlete_id} was disconnected and used this invitation before")
            if is_being_erased(connection, athlete_id):
                raise ErasureUnderWay(f"earlier data of athlete {athlete_id} are still being deleted: try again soon")
            _note_shown(connection, athlete_id)
            # What was handed in before is no connection.
            first = {"connected_at": database_time()} if tokens.state == GrantState.ARCHIVE_ONLY else {}
            self._store(
                connection,
                tokens,
                self._sealed(tokens, grant),
                refreshed_at=None,
                scopes=list(scopes),
                granted_at=database_time(),
                dagster_task=None,
                **first,
            )
            if email is not None:
                give_address(connection, athlete_id, email)
            ask_no_more(connection, athlete_id)
            token_journal.delete_entries(connection, athlete_id)
            audit(connection, athlete_id, "exchange", "ok")
            release_parked(connection, athlete_id)
            if also is not None:
                also(connection, athlete_id)
        return athlete_id

    @contextmanager
    def _locked(self, athlete_id: int) -> Iterator[tuple[Connection, StoredTokens]]:
        """The athlete's row, locked; an answer that a dead process left in the journal is adopted first."""
        with patient_transaction(self.engine) as connection:
            tokens = lock_tokens(connection, athlete_id)
            yield connection, self._adopted(connection, tokens) or tokens

    def _ask(
        self, connection: Connection, tokens: StoredTokens, attempt: Attempt, refresh: Callable[[Secret], TokenGrant]
    ) -> Secret:
        """Refresh with the stored token, or if Strava says it is dead, with those in the journal; store the answer.

        Returns the new access token. ``NeedsReauthorization`` if all refresh tokens are dead.
        """
        tried: set[Secret] = set()
        for refresh_token in self._refresh_tokens(connection, tokens):
            if refresh_token in tried:
                continue
            tried.add(refresh_token)
            try:
                grant = refresh(refresh_token)
            except NeedsReauthorization as error:
                dead = error
                adopted = self._adopted(connection, tokens)
                if adopted is not None:
                    # The process that held the lock before, and lost it, got its answer while we asked.
                    return self._open(adopted, ACCESS)
            else:
                envelopes = self._sealed(tokens, grant)
                attempt.keep(envelopes)
                self._store(connection, tokens, envelopes, refreshed_at=database_time())
                token_journal.delete_entries(connection, tokens.athlete_id)
                note = "an earlier one got no answer" if attempt.follows_unanswered else None
                audit(connection, tokens.athlete_id, "refresh", "ok", note)
                return grant.access_token
        raise dead

    def _refresh_tokens(self, connection: Connection, tokens: StoredTokens) -> Iterator[Secret]:
        """The stored refresh token, then those in the journal, newest first; the journal is read after the first."""
        yield self._open(tokens, REFRESH)
        for candidate in token_journal.answers(connection, tokens.athlete_id):
            yield self.keyring.decrypt(
                candidate.envelopes.strava_refresh_token,
                AssociatedData(tokens.athlete_id, REFRESH, candidate.generation),
            )

    def _waiting_answer(self, connection: Connection, tokens: StoredTokens) -> Answer | None:
        return token_journal.answer_for(connection, tokens.athlete_id, tokens.generation + 1)

    def _adopted(self, connection: Connection, tokens: StoredTokens) -> StoredTokens | None:
        """The row after it adopted the answer that waits for it; ``None`` without one, or if the tokens are erased."""
        answer = None if tokens.state == GrantState.REVOKED else self._waiting_answer(connection, tokens)
        if answer is None:
            return None
        for column in (ACCESS, REFRESH):
            self.keyring.decrypt(
                getattr(answer.envelopes, column), AssociatedData(tokens.athlete_id, column, answer.generation)
            )
        adopted = self._store(connection, tokens, answer.envelopes, refreshed_at=answer.answered_at)
        token_journal.delete_entry(connection, answer.id)
        audit(connection, tokens.athlete_id, "refresh", "adopted")
        return adopted

    def _open(self, tokens: StoredTokens, column: str) -> Secret:
        envelope = getattr(tokens, column)
        if tokens.state == GrantState.ARCHIVE_ONLY:
            raise NeedsReauthorization(
                f"athlete {tokens.athlete_id} never connected, and what is stored was handed in: run strava-pipeline"
                " connect to ask Strava for the rest"
            )
        if tokens.state != GrantState.ACTIVE or envelope is None:
            raise NeedsReauthorization(f"athlete {tokens.athlete_id} is {tokens.state}: connect the athlete again")
        return self.keyring.decrypt(envelope, AssociatedData(tokens.athlete_id, column, tokens.generation))

    def _sealed(self, tokens: StoredTokens, grant: TokenGrant) -> Envelopes:
        """A pair encrypted for the row's next generation."""
        access, refresh = (
            self.keyring.encrypt(token, AssociatedData(tokens.athlete_id, column, tokens.generation + 1))
            for column, token in ((ACCESS, grant.access_token), (REFRESH, grant.refresh_token))
        )
        return Envelopes(access, refresh, grant.expires_at)

    def _store(self, connection: Connection, tokens: StoredTokens, envelopes: Envelopes, **more: Any) -> StoredTokens:
        """Write the row's next generation, and return it."""
        return change_tokens(
            connection,
            tokens,
            state=GrantState.ACTIVE,
            generation=tokens.generation + 1,
            refresh_not_before=None,
            **asdict(envelopes),
            **more,
        )


@contextmanager
def patient_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that waits up to ``ROW_LOCK_MILLISECONDS`` for a refresh by another process.

    The server ends the transaction when it is idle for ``IDLE_LOCK_MILLISECONDS``, so it does not outlive its process
    for long.
    """
    with engine.connect() as connection:
        # Detached: threads that wait here must not use up the pool, from which the holder of the lock needs another
        # connection.
        connection.detach()
        with connection.begin():
            limits = {
                "lock_timeout": ROW_LOCK_MILLISECONDS,
                "idle_in_transaction_session_timeout": IDLE_LOCK_MILLISECONDS,
            }
            connection.execute(select(*(func.set_config(name, str(limit), True) for name, limit in limits.items())))
            yield connection


def has_tokens(engine: Engine, athlete_id: int) -> bool:
    """Whether an athlete's tokens are stored, good or not. ``UnknownAthlete`` for one of whom nothing was stored."""
    with autocommit(engine) as connection:
        return read_tokens(connection, athlete_id).state not in WITHOUT_GRANT


def erase_tokens(connection: Connection, athlete_id: int, cause: str) -> bool:
    """Erase every token of an athlete; return False if they were erased before. ``cause``: why, for the audit.

    ``UnknownAthlete`` if the athlete never connected. Call it in a :func:`patient_transaction`: it waits for a refresh
    or a write under way, and none begins before the transaction ends.
    """
    query = select(users.c.state).where(users.c.athlete_id == athlete_id).with_for_update()
    if connection.execute(query).first() is None:
        raise unknown(athlete_id)
    tokens = lock_tokens(connection, athlete_id)
    token_journal.delete_entries(connection, athlete_id)
    if tokens.state == GrantState.REVOKED:
        return False
    nothing = {ACCESS: None, REFRESH: None, "strava_token_expires_at": None, "refresh_not_before": None}
    change_tokens(connection, tokens, state=GrantState.REVOKED, generation=tokens.generation + 1, scopes=[], **nothing)
    audit(connection, athlete_id, "erase", "ok", cause)
    return True


def _note_shown(connection: Connection, athlete_id: int) -> None:
    """Keep an athlete's permissions of until now, unless a listing has noted them.

    Activities that webhooks brought were shown under them; nothing is deleted because the new ones show less.
    """
    shown = select(users.c.athlete_id, users.c.scopes).where(users.c.athlete_id == athlete_id, users.c.scopes != [])
    noting = insert_or_update(histories).from_select(["athlete_id", "scopes"], shown)
    unless_noted = histories.c.scopes.is_(None)
    connection.execute(
        noting.on_conflict_do_update(
            index_elements=["athlete_id"], set_={"scopes": noting.excluded.scopes}, where=unless_noted
        )
    )


def _has_come_by(connection: Connection, link: str, athlete_id: int) -> bool:
    query = select(invites.c.id).where(invites.c.secret_hash == link, invites.c.athlete_id == athlete_id)
    return connection.execute(query.limit(1)).first() is not None
