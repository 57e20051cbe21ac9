"""At the start of what runs for long: STRAVA_HOME is closed to others, should an earlier version have left it open."""

from __future__ import annotations

import click

from strava_pipeline.settings import Settings


def close_to_others(settings: Settings) -> None:
    """Close what this program made in STRAVA_HOME, and say so on stderr if there was anything."""
    from strava_pipeline.local.home_folder import close_home

    closed = close_home(settings)
    if closed:
        click.echo(f"others could read {closed} files and folders in {settings.home}: closed", err=True)
