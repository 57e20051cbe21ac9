"""Asks for the imports of all athletes at once; they are launched a few at a time, as every import is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, exists, func, select

from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.imports.wishes import lock_imports, make_import
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import HISTORY_STEPS, GrantState, MadeBy
from strava_pipeline.warehouse.tokens.grants import grant_of, shows_activities


@dataclass(frozen=True)
class AskedForAll:
    """How many athletes' histories were asked for, and how many had been asked for before, paused ones among them."""

    asked: int
    asked_before: int
    paused: int


def ask_for_all(engine: Engine, by: MadeBy, actor: Actor) -> AskedForAll:
    """Ask for the whole history of each athlete who shows activities and has no such import yet.

    Imports that are there stay as they are, paused ones, too. Each athlete is a transaction of its own: whatever ends
    this, the next call goes on with the athletes who are left.
    """
    with autocommit(engine) as connection:
        athletes = list(connection.execute(select(users.c.athlete_id).where(_lacks_import())).scalars())
    asked = 0
    for athlete_id in athletes:
        with engine.begin() as connection:
            if _ask(connection, athlete_id, by):
                note_action(connection, actor, "import", f"athlete {athlete_id}")
                asked += 1
    with autocommit(engine) as connection:
        query = select(func.count(), func.count(imports.c.paused_at)).where(
            imports.c.athlete_id == users.c.athlete_id, _is_whole(), shows_activities()
        )
        there, paused = connection.execute(query).one()
    return AskedForAll(asked, there - asked, paused)


def count_without_import(connection: Connection) -> int:
    """Return how many athletes show activities, and have no import of their whole history."""
    return int(connection.execute(select(func.count()).select_from(users).where(_lacks_import())).scalar_one())


def _ask(connection: Connection, athlete_id: int, by: MadeBy) -> bool:
    """Ask for an athlete's history, unless the athlete has disconnected or somebody else has asked meanwhile."""
    grant = grant_of(connection, athlete_id, lock=True)
    if grant is None or grant.state is not GrantState.ACTIVE:
        return False
    lock_imports(connection, athlete_id)
    if connection.execute(select(imports.c.id).where(imports.c.athlete_id == athlete_id, _is_whole())).first():
        return False
    make_import(connection, athlete_id, None, None, HISTORY_STEPS, profile=True, by=by)
    return True


def _is_whole() -> ColumnElement[bool]:
    """Select imports from where the history begins, without an end."""
    return imports.c.first_month.is_(None) & imports.c.last_month.is_(None)


def _lacks_import() -> ColumnElement[bool]:
    return shows_activities() & ~exists().where(imports.c.athlete_id == users.c.athlete_id, _is_whole())
