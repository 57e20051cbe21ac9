"""Takes the lock of Dagster's storage anew, and passes on its socket: ``python -m ... DESCRIPTOR PROCESS``.

A program of its own, since the process that keeps the lock (:mod:`strava_pipeline.local.kept_lock`) should not load
what this takes. ``DESCRIPTOR``: a Unix socket to that process, whose number is ``PROCESS``.
"""

from __future__ import annotations

import os
import socket
import sys

from strava_pipeline import redaction
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local.kept_lock import TAKEN, StorageTaken
from strava_pipeline.local.kept_server import DONE, FAILED
from strava_pipeline.warehouse.storage_lock import take_storage_lock


def main(descriptor: int, process: int) -> int:
    """Pass on the lock; returns the exit code if that fails, and prints the reason to stderr."""
    redaction.install()
    try:
        lock = take_storage_lock(command_settings(), again_for=process)
    except StravaPipelineError as error:
        sys.stderr.write(f"{error}\n")
        return TAKEN if isinstance(error, StorageTaken) else FAILED
    with socket.socket(fileno=descriptor) as keeper:
        socket.send_fds(keeper, [b"."], [lock.descriptor])
    # At an ordinary end the driver would tell the server to close the connection.
    os._exit(DONE)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
