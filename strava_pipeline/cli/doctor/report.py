"""Prints settings and findings: for people, within the terminal's width, or as JSON."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from strava_pipeline.cli.doctor.examination import Examined
from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.cli.doctor.listing import UNSET, ListedSetting
from strava_pipeline.printable import WHOLE, printable

# Columns; longer lines are hard to read, and shorter ones hold no address.
NARROWEST, WIDEST = 60, 120
# Columns of the verdict, and of a check's name.
VERDICT, NAME = 4, 18
INDENT = " " * (VERDICT + 2 + NAME + 2)
COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


def print_settings(settings: Sequence[ListedSetting]) -> None:
    """Print the settings by subject, two lines each: name, value and source; then the meaning."""
    for subject, members in groupby(settings, lambda setting: setting.subject):
        click.secho(subject, bold=True)
        for setting in members:
            click.echo(f"  {setting.name}  {_safe(setting.value or UNSET)}  ({setting.source})")
            for line in _folded(setting.description, " " * 6, " " * 6):
                click.secho(line, dim=True)
        click.echo()


def print_examined(examined: Examined) -> None:
    """Print what a check found: verdict, name and message, then what to do."""
    for number, finding in enumerate(examined.findings):
        name = examined.check.name if number == 0 else ""
        head = f"{finding.verdict:{VERDICT}}  {name:{NAME}}  "
        first, *others = _folded(finding.message, head, INDENT)
        click.echo(click.style(first[:VERDICT], fg=COLOURS[finding.verdict]) + first[VERDICT:])
        for line in others:
            click.echo(line)
        if finding.what_to_do:
            for line in _folded(finding.what_to_do, f"{INDENT}-> ", f"{INDENT}   "):
                click.echo(line)


def as_json(settings: Sequence[ListedSetting], examined: Sequence[Examined]) -> dict[str, Any]:
    """Return all of it as one object; a check that found several things is there once for each."""
    return {
        "settings": [
            {name: getattr(setting, name) for name in ("name", "value", "source", "subject", "description")}
            for setting in settings
        ],
        "checks": [
            {
                "name": each.check.name,
                "verdict": finding.verdict,
                "message": finding.message,
                "what_to_do": finding.what_to_do,
            }
            for each in examined
            for finding in each.findings
        ],
    }


def _folded(text: str, first: str, others: str) -> Iterator[str]:
    """The lines of a text within the width; where stdout is no terminal, one line, which is easy to search."""
    safe = _safe(text)
    if not sys.stdout.isatty():
        yield f"{first}{safe}"
        return
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
    yield from textwrap.wrap(
        safe, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    ) or [first]


def _safe(text: str) -> str:
    return printable(text, WHOLE)
