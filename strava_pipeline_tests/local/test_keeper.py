"""The program that stays behind ``up``: what it says, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

WAITING = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


@contextmanager
def kept(folder: Path, code: str, ready: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "strava_pipeline_tests.local.keep", str(folder), code, ready]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process


def service_of(folder: Path) -> psutil.Process:
    log = folder / "kept.log"
    eventually(lambda: log.exists() and log.read_text().endswith("\n"), "a service")
    return psutil.Process(int(log.read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_that_everything_is_served_and_ends_it_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with kept(tmp_path, WAITING) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "served\n"
        service = service_of(tmp_path)
        assert service.ppid() == process.pid
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "stopped\n")
    assert process.returncode == 0
    assert not service.is_running()


def test_a_signal_before_everything_is_served_ends_what_has_begun(tmp_path: Path) -> None:
    with kept(tmp_path, WAITING, str(tmp_path / "never")) as process:
        service = service_of(tmp_path)
        process.terminate()
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")
    assert process.returncode == 128 + signal.SIGTERM
    assert not service.is_running()


def test_a_service_that_ends_is_told_in_one_line(tmp_path: Path) -> None:
    with kept(tmp_path, "raise SystemExit('no such table')", str(tmp_path / "never")) as process:
        told = process.communicate(timeout=PATIENCE_SECONDS)
    log = tmp_path / "kept.log"
    assert told == ("", f"strava-pipeline: kept ended with exit code 1: no such table (log: {log})\n")
    assert process.returncode == 1
