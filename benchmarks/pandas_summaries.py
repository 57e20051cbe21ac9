"""Stores made-up summaries with pandas, as one would without this project: from Strava's answers into our tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Table, text

from strava_pipeline.strava.mapping.activity import digest
from strava_pipeline.warehouse.activities.answers import SUMMARIZED
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

Bodies = Sequence[dict[str, Any]]


def fill_activities(engine: Engine, bodies: Bodies, asked_at: datetime, **how: Any) -> None:
    """Fill table ``activities``; ``how``: further arguments of ``to_sql``."""
    _append(engine, activities, _summaries(bodies, asked_at), how)


def fill_both(engine: Engine, bodies: Bodies, asked_at: datetime, **how: Any) -> None:
    """Fill ``activities`` and ``payloads`` (the raw answers), the tables in which this project stores a listing."""
    fill_activities(engine, bodies, asked_at, **how)
    _append(engine, payloads, _answers(bodies, asked_at), how)


def refill_activities(engine: Engine, bodies: Bodies, asked_at: datetime) -> None:
    """Update ``activities``, which ``to_sql`` cannot: fill a staging table, and merge it by SQL."""
    frame = _summaries(bodies, asked_at)
    names = ", ".join(frame.columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in frame.columns if name != "id")
    with engine.begin() as connection:
        frame.to_sql("staging", connection, if_exists="replace", index=False, dtype=_types(activities, frame))
        connection.execute(
            text(
                f"INSERT INTO strava.activities ({names}) SELECT {names} FROM staging"  # noqa: S608  names of columns
                f" ON CONFLICT (id) DO UPDATE SET {changes}"
            )
        )
        connection.execute(text("DROP TABLE staging"))


def _summaries(bodies: Bodies, asked_at: datetime) -> pd.DataFrame:
    frame = pd.json_normalize(list(bodies), sep="_").rename(columns={"map_summary_polyline": "summary_polyline"})
    frame["start_date"] = pd.to_datetime(frame["start_date"])
    frame["start_date_local"] = pd.to_datetime(frame["start_date_local"]).dt.tz_localize(None)
    frame["resource_state"], frame["fetched_at"] = SUMMARIZED, asked_at
    return frame[[column.name for column in activities.columns if column.name in frame.columns]]


def _answers(bodies: Bodies, asked_at: datetime) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "activity_id": [body["id"] for body in bodies],
            "kind": PayloadKind.SUMMARY,
            "athlete_id": [body["athlete"]["id"] for body in bodies],
            "body": [json.dumps(body) for body in bodies],
            "digest": [digest(body) for body in bodies],
            "fetched_at": asked_at,
        }
    )


def _append(engine: Engine, table: Table, frame: pd.DataFrame, how: Mapping[str, Any]) -> None:
    with engine.begin() as connection:
        frame.to_sql(
            table.name, connection, schema=table.schema, if_exists="append", index=False,
            dtype=_types(table, frame), **how,
        )  # fmt: skip


def _types(table: Table, frame: pd.DataFrame) -> Any:
    """The types of the columns; without them, lists would be sent as text."""
    return {name: table.c[name].type for name in frame.columns}
