"""``strava-pipeline quota``: shows the requests used of Strava's limits, and those left to each lane."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say, say_json
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from strava_pipeline.warehouse.quota.status import QuotaStatus, WindowStatus
    from strava_pipeline.warehouse.upkeep.load import UpkeepLoad


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def quota(form: str) -> None:
    """Show each rate window: requests used, limit, reserve, next reset, and the requests left to each lane.

    Says as well if Strava does not answer, or has the app switched off, and since when.
    Sends no request to Strava.
    """
    from strava_pipeline.cli.reading import read

    settings = command_settings()
    status, load = read(settings, partial(_look, settings))
    if form == "json":
        say_json(_as_json(status) | {"upkeep": _upkeep_as_json(load)})
    else:
        _print(status)
        say(f"upkeep: {load}")


def _look(settings: Settings, connection: Connection) -> tuple[QuotaStatus, UpkeepLoad]:
    from strava_pipeline.strava.quota.lanes import RateLimits
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.quota.status import quota_status
    from strava_pipeline.warehouse.upkeep.load import upkeep_load

    moment = now(connection)
    status = quota_status(connection, RateLimits.from_settings(settings), moment)
    return status, upkeep_load(connection, settings, moment)


def _as_json(status: QuotaStatus) -> dict[str, Any]:
    return {
        "windows": [_window_as_json(window) for window in status.windows],
        "calls_of_the_last_hour": status.last_hour,
        "strava_clock_offset_s": status.clock.offset_s,
        "outages": status.outages,
    }


def _upkeep_as_json(load: UpkeepLoad) -> dict[str, Any]:
    return {
        "needed_a_day": load.lag.requests_a_day,
        "share_a_day": load.share_a_day,
        "tasks_due": load.lag.due,
        "due_since": load.lag.due_since.isoformat() if load.lag.due_since else None,
        "tasks_failing": load.lag.failing,
    }


def _window_as_json(window: WindowStatus) -> dict[str, Any]:
    use = window.use
    return {
        "scope": window.scope,
        "length_s": use.window.length_s,
        "starts_at": use.window.starts_at.isoformat(),
        "resets_at": use.window.ends_at.isoformat(),
        "used_by_us": use.booked,
        "read": {"limit": window.limit, "used_by_others": use.read_foreign},
        "overall": {"limit": use.overall_limit, "used_by_others": use.overall_foreign},
        "reserve": window.reserve,
        "blocked_until": window.blocked_until.isoformat() if window.blocked_until else None,
        "open_to": {str(lane): calls for lane, calls in window.calls_left.items()},
    }


def _print(status: QuotaStatus) -> None:
    for scope in status.scopes:
        windows = [window for window in status.windows if window.scope == scope]
        table = new_table((scope, *(window.use.window.name.removeprefix("the ") for window in windows)))
        for name, *figures in zip(_NAMES, *map(_figures, windows), strict=True):
            add_row(table, name, *figures)
        print_table(table)
        lanes = ", ".join(f"{lane} {status.calls_left(lane, scope)}" for lane in windows[0].calls_left)
        say(f"{scope}: may be sent now: {lanes}")
    for line in status.outages:
        say(line)
    ended = ", ".join(f"{calls} x {code}" for code, calls in status.last_hour.items())
    click.echo(f"in the last hour: {ended}" if ended else "no request was sent to Strava in the last hour")


_NAMES = (
    "used by us", "used by others", "limit of reads", "of all calls", "reserve for live",
    "open to live", "open to reconcile", "open to backfill", "resets at (UTC)", "blocked until (UTC)",
)  # fmt: skip


def _figures(window: WindowStatus) -> list[str]:
    """The window's cells, in the order of ``_NAMES``."""
    use = window.use
    counts = (use.booked, max(use.read_foreign, use.overall_foreign), window.limit)
    return [
        *map(str, counts),
        "-" if use.overall_limit is None else str(use.overall_limit),
        str(window.reserve),
        *map(str, window.calls_left.values()),
        f"{use.window.ends_at:%Y-%m-%d %H:%M:%S}",
        f"{window.blocked_until:%Y-%m-%d %H:%M:%S}" if window.blocked_until else "-",
    ]
