"""``strava-pipeline bridge``: the webhook bridge alone."""

from __future__ import annotations

import click

from strava_pipeline.cli.closed_home import close_to_others
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings_values import LOOPBACK_HOSTS

log = get_logger(__name__)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port; STRAVA_BRIDGE_PORT (8080) if not given.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--fd", type=click.IntRange(0), help="File descriptor of a listening socket, in place of host and port.")
def bridge(port: int | None, host: str, fd: int | None) -> None:
    """Serve the webhook bridge until Ctrl-C."""
    from strava_pipeline.cli.made_settings import with_token_keys
    from strava_pipeline.local.listeners import inherit_listener, open_listener
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.sync.restore_check import why_needed
    from strava_pipeline.warehouse.migrate import open_warehouse_of_any_release
    from webhook_bridge.app import check_settings
    from webhook_bridge.log_writer import log_in_thread
    from webhook_bridge.server import serve

    settings = command_settings()
    log_in_thread(settings.log_level or "INFO", settings.log_format)
    close_to_others(settings)
    check_settings(settings)
    if host not in LOOPBACK_HOSTS and settings.origin_of("trusted_proxies") == "default":
        log.warning(
            "STRAVA_TRUSTED_PROXIES is not set, though the bridge listens at %s: set it to the number of proxies in"
            " front; otherwise all senders behind a proxy count as one, and wrong tokens of one close the login form"
            " for all",
            host,
        )
    if settings.operator_token is None and not settings.dangerously_open_without_login:
        log.warning("STRAVA_OPERATOR_TOKEN is not set: the pages are closed until you set it; deliveries are accepted")
    with open_warehouse_of_any_release(settings) as engine:
        settings = with_token_keys(settings, engine)
        open_tokens(settings, engine)  # wrong keys fail here, not in the first run
        if (why := why_needed(engine)) is not None:
            log.warning("%s; deliveries are taken and wait", why)
        if fd is None:
            listener = open_listener(host, settings.bridge_port if port is None else port, "the bridge")
        else:
            listener = inherit_listener(fd, "the bridge")
        serve(settings, engine, listener)
