"""What is undone in a database that was restored from a backup, who is to be asked after, and how far that has come.

One transaction ends what the backup brought back to life and must not be: sessions, invitations, mails. The rest is
one row for each athlete, so that a check that died goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.access.operator_sessions import end_all_sessions
from strava_pipeline.warehouse.activities.lake_months import mark_all_outdated
from strava_pipeline.warehouse.athletes.invites import cancel_all_invites
from strava_pipeline.warehouse.mail.mail_queue import skip_all_pending
from strava_pipeline.warehouse.quota.strava_clock import store_clock
from strava_pipeline.warehouse.restored import Belonging, hold_calls, let_calls_go, load_belonging
from strava_pipeline.warehouse.schema.access_tables import oauth_states
from strava_pipeline.warehouse.schema.grant_tables import erasures, users
from strava_pipeline.warehouse.schema.restore_tables import restore_checks
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline.warehouse.states import GrantState, RestoreOutcome

SKIPPED = "restored from a backup: it may have been sent since"


@dataclass(frozen=True)
class Undone:
    """What was ended that the backup had brought back."""

    sessions: int = 0
    invites: int = 0
    mails: int = 0
    lake_months: int = 0

    def __str__(self) -> str:
        return (
            f"ended {self.sessions} sessions and links that sign in; canceled {self.invites} places on invitations;"
            f" {self.mails} mails are not sent; {self.lake_months} months of the lake are written anew"
        )


@dataclass(frozen=True)
class ToCheck:
    """An athlete who was not looked after so far; ``granted_at``: when the grant began that the tables have (UTC).

    ``has_data``: whether there are data that are not being deleted.
    """

    athlete_id: int
    state: GrantState
    granted_at: datetime
    has_data: bool


def begin_check(connection: Connection, *, anew: bool = False, undo: bool = True) -> Undone | None:
    """Hold all calls to Strava but the check's, and undo what a backup brings back, in the caller's transaction.

    ``None``, and nothing is changed, if a check of this database has begun before. ``anew``: another one begins anyway.
    Without ``undo`` the tables are those that they were, only elsewhere: nothing of them is undone.
    """
    belonging = load_belonging(connection, lock=True)
    if has_begun(belonging) and not anew:
        return None
    connection.execute(delete(restore_checks))
    hold_calls(connection)
    # Another machine's clock differs otherwise from Strava's.
    store_clock(connection, StravaClock())
    undone = _undo(connection) if undo else Undone()
    note_action(connection, Actor.COMMAND, "restore", None, detail=f"begun: {undone}")
    return undone


def _undo(connection: Connection) -> Undone:
    connection.execute(delete(oauth_states))
    return Undone(
        sessions=end_all_sessions(connection),
        invites=cancel_all_invites(connection),
        mails=skip_all_pending(connection, SKIPPED),
        lake_months=mark_all_outdated(connection),
    )


def has_begun(belonging: Belonging) -> bool:
    """Whether a check of the tables in this very database has begun, and not ended."""
    return belonging.check_begun_at is not None and not belonging.is_elsewhere


def athletes_to_check(connection: Connection) -> list[ToCheck]:
    """Return who was not looked after so far, by id."""
    has_data = exists().where(activities.c.athlete_id == users.c.athlete_id) | exists().where(
        athletes.c.id == users.c.athlete_id
    )
    is_going = exists().where(erasures.c.athlete_id == users.c.athlete_id)
    granted_at = func.coalesce(users.c.granted_at, users.c.connected_at)
    is_done = exists().where(restore_checks.c.athlete_id == users.c.athlete_id)
    query = select(users.c.athlete_id, users.c.state, granted_at, has_data & ~is_going).where(~is_done)
    rows = connection.execute(query.order_by(users.c.athlete_id))
    return [ToCheck(athlete_id, GrantState(state), at, has) for athlete_id, state, at, has in rows]


def note_checked(connection: Connection, athlete_id: int, outcome: RestoreOutcome) -> None:
    """Note what was found of an athlete, or done."""
    values = {"athlete_id": athlete_id, "outcome": outcome}
    connection.execute(insert(restore_checks).values(values).on_conflict_do_nothing())


def checked(connection: Connection) -> dict[RestoreOutcome, list[int]]:
    """Return the athletes who were looked after, by outcome."""
    found: dict[RestoreOutcome, list[int]] = {outcome: [] for outcome in RestoreOutcome}
    query = select(restore_checks.c.outcome, restore_checks.c.athlete_id).order_by(restore_checks.c.athlete_id)
    for outcome, athlete_id in connection.execute(query):
        found[RestoreOutcome(outcome)].append(athlete_id)
    return found


def end_check(connection: Connection, told: str) -> None:
    """Let calls go, and forget how far the check had come; ``told``: what it found, for the audit."""
    let_calls_go(connection)
    connection.execute(delete(restore_checks))
    note_action(connection, Actor.COMMAND, "restore", None, detail=f"passed: {told}")


def all_athletes(connection: Connection) -> Sequence[int]:
    """Return the ids of everybody who ever connected."""
    return connection.execute(select(users.c.athlete_id).order_by(users.c.athlete_id)).scalars().all()
