"""Prints the commands' lines, tables and JSON, without any character of others' texts that a terminal would obey."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.printable import WHOLE, printable, printable_json

if TYPE_CHECKING:
    from rich.table import Table

# Columns of a file or a pipe: so wide that no cell is folded.
UNFOLDED = 100_000


def say(text: str, *, err: bool = False) -> None:
    """Print one line that may hold texts of others; with ``err`` to stderr."""
    click.echo(printable(text, WHOLE), err=err)


def say_json(value: Any) -> None:
    """Print a value as exact JSON; characters that are not printable are escaped."""
    click.echo(printable_json(value))


def new_table(headings: Sequence[str], numeric: Sequence[int] = (), *, title: str | None = None) -> Table:
    """An empty table. ``numeric``: the positions of the columns that are aligned to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for position, heading in enumerate(headings):
        justify: Any = "right" if position in numeric else "left"
        table.add_column(printable(heading, WHOLE), justify=justify, overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add one row, each cell in one line."""
    table.add_row(*(printable(cell, WHOLE) for cell in cells))


def print_table(table: Table) -> None:
    """Print a table within the terminal's width; where stdout is no terminal, as wide as its cells."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else UNFOLDED
    # Cells hold texts of others, so markup in them must have no effect.
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)
