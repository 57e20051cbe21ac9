"""Loads the templates of mails and reports. Values are escaped in HTML, but not in text."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from strava_pipeline.notifications.wording import isolated


@cache
def templates() -> Environment:
    """Return the environment in which all templates are rendered."""
    environment = Environment(
        loader=PackageLoader("strava_pipeline.notifications"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["isolated"] = isolated
    return environment
