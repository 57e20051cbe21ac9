"""The bridge as it is served: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE

# With the time limits of operation, under which a busy machine refuses deliveries.
BRIDGE = (sys.executable, "-m", "strava_pipeline", "bridge", "--port", "0")
TOLD = "bridge listening on "


@contextmanager
def bridge_process(
    folder: Path, variables: Mapping[str, str], command: Sequence[str] = PATIENT_BRIDGE
) -> Iterator[str]:
    """Start a bridge with these variables beside those of this process, its log in ``folder``; yield its address."""
    log = folder / "bridge.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | variables
        ) as process,
    ):
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith(TOLD), log.read_text(encoding="utf-8")
        try:
            yield told.removeprefix(TOLD).strip()
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
