"""``strava-pipeline api``: sends one GET request to Strava."""

from __future__ import annotations

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say_json
from strava_pipeline.errors import ConfigurationError


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigurationError(f"-f {text}: give it as key=value")
    return name, value


@click.command()
@click.argument("path")
@click.option("-f", "--field", "fields", multiple=True, help="A query parameter, key=value; repeatable.")
@click.option("--athlete", "athlete_id", type=click.IntRange(1, 2**63 - 1), required=True, help="Id of the athlete.")
@click.option("--lane", type=click.Choice(["live", "backfill"]), default="live", show_default=True, help="Quota lane.")
def api(path: str, fields: tuple[str, ...], athlete_id: int, lane: str) -> None:
    """Send GET PATH (such as /athlete/activities) to Strava, within its limits, and print the answer as JSON."""
    from strava_pipeline.strava.quota.windows import Lane
    from strava_pipeline.sync.access import COMMAND_MAX_WAIT, open_client
    from strava_pipeline.warehouse.migrate import open_warehouse

    query = dict(_pair(field) for field in fields)
    settings = command_settings()
    settings.required("token_keys")
    with open_warehouse(settings) as engine:
        client = open_client(settings, engine, Lane(lane), COMMAND_MAX_WAIT)
        answer = client.get(athlete_id, f"/{path.lstrip('/')}", query)
    say_json(answer)
