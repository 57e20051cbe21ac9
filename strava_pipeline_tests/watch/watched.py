"""Tables in which tests make faults, and what is found and told of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, Table, func, insert, select, text

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.warehouse.watch.heartbeats import Role, beat
from strava_pipeline.warehouse.watch.situation import read_situation
from strava_pipeline.warehouse.watch.slow_situation import read_slow_situation
from strava_pipeline.watch.evaluation import Evaluated, find
from strava_pipeline.watch.look import look


def ago(age: timedelta) -> Any:
    """A time of the past, as SQL."""
    return database_time() - age


@dataclass(frozen=True)
class Watched:
    """What is watched."""

    engine: Engine
    settings: Settings

    def give_sign_of_life(self, role: Role = Role.DISPATCHER, findings: Sequence[Finding] = ()) -> None:
        with self.engine.begin() as connection:
            beat(connection, role, findings)

    def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(insert(table).values(row))

    def execute(self, statement: str, **given: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), given)

    def find(self) -> list[Finding]:
        """What is found now."""
        with self.engine.connect() as connection:
            now, slow = read_situation(connection, self.settings), read_slow_situation(connection, self.settings)
        return find(Evaluated.of(self.settings, now, slow))

    def rules(self) -> list[str]:
        """The rules of what is found now."""
        return [each.rule for each in self.find()]

    def look(self) -> list[str]:
        """Look once, as a bridge does; returns the subjects of what was told."""
        with self.engine.connect() as connection:
            slow = read_slow_situation(connection, self.settings)
            last = connection.execute(select(func.coalesce(func.max(alert_messages.c.id), 0))).scalar_one()
        look(self.engine, self.settings, slow)
        with self.engine.connect() as connection:
            new = select(alert_messages.c.subject).where(alert_messages.c.id > last).order_by(alert_messages.c.id)
            return list(connection.execute(new).scalars())

    def let_pass(self, time: timedelta) -> None:
        """Let what is stored of alerts be so much older."""
        self.execute(
            "UPDATE ops.alerts SET since = since - :time, changed_at = changed_at - :time,"
            " fired_at = fired_at - :time, told_at = told_at - :time",
            time=time,
        )
