"""Brings an athlete up to date: profile, gear, totals of the day, and zones."""

from __future__ import annotations

from typing import Any

from strava_pipeline.errors import MissingScope, NotAnswered, NotFound, RejectedRequest
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.mapping.athlete import athlete_row, gear_row, gear_rows, stats_rows, zone_rows
from strava_pipeline.sync.context import SyncContext, request_time
from strava_pipeline.warehouse.athletes.profiles import (
    store_athlete,
    store_gear,
    store_stats,
    store_zones,
    unknown_gear,
)
from strava_pipeline.warehouse.imports.histories import note_profile
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep import due

log = get_logger(__name__)

JsonObject = dict[str, Any]


def import_athlete(sync: SyncContext, athlete_id: int) -> int:
    """Store the athlete's profile, gear, totals and zones with three requests; returns the number of bikes and shoes.

    A bike or pair of shoes that only stored activities name costs one more request, once; upkeep asks for it again.
    Totals or zones that Strava refuses, or that do not map, are left out, and so is whatever alone is not answered.
    """
    on_profile = import_profile(sync, athlete_id)
    with sync.engine.begin() as connection:
        due.note_done_elsewhere(connection, athlete_id, UpkeepKind.PROFILE, after=due.PROFILE_EVERY)
        wanted = unknown_gear(connection, athlete_id)
    told = 0
    for gear_id in wanted:
        try:
            import_gear(sync, athlete_id, gear_id)
        except NotAnswered as error:
            # It stays unknown, so that the next import asks for it again.
            log.warning("gear %s of athlete %d is left out: %s", gear_id, athlete_id, error)
            continue
        except MissingScope as error:
            log.warning("gear of athlete %d is left out: %s", athlete_id, error)
            break
        told += 1
        with sync.engine.begin() as connection:
            due.note_done_elsewhere(connection, athlete_id, UpkeepKind.GEAR, gear_id, after=due.GEAR_EVERY)
    return on_profile + told


def import_profile(sync: SyncContext, athlete_id: int) -> int:
    """Store the athlete's profile with the gear on it, totals and zones; returns the number of bikes and shoes on it.

    Gear that it does not list is put on upkeep's list. Totals or zones that Strava refuses, that do not map, or that
    alone are not answered, are left out.
    """
    asked_at = request_time(sync)
    body = sync.client.get_athlete(athlete_id)
    gear = gear_rows(athlete_id, body)
    with sync.engine.begin() as connection:
        store_athlete(connection, athlete_row(body), asked_at)
        store_gear(connection, gear, asked_at)
        due.list_gear(connection, athlete_id, [row["id"] for row in gear])
    for what, import_more in (("totals", _import_stats), ("zones", _import_zones)):
        try:
            import_more(sync, athlete_id)
        except (MissingScope, NotFound, RejectedRequest, NotAnswered) as error:
            log.warning("%s of athlete %d are left out: %s", what, athlete_id, error)
    with sync.engine.begin() as connection:
        note_profile(connection, athlete_id, asked_at)
    return len(gear)


def import_gear(sync: SyncContext, athlete_id: int, gear_id: str) -> None:
    """Fetch and store a bike or pair of shoes that the profile does not list.

    Gear that Strava does not know is stored without a name, so that it counts as known; gear with a name keeps it.
    """
    asked_at = request_time(sync)
    row: JsonObject = {"id": gear_id, "athlete_id": athlete_id}
    try:
        row = gear_row(athlete_id, sync.client.get_gear(athlete_id, gear_id)) | row
    except (NotFound, RejectedRequest) as error:
        log.warning("gear %s of athlete %d is not told: %s", gear_id, athlete_id, error)
    with sync.engine.begin() as connection:
        store_gear(connection, [row], asked_at)


def _import_stats(sync: SyncContext, athlete_id: int) -> None:
    asked_at = request_time(sync)
    rows = stats_rows(athlete_id, sync.client.get_athlete_stats(athlete_id))
    with sync.engine.begin() as connection:
        store_stats(connection, rows, asked_at)


def _import_zones(sync: SyncContext, athlete_id: int) -> None:
    asked_at = request_time(sync)
    zones = zone_rows(athlete_id, sync.client.get_athlete_zones(athlete_id))
    with sync.engine.begin() as connection:
        for kind in store_zones(connection, athlete_id, zones, asked_at):
            log.info("athlete %d has new zones of %s", athlete_id, kind)
