"""docs/containers.md says which variable which part needs, as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strava_pipeline.cli import COMMANDS
from strava_pipeline.local.services import BRIDGE_SECRETS, CODE_SERVER_SECRETS, DAEMON_SECRETS, WEBSERVER_SECRETS
from strava_pipeline.settings import Settings, secret_variables, variable_name
from strava_pipeline_tests.setting_uses import settings_reached_by

PAGE = (Path(__file__).parents[2] / "docs" / "containers.md").read_text(encoding="utf-8")
PARTS = ("code server", "run", "daemon", "webserver", "bridge")
# Where the code of a part begins. All commands read the settings of logs.
BEGINNINGS = {
    "code server": (
        "strava_pipeline.definitions",
        "strava_pipeline.cli.code_server",
        "strava_pipeline.cli.dagster_exec",
    ),
    "run": ("strava_pipeline.definitions", "strava_pipeline.cli.dagster_exec"),
    "daemon": ("strava_pipeline.cli.dagster_exec", "strava_pipeline.defs.dagster_storage"),
    "webserver": ("strava_pipeline.cli.dagster_webserver", "strava_pipeline.cli.dagster_exec"),
    "bridge": ("strava_pipeline.cli.bridge",),
}
# The image's entrypoint hands it to Dagster's own programs.
BY_THE_ENTRYPOINT = {"STRAVA_LOG_FORMAT"}
OF_LOGS = {"STRAVA_LOG_LEVEL", "STRAVA_LOG_FORMAT"}


def table() -> dict[str, dict[str, str]]:
    """The marks of each variable by part; the last cell is about commands."""
    section = PAGE.partition("## Which variable which part needs")[2].partition("\n## ")[0]
    head = f"| variable | {' | '.join(PARTS)} | commands |"
    assert head in section
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows)
    columns = (*PARTS, "commands")
    return {name: dict(zip(columns, (cell.strip() for cell in cells.split("|")), strict=True)) for name, cells in rows}


def marked(part: str) -> set[str]:
    """The variables that a part reads, by the page."""
    return {name for name, marks in table().items() if marks[part]}


def test_each_setting_stands_there_and_somebody_reads_it() -> None:
    assert {*table()} == {variable_name(field) for field in Settings.model_fields}
    for name, marks in table().items():
        assert any(marks.values()), name
        assert {marks[part] for part in PARTS} <= {"", "○", "●"}


@pytest.mark.parametrize(
    ("parts", "secrets"),
    [
        (("code server", "run"), CODE_SERVER_SECRETS),
        (("daemon",), DAEMON_SECRETS),
        (("webserver",), WEBSERVER_SECRETS),
        (("bridge",), BRIDGE_SECRETS),
    ],
)
def test_a_part_is_said_to_read_the_secrets_that_up_gives_it(parts: tuple[str, ...], secrets: frozenset[str]) -> None:
    assert set[str]().union(*map(marked, parts)) & secret_variables() == secrets


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_said_to_read_only_what_its_code_names(part: str) -> None:
    reached = {variable_name(field) for field in settings_reached_by(*BEGINNINGS[part])}
    assert marked(part) - reached - BY_THE_ENTRYPOINT - (OF_LOGS if part == "webserver" else set()) == set()


def test_what_no_part_reads_is_not_reached_by_chance_alone() -> None:
    """The reading of the code tells parts apart."""
    assert "metrics_token" not in settings_reached_by(*BEGINNINGS["run"])
    assert "import_batch_size" not in settings_reached_by(*BEGINNINGS["bridge"])
    assert {"mail_max_age_hours", "lake_url", "data_in_home"} <= settings_reached_by(*BEGINNINGS["run"])


def test_the_commands_are_commands() -> None:
    for marks in table().values():
        for command in re.findall(r"`([a-z-]+)[^`]*`", marks["commands"]):
            assert command in COMMANDS
