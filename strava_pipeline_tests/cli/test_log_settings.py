"""Commands log from the level on, and in the form, that the settings say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from strava_pipeline.home import settings_file
from strava_pipeline.settings import Settings
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

# A command, then a line of each level.
PROGRAM = """
import logging
from strava_pipeline.cli import cli
cli(["athletes", "list"], standalone_mode=False)
for level in ("debug", "info", "warning", "error"):
    getattr(logging.getLogger("some.library"), level)("a line")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *arguments),
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture
def set_level(settings: Settings) -> Callable[[str], None]:
    """Writes the level into the settings file."""

    def write(level: str) -> None:
        settings.home.mkdir(mode=0o700, exist_ok=True)
        settings_file(settings.home).write_text(f"STRAVA_LOG_LEVEL={level}\n", encoding="utf-8")

    return write


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_command_logs_from_the_level_in_the_settings_file(
    set_level: Callable[[str], None], level: str, shown: int
) -> None:
    set_level(level)
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    lines = [line for line in told.stderr.splitlines() if line.endswith("some.library: a line")]
    assert len(lines) == shown
    assert all(re.match(r"\S+ \S+ [A-Z]+ some.library: ", line) for line in lines)


def test_a_level_that_is_none_is_told_and_keeps_nobody_from_help(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_LOG_LEVEL", "LOUD")
    for arguments in (("athletes", "list"), ("bridge", "--port", "0")):
        told = run("-m", "strava_pipeline", *arguments)
        assert told.returncode == 1
        assert told.stderr.startswith("strava-pipeline: STRAVA_LOG_LEVEL is not usable: Input should be ")
    assert run("-m", "strava_pipeline", "athletes", "list", "--help").returncode == 0


def test_in_json_a_command_logs_objects_and_a_server_tells_its_beginning_and_end_as_objects(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_LOG_FORMAT", "json")
    told = run("-c", PROGRAM)
    assert [json.loads(line)["level"] for line in told.stderr.splitlines()] == ["WARNING", "ERROR"]
    monkeypatch.delenv("STRAVA_WEBHOOK_VERIFY_TOKEN")
    (line,) = run("-m", "strava_pipeline", "bridge", "--port", "0").stderr.splitlines()
    assert json.loads(line)["message"].startswith("strava-pipeline: STRAVA_WEBHOOK_VERIFY_TOKEN is not set")
    # What a command answers to a person stays text.
    assert run("-m", "strava_pipeline", "quota", "--nonsense").stderr.startswith("Usage: ")
