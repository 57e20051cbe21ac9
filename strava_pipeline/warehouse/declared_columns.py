"""The declared columns of the analysts' tables, for code that shows them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from strava_pipeline.warehouse.schema import analysis_tables, archive_tables  # noqa: F401  each registers its tables
from strava_pipeline.warehouse.schema.tables import SCHEMA, metadata


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column with its comment; ``element_type``: the type of an array's elements, else the column's type."""

    name: str
    type: str
    element_type: str
    comment: str | None
    nullable: bool


def columns_of(table: str) -> dict[str, DeclaredColumn]:
    """Return the columns of a table of schema ``strava`` by name, in order; ``KeyError`` if there is no such table."""
    return {
        column.name: DeclaredColumn(
            name=column.name,
            type=str(column.type).lower(),
            element_type=str(getattr(column.type, "item_type", column.type)).lower(),
            comment=column.comment,
            nullable=bool(column.nullable),
        )
        for column in metadata.tables[f"{SCHEMA}.{table}"].columns
    }
