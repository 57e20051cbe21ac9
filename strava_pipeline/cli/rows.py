"""Prints the rows of a query: as a table, as CSV that no spreadsheet computes, as exact CSV, and as JSON."""

from __future__ import annotations

import csv
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from textwrap import indent
from typing import Any, Final

import click

from strava_pipeline.cli.console import add_row, new_table, print_table
from strava_pipeline.printable import WHOLE, printable, printable_json

Printer = Callable[[Sequence[str], Iterable[Sequence[Any]]], None]
# What a spreadsheet takes for the beginning of a formula; other forms of these characters are folded into them.
_FORMULA = frozenset("=+-@\u2212")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
# csv quotes what holds a character of it; with a line feed alone a carriage return would end a row for who reads it.
_ROW_END = "\r\n"
# Where a semicolon parts the cells of a spreadsheet, one within a cell begins another; not in a face such as ;-)
_AFTER_SEMICOLON = re.compile(r"(;[\s\"']*)(?=(.)[^)\s])")


def print_as_table(names: Sequence[str], found: Iterable[Sequence[Any]]) -> None:
    """For people: each value in one line, and how many rows there are on stderr."""
    rows = list(found)
    numeric = [
        position for position in range(len(names)) if any(isinstance(row[position], (int, float)) for row in rows)
    ]
    table = new_table(names, numeric)
    for row in rows:
        add_row(table, *(str(_plain(value)) for value in row))
    print_table(table)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)


def print_as_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """For spreadsheets: what would be taken for a formula begins with an apostrophe, and each row is one line."""
    _write(map(safe_cell, names), (map(safe_cell, row) for row in rows))


def print_as_exact_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """For programs: every text as it is stored, whatever a terminal or a spreadsheet would make of it."""
    _write(names, (map(_plain, row) for row in rows))


def print_as_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """For programs: exact, with the types that JSON has; row by row, so that size does not matter."""
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


def safe_cell(value: Any) -> Any:
    """A number as it is, anything else as one printable line that no spreadsheet computes."""
    if isinstance(value, (int, float, Decimal)):
        return value
    text = printable(str(_plain(value)), WHOLE)
    if _NUMBER.fullmatch(text):
        return text
    text = _AFTER_SEMICOLON.sub(lambda found: f"{found[1]}'" if _begins_formula(found[2]) else found[1], text)
    return f"'{text}" if _begins_formula(text.lstrip()) else text


def _begins_formula(text: str) -> bool:
    # Full-width and small forms too: what imports a file may fold them.
    return unicodedata.normalize("NFKC", text[:1])[:1] in _FORMULA


class _Lines:
    """Where csv writes rows: to stdout, each with a line feed at its end."""

    def write(self, row: str) -> None:
        sys.stdout.write(f"{row.removesuffix(_ROW_END)}\n")


def _write(names: Iterable[Any], rows: Iterable[Iterable[Any]]) -> None:
    writer = csv.writer(_Lines(), lineterminator=_ROW_END)
    writer.writerow(names)
    writer.writerows(rows)


def _plain(value: Any) -> Any:
    """Empty for NULL, ISO 8601 for times, JSON for lists and objects; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime) else value.isoformat()
    return printable_json(value, indent=None) if isinstance(value, (dict, list)) else value
