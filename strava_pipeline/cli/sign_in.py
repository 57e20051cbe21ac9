"""``strava-pipeline login-link``: prints a link that logs the operator in once."""

from __future__ import annotations

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.redaction import SecretPath
from strava_pipeline.settings import Settings


def new_login_link(settings: Settings, *, public: bool = False) -> str:
    """Make an address on the bridge that logs the operator in once, within half an hour.

    ``ConfigurationError`` without ``STRAVA_OPERATOR_TOKEN``; with ``public`` also without ``STRAVA_BRIDGE_PUBLIC_URL``.
    """
    from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.web.operator_door import session_proof

    settings.required("operator_token")
    base = settings.required("bridge_public_url") if public else f"http://127.0.0.1:{settings.bridge_port}"
    with open_warehouse(settings) as engine, engine.begin() as connection:
        return f"{base}{SecretPath.LOGIN}/{new_sign_in_link(connection, session_proof(settings))}"


@click.command()
@click.option("--public", is_flag=True, help="Use STRAVA_BRIDGE_PUBLIC_URL instead of this machine's address.")
def login_link(public: bool) -> None:
    """Print a link that logs you in to the operator's page, once, within half an hour."""
    settings = command_settings()
    if settings.dangerously_open_without_login:
        raise ConfigurationError("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN is on: there is nothing to log in to")
    click.echo(new_login_link(settings, public=public))
