"""``strava-pipeline quota``: what is used of Strava's limits, and what each lane may still use."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.settings import load_settings

if TYPE_CHECKING:
    from strava_pipeline.warehouse.quota_status import QuotaStatus, WindowStatus


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def quota(form: str) -> None:
    """Show each rate window: what is used, the limit, the reserve, the next reset, and what each lane may still use.

    Sends no request to Strava.
    """
    from strava_pipeline.strava.lanes import Ceilings
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.quota_status import quota_status

    settings = load_settings()
    with open_warehouse(settings) as engine, engine.connect() as connection:
        status = quota_status(connection, Ceilings.from_settings(settings), now(connection))
    if form == "json":
        click.echo(json.dumps(_as_json(status), indent=2))
    else:
        _print(status)


def _as_json(status: QuotaStatus) -> dict[str, Any]:
    return {
        "windows": [_window_as_json(window) for window in status.windows],
        "calls_of_the_last_hour": status.last_hour,
        "strava_clock_offset_s": status.clock.offset_s,
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
        "open_to": {str(lane): calls for lane, calls in window.open_to.items()},
    }


def _print(status: QuotaStatus) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("window", "scope"):
        table.add_column(name)
    for name in ("ours", "others", "limit", "overall", "reserve", "live", "reconcile", "backfill"):
        table.add_column(name, justify="right")
    for name in ("resets (UTC)", "blocked until (UTC)"):
        table.add_column(name)
    for window in status.windows:
        use = window.use
        # Strava counts reads, and all calls: a read counts as both.
        overall = "-" if use.overall_limit is None else f"{use.booked + use.overall_foreign} of {use.overall_limit}"
        table.add_row(
            use.window.name.removeprefix("the "),
            window.scope,
            *(str(figure) for figure in (use.booked, use.read_foreign, window.limit, overall, window.reserve)),
            *(str(calls) for calls in window.open_to.values()),
            _time(use.window.ends_at),
            _time(window.blocked_until) if window.blocked_until else "-",
        )
    Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty()).print(table)
    for scope in status.scopes:
        lanes = ", ".join(f"{lane} {status.open_to(lane, scope)}" for lane in status.windows[0].open_to)
        click.echo(f"{scope}: may be sent now: {lanes}")
    ended = ", ".join(f"{calls} x {code}" for code, calls in status.last_hour.items())
    click.echo(f"in the last hour: {ended}" if ended else "no request was sent to Strava in the last hour")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
