"""What `up` becomes, with one service: ``python -m ...keep FOLDER CODE READY``; READY is a socket, or empty."""

from __future__ import annotations

import sys
from pathlib import Path

from strava_pipeline.local.keeper import Plan, become_keeper
from strava_pipeline.local.supervisor import Service


def main(folder: Path, code: str, ready: str) -> None:
    command = (sys.executable, "-c", code)
    service = Service("kept", command, folder / "kept.log", ready_socket=Path(ready) if ready else None)
    become_keeper(Plan([[service]], ["served"], None, "WARNING", "text"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
