"""Athletes with data in every table, and an athlete who is disconnected and whose rows are deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, column, func, insert, inspect, select, table

from strava_pipeline.keyring import Keyring
from strava_pipeline.months import Span
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.athletes.owned_tables import KEPT_OPS_TABLES
from strava_pipeline.warehouse.athletes.row_deletion import RowDeletion, delete_rows, end_erasure
from strava_pipeline.warehouse.erasures import ErasureMark, mark_of
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

OTHER = 2002
DAY = datetime(2025, 6, 10, tzinfo=UTC)
MONTH = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)


def grant(athlete: int, number: int = 1) -> TokenGrant:
    return TokenGrant(Secret(f"access-{number}"), Secret(f"refresh-{number}"), None, {"id": athlete})


def two_whole_athletes(engine: Engine, keyring: Keyring) -> PostgresTokenStore:
    """Two athletes are connected, each with two whole activities and events in every state."""
    store = PostgresTokenStore(engine, keyring)
    for athlete in (RIDER, OTHER):
        store.connect(grant(athlete), ["read", "activity:read_all"])
        strava = StravaStandIn(owner=athlete)
        sync = strava.sync(engine)
        import_athlete(sync, athlete)
        for number in (athlete * 10, athlete * 10 + 1):
            strava.add(number, DAY)
        list(import_summaries(sync, [Span(athlete, *MONTH)]))
        for number in strava.activities:
            bring_up_to_date(sync, athlete, number)
        for state in ("received", "launched", "waiting", "parked", "dead", "done"):
            add_event(engine, athlete, state)
    return store


def add_event(engine: Engine, athlete: int, state: str) -> int:
    values = {
        "event_key": f"{athlete}-{state}",
        "source": "webhook",
        "subscription_id": 1,
        "object_type": "activity",
        "object_id": athlete * 10,
        "aspect_type": "update",
        "owner_id": athlete,
        "event_time": DAY,
        "updates": {"title": "Round the lake"},
        "signed": True,
        "state": state,
    }
    with engine.begin() as connection:
        stored = connection.execute(insert(webhook_events).values(values).returning(webhook_events.c.id))
        return int(stored.scalar_one())


def rows_of(engine: Engine, athlete: int) -> dict[str, int]:
    """Rows of an athlete by table, wherever a column names them."""
    found = {}
    with engine.connect() as connection:
        for schema in ("strava", "ops"):
            for name in inspect(engine).get_table_names(schema):
                columns = {each["name"] for each in inspect(engine).get_columns(name, schema)}
                owner = "id" if name == "athletes" else "athlete_id"
                if owner in columns:
                    query = select(func.count()).select_from(table(name, schema=schema)).where(column(owner) == athlete)
                    found[name] = connection.execute(query).scalar_one()
    return found


def data_of(engine: Engine, athlete: int) -> dict[str, int]:
    """Rows by table that an erasure deletes, without tables that have none."""
    found = rows_of(engine, athlete).items()
    return {name: count for name, count in found if count and name not in KEPT_OPS_TABLES}


def current_mark(engine: Engine, athlete: int) -> ErasureMark:
    """The mark of an athlete who is being erased."""
    with engine.connect() as connection:
        mark = mark_of(connection, athlete)
    assert mark is not None, f"athlete {athlete} is not being erased"
    return mark


def delete_some_rows(engine: Engine, athlete: int, batches: int) -> RowDeletion:
    """Delete the first batches of an erasure, as a process does that ends then."""
    left = iter([True] * batches)
    return delete_rows(engine, current_mark(engine, athlete), lambda: next(left, False))


@dataclass(frozen=True)
class Erased:
    """Numbers of events dropped and of rows deleted."""

    events: int
    rows: int


def disconnect_and_erase(engine: Engine, athlete_id: int, *, keep_data: bool, actor: Actor, cause: str) -> Erased:
    """Decide the erasure and delete the rows, as in an installation whose lake has nothing of the athlete."""
    begun = begin_erasure(engine, athlete_id, keep_data=keep_data, actor=actor, cause=cause)
    if not begun.deletes_data:
        return Erased(begun.events, 0)
    mark = current_mark(engine, athlete_id)
    done = delete_rows(engine, mark)
    end_erasure(engine, mark, lambda: None)
    return Erased(begun.events, done.deleted)
