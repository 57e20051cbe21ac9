"""Signs of life of bridges and their dispatchers, and what each bridge finds wrong where only it can look."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.warehouse.schema.alert_tables import heartbeats
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.watch.findings import Finding

_c = heartbeats.c


class Role(StrEnum):
    """What a heartbeat is of: a bridge's watcher, or its dispatcher."""

    BRIDGE = "bridge"
    DISPATCHER = "dispatcher"


@dataclass(frozen=True)
class Heartbeat:
    """The last sign of life of one process in one role; times in UTC."""

    process: str
    role: str
    started_at: datetime
    beat_at: datetime
    findings: tuple[Finding, ...]

    @property
    def host(self) -> str:
        """The name of the process's host, as that told it (:func:`process_name`)."""
        return self.process.partition(":")[0]


def process_name(role: Role) -> str:
    """The name of this process in a role: host, process id and role."""
    return f"{socket.gethostname()}:{os.getpid()}:{role}"


def beat(connection: Connection, role: Role, findings: Sequence[Finding] = ()) -> None:
    """Give a sign of life of this process, and replace what it found before."""
    told = [{"rule": each.rule, "detail": each.detail, "is_told": each.is_told} for each in findings]
    values = {"beat_at": database_time(), "findings": told}
    row = insert_or_update(heartbeats).values(
        process=process_name(role), role=role, started_at=database_time(), **values
    )
    connection.execute(row.on_conflict_do_update(index_elements=[_c.process], set_=values))


def heartbeats_of(connection: Connection, since: datetime) -> list[Heartbeat]:
    """The processes that gave a sign of life since then (UTC), the youngest first."""
    rows = connection.execute(select(heartbeats).where(_c.beat_at >= since).order_by(_c.beat_at.desc()))
    return [
        Heartbeat(
            row.process,
            row.role,
            row.started_at,
            row.beat_at,
            tuple(Finding(each["rule"], each["detail"], is_told=each["is_told"]) for each in row.findings),
        )
        for row in rows
    ]
