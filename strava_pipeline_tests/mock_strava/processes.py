"""The mock in a process of its own, as its command serves it."""

from __future__ import annotations

import os
import subprocess
import sys

COMMAND = (sys.executable, "-m", "strava_pipeline", "mock-strava", "--months", "1", "--port")


def start(port: int, *options: str) -> subprocess.Popen[str]:
    """Start it."""
    return subprocess.Popen(
        [*COMMAND, str(port), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def read_until_ready(process: subprocess.Popen[str]) -> str:
    """All that is printed once it listens."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("a new ride"):
            return text
    raise AssertionError(text)
