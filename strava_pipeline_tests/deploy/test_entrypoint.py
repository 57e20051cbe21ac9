"""What the image runs for each part, and what its health check then asks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "container"
WORKSPACE = "/opt/strava-pipeline/workspace.yaml"
# Prints what it was called with.
STAND_IN = f'#!{sys.executable}\nimport sys\nprint("\\n".join(sys.argv[1:]))\n'
Run = Callable[..., list[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script of the image with a stand-in for our command; the words that this one gets."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "strava-pipeline").write_text(STAND_IN, encoding="utf-8")
    (programs / "strava-pipeline").chmod(0o755)
    note = tmp_path / "part"

    def run(script: str, *arguments: str, **variables: str) -> list[str]:
        text = (FOLDER / script).read_text(encoding="utf-8").replace("/tmp/strava-pipeline-part", str(note))  # noqa: S108
        done = subprocess.run(
            ["/bin/sh", "-c", text, script, *arguments],
            env={"PATH": f"{programs}:/usr/bin:/bin", "CODE_SERVER_PORT": "4000"} | variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("", "--help"),
        ("bridge", "bridge --host 0.0.0.0"),
        ("bridge --port 9", "bridge --host 0.0.0.0 --port 9"),
        ("migrate", "migrate"),
        ("daemon", f"dagster-exec dagster-daemon run -w {WORKSPACE}"),
        ("code-server", "dagster-exec strava-pipeline code-server --host 0.0.0.0 --port 4000"),
        ("webserver", f"dagster-exec strava-pipeline dagster-webserver --host 0.0.0.0 -w {WORKSPACE}"),
        (
            "webserver --port 9",
            f"dagster-exec strava-pipeline dagster-webserver --host 0.0.0.0 -w {WORKSPACE} --port 9",
        ),
        ("dagster api execute_run {}", "dagster-exec dagster api execute_run {}"),
        ("celery -A app", "dagster-exec celery -A app"),
        # Not Dagster's own webserver, which knows no login.
        ("dagster-webserver -w theirs", "dagster-webserver -w theirs"),
    ],
)
def test_a_part_is_a_command(run: Run, given: str, called: str) -> None:
    assert run("entrypoint", *given.split()) == called.split()


def test_words_stay_whole(run: Run) -> None:
    assert run("entrypoint", "sql", "SELECT 1 AS one") == ["sql", "SELECT 1 AS one"]


def test_dagsters_daemon_writes_json_if_our_parts_do(run: Run) -> None:
    assert "--log-format" not in run("entrypoint", "daemon", STRAVA_LOG_FORMAT="text")
    words = run("entrypoint", "daemon", STRAVA_LOG_FORMAT="json")
    assert words[words.index("--log-format") + 1] == "json"


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        ("bridge", ["health", "bridge"]),
        ("up", ["health", "bridge"]),
        ("webserver", ["health", "webserver"]),
        ("daemon", ["health", "daemon"]),
        ("code-server", ["health", "code-server", "--port", "4000"]),
        ("migrate", []),
    ],
)
def test_the_health_check_asks_for_the_part_that_runs(run: Run, part: str, asked: list[str]) -> None:
    run("entrypoint", part)
    assert run("healthcheck") == asked
