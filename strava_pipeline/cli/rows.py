"""Prints the rows of a query: as a table, as CSV without formulas for spreadsheets, as exact CSV, or as JSON."""

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
# The signs = + - @ and minus, with which a formula begins, in every form that a spreadsheet may convert into one.
_SIGN = re.compile(
    "[-=+@\u2212\ufe63\uff0d\u207b\u208b\ufe66\uff1d\u207c\u208c\u2a75\u2a76\ufe62\uff0b\u207a\u208a\ufb29\ufe6b\uff20]"
)
# Characters at which a reader may split a line into cells, whichever separator was written; tabs are spaces by then.
_SEPARATORS = frozenset(';,|"\u037e\ufe14\ufe54\uff1b\ufe10\ufe50\uff0c\uff5c\uff02')
_SEPARATOR = re.compile(f"[{''.join(sorted(_SEPARATORS))}]")
# Characters that a cell may skip, though their category does not say so: Braille's blank, a null note head, quotes.
_BLANKS = frozenset("\u2800\U0001d159'`\u00b4\uff07<>")
# Unicode categories that a cell may skip at its beginning: blanks, controls, marks, brackets and quotes.
_SKIPPED_KINDS = frozenset({"Z", "C", "M", "Ps", "Pe", "Pi", "Pf"})
_CLOSING = " )]}"
_FACE = re.compile(r"-[()DPp](?!\S)")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
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
        add_row(table, *(str(_plain(value)) for value in row))
    print_table(table)
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)


def print_as_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV for spreadsheets: an apostrophe stands before anything like a formula, and each row is one line."""
    _write(map(safe_cell, names), (map(safe_cell, row) for row in rows))


def print_as_exact_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV for programs: every text as it is stored, even if a terminal or a spreadsheet would act on it."""
    _write(names, (map(_plain, row) for row in rows))


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


def safe_cell(value: Any) -> Any:
    """A number unchanged, any other value as one printable line that no spreadsheet takes for a formula."""
    if isinstance(value, (int, float, Decimal)):
        return value
    text = printable(str(_plain(value)), WHOLE)
    if _NUMBER.fullmatch(text):
        return text
    return _without_formulas(text)


def _without_formulas(text: str) -> str:
    """The text with an apostrophe before each sign that could begin a formula, if the text were split into cells."""
    pieces, done = [], 0
    for sign in _SIGN.finditer(text):
        position = sign.start()
        before = _before(text, position)
        if before >= 0 and text[before] not in _SEPARATORS:
            continue
        if _is_plain(text, before, position):
            continue
        place = position if before >= 0 else 0
        pieces += [text[done:place], "'"]
        done = place
    return "".join([*pieces, text[done:]])


def _before(text: str, position: int) -> int:
    """The position of the last character before this one that a cell does not skip at its beginning; -1 if none."""
    position -= 1
    while position >= 0 and text[position] not in _SEPARATORS and _is_skipped(text[position]):
        position -= 1
    return position


def _is_skipped(char: str) -> bool:
    if char.isascii() and char.isalnum():
        return False
    kind = unicodedata.category(char)
    return char in _BLANKS or kind in _SKIPPED_KINDS or kind[0] in _SKIPPED_KINDS


def _is_plain(text: str, before: int, position: int) -> bool:
    """Whether the sign begins no formula, but a number within the text, or belongs to a face such as ``;-)``."""
    if before < 0 and not text[:position].strip():
        return False
    if before == position - 1 and text[before] == ";" and _FACE.match(text, position):
        return True
    end = _SEPARATOR.search(text, position)
    return _NUMBER.fullmatch(text[position : end.start() if end else None].rstrip(_CLOSING)) is not None


class _Lines:
    """The file that the csv module writes to: stdout, with a line feed at the end of each row."""

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
