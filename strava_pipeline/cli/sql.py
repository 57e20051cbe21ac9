"""``strava-pipeline sql``: one query on the tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from textwrap import indent
from typing import Any

import click

from strava_pipeline.settings import load_settings

SECONDS = 120.0
# A table is held in memory until its columns are as wide as they have to be.
ROWS_IN_TABLE = 10_000
CHARACTERS_IN_TABLE = 50_000_000
UNFOLDED = 100_000


@click.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True,
    help="How to print the rows.",
)  # fmt: skip
@click.option("--as-analyst", is_flag=True, help="See what the analysts' role sees: schema strava and nothing else.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
    help="How long it may take in all, until the last row is printed, s.",
)  # fmt: skip
def sql(query: str, form: str, as_analyst: bool, timeout: float) -> None:
    """Run QUERY, one that may only read, and print its rows; a table shows the first 10,000 of them."""
    from strava_pipeline.logins import Login
    from strava_pipeline.warehouse.engine import sql_url
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.read_only_query import Cut, answering

    settings = load_settings()
    with open_warehouse(settings):
        url = sql_url(settings, Login.SQL_AS_ANALYST if as_analyst else Login.SQL)
        with answering(url, query, timeout) as answer:
            if form != "table":
                _PRINTERS[form](answer.names, answer.rows)
                return
            held = Cut(answer.rows, ROWS_IN_TABLE, CHARACTERS_IN_TABLE)
            _print_table(answer.names, held)
            if held.is_short:
                click.echo("there are more rows, which a table does not show: use --format csv or json", err=True)


def _print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)


def _print_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Row by row, so that size does not matter."""
    before = "["
    for row in rows:
        shown = json.dumps(dict(zip(names, row, strict=True)), default=str, ensure_ascii=False, indent=2)
        click.echo(f"{before}\n{indent(shown, '  ')}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


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
