"""``strava-pipeline sql``: one query on the tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from datetime import date, datetime
from itertools import chain, islice
from typing import Any, cast

import click

from strava_pipeline.errors import WarehouseError
from strava_pipeline.settings import load_settings

ROWS_AT_ONCE = 1000
UNFOLDED = 100_000


@click.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True,
    help="How to print the rows.",
)  # fmt: skip
@click.option("--as-analyst", is_flag=True, help="See what the analysts' role sees: schema strava and nothing else.")
def sql(query: str, form: str, as_analyst: bool) -> None:
    """Run QUERY, which may only read, and print its rows."""
    from psycopg import Error
    from sqlalchemy import text

    from strava_pipeline.warehouse.analyst import become_analyst, can_read, ensure_analyst_role
    from strava_pipeline.warehouse.bulk import driver_of
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = load_settings()
    with open_warehouse(settings) as engine, engine.connect() as connection:
        if as_analyst and not can_read(connection, settings.analyst_role):
            ensure_analyst_role(engine, settings.analyst_role)
        connection.rollback()
        connection.execute(text("SET TRANSACTION READ ONLY"))
        if as_analyst:
            become_analyst(connection, settings.analyst_role)
        elif connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar():
            # A read-only transaction still lets a superuser write files and run programs by COPY.
            connection.execute(text("SET LOCAL ROLE pg_read_all_data"))
        try:
            # Streamed, so that size does not matter; and by the protocol that takes one statement only, not a second
            # one that ends the read-only transaction. Closed whatever happens, a closed pipe included: a stream left
            # open holds the connection for ever.
            with (
                driver_of(connection).cursor() as cursor,
                closing(cast("Generator[Any]", cursor.stream(query, size=ROWS_AT_ONCE))) as rows,
            ):
                first = list(islice(rows, 1))
                # A stream without rows tells no columns.
                described = cursor if first else cursor.execute(query, prepare=True)
                names = [column.name for column in described.description or ()]
                _PRINTERS[form](names, chain(first, rows))
        except (Error, UnicodeError) as error:
            raise WarehouseError(f"the query failed: {str(error).strip().splitlines()[0]}") from None


def _print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)


def _print_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    click.echo(
        json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, ensure_ascii=False, indent=2)
    )


def _print_table(names: Sequence[str], found: Iterable[Sequence[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(found)
    table = Table(box=box.SIMPLE_HEAD)
    for position, name in enumerate(names):
        numeric = any(isinstance(row[position], (int, float)) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_printable(str(_plain(value))) for value in row))
    # A file or a pipe has no width: nothing is folded there.
    width = None if sys.stdout.isatty() else UNFOLDED
    console = Console(markup=False, highlight=False, emoji=False, width=width)
    console.print(table)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)


def _printable(text: str) -> str:
    """Without the control characters that a name may hold, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def _plain(value: Any) -> Any:
    """Empty for NULL, ISO 8601 for times; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


_PRINTERS = {"table": _print_table, "csv": _print_csv, "json": _print_json}
