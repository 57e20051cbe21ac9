"""docs/commands.md: a row for each command, with all of its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from strava_pipeline.cli import COMMANDS, cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
OPTION = re.compile(r"--[a-z-]+")
CONTEXT = click.Context(cli)


def commands(group: click.Group, names: list[str], path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command that is shown, with its long options; of a pair of opposites the first."""
    for name in names:
        command = group.get_command(CONTEXT, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, command.list_commands(CONTEXT), f"{path}{name} ")
        elif not command.hidden:
            options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
            yield f"{path}{name}", {max(option.opts, key=len) for option in options}


def test_each_command_has_a_row_with_all_its_options() -> None:
    shown = dict(commands(cli, sorted(COMMANDS)))
    rows = re.findall(r"^\| `([^`]+)` \| .+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {re.match(r"[a-z-]+(?: [a-z][a-z-]*)*", row)[0]: set(OPTION.findall(row)) for row in rows}  # type: ignore[index]
    assert len(told) == len(rows)
    assert told == shown
