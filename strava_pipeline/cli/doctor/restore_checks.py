"""Checks of what a restore needs: whether one was left unfinished, and whether the list of erasures is usable."""

from __future__ import annotations

from collections.abc import Iterator

from strava_pipeline.cli.doctor.database_checks import TABLES, reading
from strava_pipeline.cli.doctor.findings import Check, Finding, fail, ok
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from strava_pipeline.sync.restore_check import came_back
from strava_pipeline.warehouse.erasure_list import SETTING, Folder, read_departures
from strava_pipeline.warehouse.restored import load_belonging, unchecked_line

CHECK_IT = "docs/backup.md says how to restore"


def check_belonging(settings: Settings) -> Iterator[Finding]:
    """Check that the tables do not come from a backup that was not compared with Strava."""
    with reading(settings) as connection:
        belonging = load_belonging(connection)
    if belonging.holds_calls:
        yield fail(unchecked_line(belonging), CHECK_IT)
    else:
        yield ok("none is unfinished: the tables belong to this database")


def check_erasure_list(settings: Settings) -> Iterator[Finding]:
    """Check that the list can be read with the keys, and that the tables do not have anybody who has left."""
    place = settings.erasures_to_write()  # its error says what to do
    if not Folder(place).is_there():
        yield ok(f"nobody has left so far: {place} is made when somebody does")
        return
    if settings.token_keys is None and settings.client_id is None and not Folder(place).entries():
        yield ok(f"nobody is on the list at {place}")
        return
    departures = read_departures(Keyring.parse(settings.required("token_keys")), [place])
    with reading(settings) as connection:
        back = came_back(connection, departures)
    if back:
        yield fail(
            f"{len(back)} athletes who have left are in the tables, as after a restore into the same database",
            "run strava-pipeline restore begin, and then restore check",
        )
    else:
        yield ok(f"{len(departures.entries)} departures at {place}")


RESTORE_CHECKS = (
    Check("restore", check_belonging, CHECK_IT, needs=TABLES),
    Check("list of erasures", check_erasure_list, f"correct {SETTING}", needs=TABLES),
)
