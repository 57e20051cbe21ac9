"""``strava-pipeline code-server``: Dagster's own code server, with our definitions and a quicker start of each run."""

from __future__ import annotations

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.dagster_webserver import LOOPBACK
from strava_pipeline.log_lines import LogFormatName

# What each run needs of ours; they load the rest.
RUN_MODULES = ("strava_pipeline.definitions", "strava_pipeline.defs.dagster_storage")


@click.command()
@click.option("--socket", help="Unix socket to listen on, in place of host and port.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
def code_server(socket: str | None, port: int | None, host: str) -> None:
    """Serve the definitions to Dagster, and execute the runs that it starts, until Ctrl-C.

    Whoever reaches the port can execute code: its protocol knows no login.
    """
    from strava_pipeline.defs.dagster_internals import serve_code
    from strava_pipeline.local.code_server import ATTRIBUTE, LOCATION, MODULE

    if (socket is None) == (port is None):
        raise click.UsageError("name either a --socket or a --port to listen on")
    settings = command_settings()
    where = ["--socket", socket] if socket is not None else ["--host", host, "--port", str(port)]
    log_format = "json" if settings.log_format is LogFormatName.JSON else "colored"
    serve_code(
        [
            *where, "--location-name", LOCATION, "--module-name", MODULE, "--attribute", ATTRIBUTE,
            "--empty-working-directory",
            # As for servers that Dagster starts itself: runs have this interpreter, and variables of the instance.
            "--use-python-environment-entry-point", "--inject-env-vars-from-instance",
            "--log-level", "warning", "--log-format", log_format,
        ],
        RUN_MODULES,
    )  # fmt: skip
