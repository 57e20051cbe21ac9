"""``strava-pipeline sql``: one query on the tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import click

from strava_pipeline.errors import WarehouseError
from strava_pipeline.settings import load_settings


@click.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True,
    help="How to print the rows.",
)  # fmt: skip
def sql(query: str, form: str) -> None:
    """Run QUERY, which may only read, and print its rows."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    from strava_pipeline.warehouse.migrate import open_warehouse

    engine = open_warehouse(load_settings())
    try:
        with engine.connect() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            result = connection.exec_driver_sql(query)
            if not result.returns_rows:
                raise WarehouseError("the statement returns no rows: sql runs queries only")
            names, rows = list(result.keys()), [tuple(row) for row in result]
    except DBAPIError as error:
        raise WarehouseError(f"the query failed: {str(error.orig).strip().splitlines()[0]}") from None
    _PRINTERS[form](names, rows)


def _print_csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)


def _print_json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    click.echo(
        json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, ensure_ascii=False, indent=2)
    )


def _print_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for position, name in enumerate(names):
        numeric = any(isinstance(row[position], (int, float)) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(_plain(value)) for value in row))
    console = Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(table)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)


def _plain(value: Any) -> Any:
    """Empty for NULL, ISO 8601 for times; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


_PRINTERS = {"table": _print_table, "csv": _print_csv, "json": _print_json}
