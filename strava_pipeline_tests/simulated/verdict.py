"""What must not be left when a simulation ends."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sqlalchemy import Engine, Row, func, select

from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import EventState, ImportState
from strava_pipeline_tests.simulated.truth import Truth

# The error of an activity that Strava was asked for a moment before, and did not show.
NOT_SHOWN = "NotThereYet"
MOMENT_S = 60.0


def left_in_inbox(engine: Engine, truth: Truth, athletes: Collection[int]) -> Iterator[str]:
    """Tell of dead letters that are not rightly dead, and of events that are parked though their athletes are back."""
    with autocommit(engine) as connection:
        dead = connection.execute(select(webhook_events).where(webhook_events.c.state == EventState.DEAD)).all()
        parked = select(func.count()).where(
            webhook_events.c.state == EventState.PARKED, webhook_events.c.owner_id.in_(athletes)
        )
        count = connection.execute(parked).scalar_one()
    yield from (
        f"a dead letter of {row.object_type} {row.object_id}, {row.finished_at:%Y-%m-%d %H:%M}: {row.error}"
        for row in dead
        if not is_rightly_dead(row, truth)
    )
    if count:
        yield f"{count} events are parked, though their athletes are connected"


def is_rightly_dead(letter: Row[object], truth: Truth) -> bool:
    """Whether a dead letter waited for an activity that was deleted or hidden when it was given up."""
    died_at = letter.finished_at.timestamp()
    is_waiting = letter.error_kind == NOT_SHOWN and letter.object_type == "activity"
    return is_waiting and truth.seen_activity(letter.owner_id, letter.object_id, died_at - MOMENT_S, died_at).absent


def left_of_others(engine: Engine, athletes: Collection[int], lake: str) -> Iterator[str]:
    """Tell of what is left of athletes who are not connected any more."""
    with autocommit(engine) as connection:
        rows = connection.execute(select(func.count()).where(activities.c.athlete_id.not_in(athletes))).scalar_one()
    if rows:
        yield f"an athlete has left, but {rows} activities have not"
    ours = {f"athlete_id={athlete_id}" for athlete_id in athletes}
    yield from (
        f"an athlete has left, but {left.name} in the lake has not"
        for left in Path(lake).glob("*=*")
        if left.name not in ours
    )


def unfinished_imports(engine: Engine) -> Iterator[str]:
    """Tell of imports that rest, though they lack something."""
    at_rest = (imports.c.state == ImportState.DUE, imports.c.whole_at.is_(None))
    with autocommit(engine) as connection:
        for row in connection.execute(select(imports).where(*at_rest)):
            yield f"the import of athlete {row.athlete_id} is not whole: {row.error}"
