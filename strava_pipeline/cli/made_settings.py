"""Makes secrets that the pipeline can choose itself, where none is set, and adds them to the settings file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import home_from_environment, settings_file
from strava_pipeline.local import private_files
from strava_pipeline.settings import Settings, variable_name

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True)
class Made:
    """A setting that is made: its field, the comment above it in the settings file, and how a value is made."""

    field: str
    comment: str
    new: Callable[[], str]

    @property
    def variable(self) -> str:
        """Name of its variable."""
        return variable_name(self.field)


def ensure(made: Made) -> bool:
    """Add a value to the settings file if none is set anywhere; returns whether one was added.

    ``ConfigurationError`` if the file cannot be written. The file is replaced as a whole: a reader, and the next
    start after a crash, finds the old file or the new one. Of two processes at once, one makes the value.
    """
    if getattr(command_settings(), made.field) is not None:
        return False
    home = home_from_environment()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone_in(home):
            if getattr(command_settings(), made.field) is not None:
                return False
            _append(settings_file(home).resolve(), f"# {made.comment}\n{made.variable}={made.new()}\n")
    except OSError as error:
        raise ConfigurationError(
            f"{made.variable} is not set, and one cannot be added to {settings_file(home)} ({error.strerror}): set it"
        ) from None
    return True


def with_token_keys(settings: Settings, engine: Engine) -> Settings:
    """Return the settings with keys: where no app is set up and no token was ever stored, they are made.

    Before that nobody misses a key: an operator who has one elsewhere has an app as well. Other settings are returned
    as they are, and so are those of a container, whose settings file no other one shares.
    """
    from strava_pipeline.keyring import generate_key
    from strava_pipeline.warehouse.engine import autocommit
    from strava_pipeline.warehouse.tokens.key_checks import read_use

    has_app = settings.client_id is not None or settings.client_secret is not None
    if settings.token_keys is not None or has_app or not settings.keeps_data_in_home:
        return settings
    with autocommit(engine) as connection:
        use = read_use(connection)
    if use.check_values or use.needed():
        return settings
    ensure(Made("token_keys", "Keep a copy of the keys: without them the stored tokens are lost.", generate_key))
    return settings.model_copy(update={"token_keys": command_settings().token_keys})


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
