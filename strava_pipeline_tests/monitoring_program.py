"""Prometheus, its Alertmanager and promtool, as they are on this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually


@contextmanager
def monitoring_program(name: str, arguments: Sequence[str], url: str, folder: Path) -> Iterator[None]:
    """Start a program, which is also the name of its package in Debian, and wait until it is ready at ``url``.

    Its log is in ``folder``; it is ended afterwards.
    """
    program = shutil.which(name)
    assert program is not None, f"no {name} on PATH: install it (Debian's package has that name)"
    log = folder / f"{name}.log"
    with (
        log.open("wb") as told,
        subprocess.Popen([program, *arguments, "--log.level=warn"], stdout=told, stderr=told) as process,
    ):

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            try:
                return requests.get(f"{url}/-/ready", timeout=PATIENCE_SECONDS).ok
            except requests.ConnectionError:
                return False

        try:
            eventually(is_ready, f"{name} that is ready")
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def promtool(*arguments: str, given: str | None = None) -> None:
    """Let promtool check something, perhaps what is ``given``; ``AssertionError`` with its words if it finds fault."""
    program = shutil.which("promtool")
    assert program is not None, "no promtool on PATH: install it (Debian's package is prometheus)"
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    # Of metrics it also tells what is merely bad style.
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
