"""Commands that hold keys leave no core behind, nor does what they start; importing them changes nothing."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strava_pipeline_tests.eventually import PATIENCE_SECONDS

# As generous as the machine allows, in a folder that a core would be written to.
GENEROUS = 'ulimit -S -c $(ulimit -H -c); exec "$@"'
COMMAND = (sys.executable, "-m", "strava_pipeline", "mock-strava", "--port", "0")
OTHER = (sys.executable, "-c", "print('listening on nothing', flush=True); import signal; signal.pause()")


@contextmanager
def running(folder: Path, command: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """A command that has said that it listens."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", GENEROUS, "sh", *command], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any("listening on " in line for line in process.stdout)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def core_limits(pid: int) -> list[str]:
    found = re.search(r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert found
    return list(found.groups())


def leaves_a_core(folder: Path, command: tuple[str, ...], number: signal.Signals) -> bool:
    folder.mkdir()
    with running(folder, command) as process:
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == -number
    return any(folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_command_that_dies_leaves_no_core(tmp_path: Path, number: signal.Signals) -> None:
    assert not leaves_a_core(tmp_path / "ours", COMMAND, number)
    # Where cores are plain files, and allowed, another program does leave one.
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    plain = "/" not in pattern and not pattern.startswith(("|", "@")) and pattern
    allowed = resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    assert leaves_a_core(tmp_path / "other", OTHER, number) == bool(plain and allowed)


def test_nothing_that_a_command_starts_can_allow_it_again(tmp_path: Path) -> None:
    """Less than a page, so that no file is made; 1, at which the kernel hands no core to a program either."""
    with running(tmp_path, COMMAND) as process:
        limits = core_limits(process.pid)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert limits == (["0", "0"] if hard == 0 else ["1", "1"])


@pytest.mark.parametrize(
    "module",
    ["strava_pipeline.cli", "strava_pipeline.definitions", "webhook_bridge.app", "strava_pipeline.local.postgres"],
)
def test_importing_changes_nothing_in_the_process(module: str) -> None:
    code = (
        "import os, resource, signal\n"
        "def state():\n"
        "    mask = os.umask(0o22)\n"
        "    os.umask(mask)\n"
        "    handlers = [signal.getsignal(number) for number in (1, 2, 15)]\n"
        "    return mask, resource.getrlimit(resource.RLIMIT_CORE), handlers\n"
        "before = state()\n"
        f"import {module}\n"
        "assert state() == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, umask=0o002, check=False
    )
    assert done.returncode == 0, done.stderr
