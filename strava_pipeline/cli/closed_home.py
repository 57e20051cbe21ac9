"""Closes STRAVA_HOME to other users when a long-running command starts, since earlier versions left files open."""

from __future__ import annotations

import click

from strava_pipeline.settings import Settings


def close_to_others(settings: Settings) -> None:
    """Close our files and folders in STRAVA_HOME to other users; say on stderr how many were open, if any."""
    from strava_pipeline.local.home_folder import close_home

    closed = close_home(settings)
    if closed:
        click.echo(f"closed {closed} files and folders in {settings.home} that other users could read", err=True)
