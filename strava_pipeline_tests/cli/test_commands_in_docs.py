"""Commands in the pages for users exist, and take the arguments that the pages give them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from strava_pipeline.cli import cli

ROOT = Path(__file__).parents[2]
PROGRAM = "strava-pipeline"
PAGES = sorted(page for place in ("README.md", "docs/*.md", "examples/*/README.md") for page in ROOT.glob(place))
BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(rf"`{PROGRAM} ([^`]+)`")
ASSIGNMENT = re.compile(r"[A-Z_]+=")
# Behind these words of a shell nothing is the command's.
ENDS = {"&", "|", ">", "&&", ";"}


def console_commands(text: str) -> Iterator[list[str]]:
    """The words behind ``strava-pipeline`` of each command line; one with an open quote goes on in the next line."""
    for block in BLOCK.findall(text):
        lines = iter(block.splitlines())
        for line in lines:
            prompt, _, command = line.strip().partition("$ ")
            if prompt or PROGRAM not in command:
                continue
            program, *words = [word for word in split(command, lines) if not ASSIGNMENT.match(word)]
            if program == PROGRAM:
                yield before_an_end(words)


def split(command: str, more: Iterator[str]) -> list[str]:
    while True:
        try:
            return shlex.split(command, comments=True)
        except ValueError:
            command += f"\n{next(more)}"


def before_an_end(words: list[str]) -> list[str]:
    return words[: next((at for at, word in enumerate(words) if word in ENDS), len(words))]


def parse(words: list[str]) -> None:
    """Parse a command as click does, without calling it. ``UsageError`` if it does not exist or refuses a word."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    command.make_context(name, list(words))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_of_a_page_are_understood(page: Path) -> None:
    for words in console_commands(page.read_text(encoding="utf-8")):
        try:
            parse(words)
        except click.UsageError as error:
            pytest.fail(f"{PROGRAM} {shlex.join(words)}: {error.message}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_a_text_exist(page: Path) -> None:
    for told in INLINE.findall(page.read_text(encoding="utf-8")):
        command: click.Command | None = cli
        for word in told.split():
            if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z-]+", word):
                break
            command = command.get_command(click.Context(cli), word)
            assert command is not None, told


def test_enough_command_lines_are_read() -> None:
    assert sum(len(list(console_commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 40


def test_a_command_that_nobody_has_would_be_found() -> None:
    text = '```console\n$ STRAVA_HOME=/x strava-pipeline sql "SELECT\n  1" --no-such-option   # a remark\n```\n'
    assert list(console_commands(text)) == [["sql", "SELECT\n  1", "--no-such-option"]]
    with pytest.raises(click.UsageError, match="no-such-option"):
        parse(["sql", "SELECT 1", "--no-such-option"])
    with pytest.raises(click.UsageError, match="no-such-command"):
        parse(["no-such-command"])
