"""A supervisor in a process of its own: ``python -m ...supervise FOLDER`` runs one service until it is told to end."""

from __future__ import annotations

import sys
from pathlib import Path

from strava_pipeline.local.supervisor import Service, Supervisor

# Says its number, and waits for the end.
WAITING = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def main(folder: Path) -> None:
    with Supervisor() as supervisor:
        supervisor.start(Service("waiting", (sys.executable, "-c", WAITING), folder / "waiting.log"))
        supervisor.wait_until_ready()
        supervisor.watch()
    print("stopped", flush=True)  # noqa: T201  the parent reads it


if __name__ == "__main__":
    main(Path(sys.argv[1]))
