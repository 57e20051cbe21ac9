"""Prints the rows of a query: as a table, as CSV without formulas for spreadsheets, as exact CSV, or as JSON."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from textwrap import indent
from typing import Any, Final

import click

from strava_pipeline.cli.console import add_row, new_table, print_table
from strava_pipeline.printable import printable_json
from strava_pipeline.spreadsheet_cells import plain_cell, safe_cell

Printer = Callable[[Sequence[str], Iterable[Sequence[Any]]], None]
# The csv module quotes a cell that holds one of these characters. With a line feed alone, a carriage return in a cell
# would stay unquoted, and readers would take it for the end of the row.
_ROW_END = "\r\n"


def print_as_table(names: Sequence[str], found: Iterable[Sequence[Any]]) -> None:
    """Print a table for people: each value in one line; the number of rows goes to stderr."""
    rows = list(found)
    numeric = [
        position for position in range(len(names)) if any(isinstance(row[position], (int, float)) for row in rows)
    ]
    table = new_table(names, numeric)
    for row in rows:
        add_row(table, *(str(plain_cell(value)) for value in row))
    print_table(table)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)


def print_as_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV for spreadsheets: an apostrophe stands before anything like a formula, and each row is one line."""
    _write(map(safe_cell, names), (map(safe_cell, row) for row in rows))


def print_as_exact_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV for programs: every text as it is stored, even if a terminal or a spreadsheet would act on it."""
    _write(names, (map(plain_cell, row) for row in rows))


def print_as_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print JSON for programs: exact, with JSON's types, row by row, so that any number of rows fits into memory."""
    before = "["
    for row in rows:
        shown = printable_json(dict(zip(names, row, strict=True)))
        click.echo(f"{before}\n{indent(shown, '  ')}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


PRINTERS: Final[dict[str, Printer]] = {
    "table": print_as_table,
    "csv": print_as_csv,
    "csv-exact": print_as_exact_csv,
    "json": print_as_json,
}


class _Lines:
    """The file that the csv module writes to: stdout, with a line feed at the end of each row."""

    def write(self, row: str) -> None:
        sys.stdout.write(f"{row.removesuffix(_ROW_END)}\n")


def _write(names: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    writer = csv.writer(_Lines(), lineterminator=_ROW_END)
    writer.writerow(names)
    writer.writerows(rows)
