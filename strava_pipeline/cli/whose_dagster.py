"""Whose Dagster the commands work with: our own, whose storage they open, or somebody else's, which they ask.

A host's instance is never opened by a command, and nothing is changed in its storage: the host's webserver does what
it is asked for.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.dagster_home import INSTANCE_FILE, has_instance
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from webhook_bridge.dagster_server import DagsterServer

# As our own dagster.yaml names it; it is not imported, since a host has no need of what it is made with.
OUR_STORAGE: Final = "strava_pipeline.defs.dagster_storage"


def hosts_dagster(settings: Settings) -> DagsterServer | None:
    """Return the webserver of the host's Dagster that has our definitions; ``None`` where Dagster is our own.

    It is a host's if the folder ``DAGSTER_HOME`` has no ``dagster.yaml`` with our storage, or if the webserver has our
    definitions as a guest. ``DagsterUnavailable`` if a host's does not answer.
    """
    from webhook_bridge.dagster_place import NoPlace, find_place, look_for_place
    from webhook_bridge.dagster_server import GLANCE_SECONDS, DagsterServer, DagsterUnavailable

    if has_hosts_storage(settings):
        dagster = DagsterServer.from_settings(settings)
        find_place(dagster)
        return dagster
    may_be_own = can_have_our_storage()
    if settings.token_keys is None and may_be_own:
        return None
    dagster = DagsterServer.from_settings(settings)
    try:
        place = look_for_place(dagster, GLANCE_SECONDS)
    except DagsterUnavailable as error:
        # A webserver without our jobs is a host's, unless our own has not loaded them.
        is_hosts = isinstance(error, NoPlace) and not has_instance(settings)
        if is_hosts or not may_be_own or _is_elsewhere(settings):
            raise
        return None  # our own, which works without its webserver
    return None if place.is_own else dagster


def can_have_our_storage() -> bool:
    """Whether what our storage for Dagster is made with is installed: without it, no Dagster here is our own."""
    return find_spec("dagster_postgres") is not None


def has_hosts_storage(settings: Settings) -> bool:
    """Whether the folder ``DAGSTER_HOME`` has another storage than ours, and so is somebody else's.

    Without a ``dagster.yaml`` it has Dagster's default, SQLite in the folder. ``ConfigurationError`` for one that is
    no YAML.
    """
    home = settings.dagster_home
    if home is None or not home.is_dir():
        return False
    if not (home / INSTANCE_FILE).is_file():
        return True
    return _storage_module(home / INSTANCE_FILE) != OUR_STORAGE


def _storage_module(instance_file: Path) -> str | None:
    """The module of the storage that a ``dagster.yaml`` has, if that is none of Dagster's kinds.

    ``ConfigurationError`` for a file that is no YAML.
    """
    try:
        # A host's may name the variable of our storage's address, too: by chance, or in a comment.
        found: Any = yaml.safe_load(instance_file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{instance_file} is not usable: {str(error).splitlines()[0]}") from None
    for key in ("storage", "custom", "module"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def _is_elsewhere(settings: Settings) -> bool:
    """Whether the settings name a webserver on another machine, and nothing of Dagster's on this one."""
    host = urlsplit(settings.dagster_webserver_url).hostname
    return host not in LOOPBACK_HOSTS and settings.dagster_home is None and settings.dagster_postgres_url is None
