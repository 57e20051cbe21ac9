"""Makes the operator's token where none is set, and adds it to the settings file."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import home_from_environment, settings_file
from strava_pipeline.local import private_files

VARIABLE = "STRAVA_OPERATOR_TOKEN"
TOKEN_BYTES = 32
COMMENT = "# Opens the operator's page and Dagster's UI."


def new_token() -> str:
    """A token of 256 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def ensure_operator_token() -> bool:
    """Add a token to the settings file if none is set anywhere; returns whether one was added.

    ``ConfigurationError`` if the file cannot be written. The file is replaced as a whole: a reader, and the next
    start after a crash, finds the old file or the new one. Of two processes at once, one makes the token.
    """
    if command_settings().operator_token is not None:
        return False
    home = home_from_environment()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone_in(home):
            if command_settings().operator_token is not None:
                return False
            _append(settings_file(home).resolve(), f"{COMMENT}\n{VARIABLE}={new_token()}\n")
    except OSError as error:
        raise ConfigurationError(
            f"{VARIABLE} is not set, and one cannot be added to {settings_file(home)} ({error.strerror}): set it"
        ) from None
    return True


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time into the block; the lock ends with the process at the latest."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, text: str) -> None:
    """Replace the file by a copy with ``text`` at its end, readable by its owner alone."""
    before = path.read_bytes() if path.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    # When root runs this, the file keeps its owner.
    owner = (path.stat().st_uid, path.stat().st_gid) if path.exists() else None
    private_files.write_atomically(path, before + text.encode(), owner)
