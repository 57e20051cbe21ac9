"""Starts a kept server again, or releases it: ``python -m ... revive|release HOME SOCKET_DIR LOCK``.

A program of its own, since the process that keeps the server (:mod:`.kept_server`) should not load what this takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from strava_pipeline import redaction
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local import postgres
from strava_pipeline.local.kept_server import DONE, FAILED, MOVED, STARTED, ServerMoved


def main(action: str, home: str, socket_dir: str, lock: str) -> int:
    """Do the action with the inherited lock; returns the exit code, and prints the reason of a failure to stderr."""
    redaction.install()
    postgres.take_over_server(Path(home), Path(socket_dir), int(lock))
    try:
        if action == "release":
            postgres.release_server(Path(home))
            return DONE
        return STARTED if postgres.revive_server(Path(home)) else DONE
    except StravaPipelineError as error:
        sys.stderr.write(f"{error}\n")
        return MOVED if isinstance(error, ServerMoved) else FAILED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
