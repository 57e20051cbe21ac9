"""Declared views, and how they are created in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from strava_pipeline.warehouse.schema.tables import SCHEMA


@dataclass(frozen=True)
class DeclaredView:
    """A view of schema ``strava``: its ``query``, its comment, and a comment for each of its ``columns``."""

    name: str
    comment: str
    query: str
    columns: Mapping[str, str]


def create(connection: Connection, view: DeclaredView) -> None:
    """Create or replace a view and its comments as declared."""
    name = f"{SCHEMA}.{view.name}"
    connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {name} AS {view.query}")
    connection.exec_driver_sql(f"COMMENT ON VIEW {name} IS {_quoted(view.comment)}")
    for column, meaning in view.columns.items():
        connection.exec_driver_sql(f"COMMENT ON COLUMN {name}.{column} IS {_quoted(meaning)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"
