"""Every command explains itself."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from strava_pipeline.cli import COMMANDS, cli


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_has_help_for_itself_and_each_option(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_list_of_commands_imports_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("importlib.import_module", refuse)
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in COMMANDS)


def test_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(cli, ["no-such-command"]).exit_code != 0
