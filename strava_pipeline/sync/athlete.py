"""Brings an athlete up to date: profile, gear, totals of the day, and zones."""

from __future__ import annotations

from typing import Any

from strava_pipeline.errors import MissingScope, NotFound, RejectedRequest
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.mapping.athlete import athlete_row, gear_row, gear_rows, stats_rows, zone_rows
from strava_pipeline.sync.backfill import SyncContext, request_time
from strava_pipeline.warehouse.athletes.profiles import (
    store_athlete,
    store_gear,
    store_stats,
    store_zones,
    unknown_gear,
)
from strava_pipeline.warehouse.imports.histories import note_profile

log = get_logger(__name__)

JsonObject = dict[str, Any]


def import_athlete(sync: SyncContext, athlete_id: int) -> int:
    """Store the athlete's profile, gear, totals and zones with three requests; returns the number of bikes and shoes.

    A bike or pair of shoes that only stored activities name costs one more request, once.
    Totals or zones that Strava refuses, or that do not map, are left out.
    """
    asked_at = request_time(sync)
    body = sync.client.get_athlete(athlete_id)
    gear = gear_rows(athlete_id, body)
    with sync.engine.begin() as connection:
        store_athlete(connection, athlete_row(body), asked_at)
        store_gear(connection, gear, asked_at)
    for what, import_more in (("totals", _import_stats), ("zones", _import_zones)):
        try:
            import_more(sync, athlete_id)
        except (MissingScope, NotFound, RejectedRequest) as error:
            log.warning("%s of athlete %d are left out: %s", what, athlete_id, error)
    pieces = len(gear) + _import_unknown_gear(sync, athlete_id)
    with sync.engine.begin() as connection:
        note_profile(connection, athlete_id, asked_at)
    return pieces


def _import_unknown_gear(sync: SyncContext, athlete_id: int) -> int:
    """Fetch gear that only stored activities name; returns how many.

    Gear that Strava does not know is stored without a name, so that it is not fetched again.
    """
    with sync.engine.connect() as connection:
        wanted = unknown_gear(connection, athlete_id)
    for done, gear_id in enumerate(wanted):
        asked_at = request_time(sync)
        row: JsonObject = {"id": gear_id, "athlete_id": athlete_id}
        try:
            row = gear_row(athlete_id, sync.client.get_gear(athlete_id, gear_id)) | row
        except MissingScope as error:
            log.warning("gear of athlete %d is left out: %s", athlete_id, error)
            return done
        except (NotFound, RejectedRequest) as error:
            log.warning("gear %s of athlete %d stays without a name: %s", gear_id, athlete_id, error)
        with sync.engine.begin() as connection:
            store_gear(connection, [row], asked_at)
    return len(wanted)


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
