"""Faults that only a process on the spot can see: its disks, its keys, and whether Strava's new host answers it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.local.disk import local_disks
from strava_pipeline.settings import Settings
from strava_pipeline.strava.new_host import MOVES_ON, SPELLINGS, ApiProbe, probe_api, uses_old_host
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.tokens.key_checks import read_use
from strava_pipeline.warehouse.watch.findings import Finding

# Time enough to plan a restart, and not so much that the alert is forgotten.
TOLD_BEFORE = timedelta(weeks=6)


def full_disks(settings: Settings) -> list[Finding]:
    """Return what is found of disks without room; none if all have some."""
    full = [f"{disk.what} at {disk.path}" for disk in local_disks(settings) if disk.is_full]
    return [Finding("disk_full", f"no room is left for {'; '.join(full)}")] if full else []


def wrong_keys(engine: Engine, keyring: Keyring) -> list[Finding]:
    """Return what is found of keys that stored tokens need, and this process lacks or has otherwise."""
    with autocommit(engine) as connection:
        use = read_use(connection)
    told = [f"key {key_id} is missing" for key_id in use.missing(keyring)]
    told += [f"key {key_id} is another one" for key_id in use.different(keyring)]
    return [Finding("keys_missing", f"STRAVA_TOKEN_KEYS: {', '.join(told)}")] if told else []


def new_host(
    settings: Settings, today: date, probe: Callable[[str, Path | None], ApiProbe] = probe_api
) -> list[Finding]:
    """Return that Strava's API is about to move, or has moved, once its new address answers this process."""
    if not uses_old_host(settings.api_url) or today < MOVES_ON - TOLD_BEFORE:
        return []
    answering = [url for url in SPELLINGS if probe(url, settings.ca_bundle).is_api]
    return [Finding("new_api_host", f"the new API answers at {answering[0]}")] if answering else []
