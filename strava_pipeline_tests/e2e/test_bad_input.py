"""Whatever is wrong ends in one clear line on stderr and a non-zero exit, with nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strava_pipeline.keyring import generate_key
from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port

MONTHS = ("--from", "2025-10", "--to", "2025-10")


def refusal(installation: Installation, *arguments: str, **variables: str) -> str:
    """The one line with which a command refuses."""
    done = installation.call(*arguments, **variables)
    lines = done.stderr.strip().splitlines()
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_unknown_athlete(installation: Installation) -> None:
    assert refusal(installation, "api", "/athlete", "--athlete", "5").endswith(
        "athlete 5 is not connected: run strava-pipeline connect"
    )
    assert "athlete 5 is not connected" in refusal(installation, "backfill", "--athlete", "5", *MONTHS)


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (("connect", "--code", "x"), "STRAVA_CLIENT_SECRET"),
        (("connect", "--code", "x"), "STRAVA_TOKEN_KEYS"),
        (("api", "/athlete", "--athlete", "5"), "STRAVA_TOKEN_KEYS"),
        (("bridge", "--port", "0"), "STRAVA_WEBHOOK_SIGNING_SECRETS"),
        (("up",), "STRAVA_WEBHOOK_VERIFY_TOKEN"),
    ],
)
def test_missing_setting_is_named(installation: Installation, arguments: tuple[str, ...], variable: str) -> None:
    del installation.environment[variable]
    assert f"{variable} is not set" in refusal(installation, *arguments)


def test_unusable_setting_is_named_and_not_shown(installation: Installation) -> None:
    line = refusal(installation, "sql", "SELECT 1", STRAVA_TOKEN_KEYS="k:short", STRAVA_QUOTA_SHORT_LIMIT="many")
    assert "STRAVA_QUOTA_SHORT_LIMIT" in line
    assert "many" not in line


def test_wrong_key_is_refused_before_any_request(connected: Installation) -> None:
    other = generate_key()
    athlete = str(recordings.ATHLETE_ID)
    for command in (("api", "/athlete", "--athlete", athlete), ("backfill", "--athlete", athlete, *MONTHS)):
        line = refusal(connected, *command, STRAVA_TOKEN_KEYS=other)
        assert "STRAVA_TOKEN_KEYS lacks" in line
        assert other.split(":")[1] not in line
    assert connected.output("sql", "SELECT count(*) FROM ops.api_calls", "--format", "csv") == "count\n0\n"


def test_unreachable_strava(connected: Installation) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    athlete = str(recordings.ATHLETE_ID)
    line = refusal(connected, "api", "/athlete", "--athlete", athlete, STRAVA_API_URL=nowhere)
    assert "Strava cannot be reached" in line
    line = refusal(connected, "connect", "--code", "x", STRAVA_OAUTH_URL=nowhere)
    assert "Strava cannot be reached" in line
    assert connected.output("sql", "SELECT count(*) FROM ops.users", "--format", "csv") == "count\n1\n"


def test_used_code_is_refused_and_stores_nobody(installation: Installation, start_mock: Callable[..., Mock]) -> None:
    start_mock()
    assert "400" in refusal(installation, "connect", "--code", "no-such-code")
    assert installation.output("sql", "SELECT count(*) FROM ops.users", "--format", "csv") == "count\n0\n"


@pytest.mark.parametrize("command", [("migrate",), ("sql", "SELECT 1"), ("api", "/athlete", "--athlete", "5")])
def test_database_away(installation: Installation, command: tuple[str, ...]) -> None:
    line = refusal(installation, *command, STRAVA_DATABASE_URL=f"postgresql://me:pa55@127.0.0.1:{free_port()}/x")
    assert "is away" in line
    assert "pa55" not in line


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--from", "2025-13", "--to", "2025-10"), "--from 2025-13: give a month"),
        (("--from", "2025-11", "--to", "2025-10"), "--from 2025-11 is after --to 2025-10"),
        (("--from", "2025-10", "--to", "2999-01"), "--to 2999-01 is in the future"),
        (("--from", "1999-10", "--to", "2025-10"), "before STRAVA_HISTORY_START"),
        ((*MONTHS, "--assets", "activities,nothing"), "choose from"),
    ],
)
def test_unusable_months_and_assets(installation: Installation, arguments: tuple[str, ...], reason: str) -> None:
    assert reason in refusal(installation, "backfill", "--athlete", "5", *arguments)


def test_a_query_that_writes_or_fails_is_refused(installation: Installation) -> None:
    assert "sql runs one SELECT" in refusal(installation, "sql", "DELETE FROM ops.users")
    assert 'relation "nothing" does not exist' in refusal(installation, "sql", "SELECT * FROM nothing")


def test_a_reader_that_leaves_ends_a_long_query(installation: Installation) -> None:
    process = installation.start(
        "sql", "SELECT g, repeat('x', 200) FROM generate_series(1, 300000) AS g", "--format", "csv"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "g,repeat\n"
    process.stdout.close()
    assert process.wait(PATIENCE_SECONDS) != 0


def test_an_unusable_home_or_instance_is_told_in_one_line(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in refusal(installation, "init", STRAVA_HOME=str(tmp_path / "file"))
    (tmp_path / "dagster.yaml").write_text("nonsense: [")
    line = refusal(installation, "connect", "--code", "x", DAGSTER_HOME=str(tmp_path))
    assert "dagster.yaml is not usable" in line
