"""Makes the data dictionary: every table and view of schema ``strava`` with its columns, from their declarations.

``python -m strava_pipeline.warehouse.schema.data_dictionary > docs/data-dictionary.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from strava_pipeline.warehouse.schema.declared import all_declared
from strava_pipeline.warehouse.schema.tables import SCHEMA
from strava_pipeline.warehouse.schema.views import VIEWS

HEADER = f"""\
# Data dictionary

Schema `{SCHEMA}`, made from the comments that the database holds as well (`make docs`). Strava's fields have Strava's
names and Strava's units: m, s, m/s, W, bpm, degrees Celsius; computed figures carry their unit in the name. Times are
`timestamptz` (UTC), but for those that end in `_local`: wall time at the place of the activity. Empty means that Strava
tells nothing. Ids exceed 2^53: read them as 64-bit integers or as text, never as floats.
"""


def data_dictionary() -> str:
    """Return the whole page, in Markdown."""
    return "\n".join([HEADER, "## Tables", "", *_tables(), "## Views", "", *_views()])


def _tables() -> Iterator[str]:
    for table in sorted(all_declared().tables.values(), key=lambda table: table.name):
        if table.schema == SCHEMA:
            yield from _section(table.name, table.comment or "", ("column", "type", "meaning"), _columns(table))


def _columns(table: Table) -> Iterator[tuple[str, ...]]:
    for column in table.columns:
        yield f"`{column.name}`", _type(column), column.comment or ""


def _type(column: Column[object]) -> str:
    """The type in SQL's words; columns of the key and columns that are never empty are marked."""
    name = column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]  # of SQLAlchemy
    short = name.replace("timestamp with time zone", "timestamptz").replace("timestamp without time zone", "timestamp")
    return f"{short}, key" if column.primary_key else short if column.nullable else f"{short}, never empty"


def _views() -> Iterator[str]:
    for view in VIEWS:
        rows = ((f"`{name}`", meaning) for name, meaning in view.columns.items())
        yield from _section(view.name, view.comment, ("column", "meaning"), rows)


def _section(name: str, comment: str, heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield from (f"### {name}", "", f"{comment[:1].upper()}{comment[1:]}.", "")
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(data_dictionary())
