"""``strava-pipeline mock-strava``: serves a Strava look-alike on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.log_lines import LogFormatName
from strava_pipeline.settings import Settings

if TYPE_CHECKING:
    from strava_pipeline.mock_strava.state import Mock

# Printed where none are configured; the mock accepts any values.
ANY_CLIENT_ID = "1"
ANY_CLIENT_SECRET = "mock-secret"  # noqa: S105  the mock takes any


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--recordings",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Serve the recorded answers in this folder instead of made-up athletes.",
)
@click.option(
    "--months", type=click.IntRange(1, 240), default=6, show_default=True, help="Length of made-up histories."
)
@click.option(
    "--form", type=click.Choice(["2026", "2027"]), default="2026", show_default=True,
    help="Which API: 2027 has no /api/v3, takes tokens in the header only, and has no deauthorize.",
)  # fmt: skip
@click.option(
    "--archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="First write the bulk export of the first athlete into this file, a zip as Strava sends it.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True,
    help="Chooses the archive's language, the order of its rows, and which of its recordings are odd.",
)  # fmt: skip
def mock_strava(port: int, recordings: Path | None, months: int, form: str, archive: Path | None, seed: int) -> None:
    """Serve a Strava look-alike until Ctrl-C: OAuth, the API with its rate limits, and webhook deliveries."""
    from strava_pipeline.mock_strava.app import create_mock
    from strava_pipeline.mock_strava.config import Form, MockConfig
    from strava_pipeline.mock_strava.server import serve
    from strava_pipeline.mock_strava.state import EXTENSION
    from strava_pipeline.own_process import announce

    settings = command_settings()
    app = create_mock(MockConfig.from_settings(settings, recordings, months, Form(form)))

    mock: Mock = app.extensions[EXTENSION]
    written = [] if archive is None else _write_archive(mock, archive, seed)

    def greet(address: str) -> None:
        for line in _greeting(settings, mock, address, written):
            if settings.log_format is LogFormatName.TEXT:
                say(line)
            elif line:
                announce(line, settings.log_format)

    serve(app, port, greet)


def _write_archive(mock: Mock, path: Path, seed: int) -> list[str]:
    """Write the archive of the first athlete; returns the lines to print."""
    from strava_pipeline.mock_strava.archive import write_archive

    person = next(iter(mock.world))
    written = write_archive(path, athlete=person, activities=list(person.activities.values()), seed=seed)
    command = f"strava-pipeline archive import {shlex.quote(str(path))} --athlete {person.id}"
    return [f"archive of athlete {person.id} in language {written.language}, by seed {seed}: {command}"]


def _greeting(settings: Settings, mock: Mock, address: str, written: Sequence[str]) -> list[str]:
    """The lines to print: variables to export, a command that connects each athlete, and one that makes a new ride.

    ``written``: what to say of files that were written.
    """
    lines = [
        f"mock Strava listening on {address}",
        "",
        f"export STRAVA_API_URL={address}{mock.config.form.api}",
        f"export STRAVA_OAUTH_URL={address}/oauth",
    ]
    if settings.client_id is None:
        lines.append(f"export STRAVA_CLIENT_ID={ANY_CLIENT_ID}")
    if settings.client_secret is None:
        lines.append(f"export STRAVA_CLIENT_SECRET={ANY_CLIENT_SECRET}")
    lines.append("")
    for person in mock.world:
        code = mock.grants.new_lasting_code(person.id)
        count = len(person.activities)
        lines.append(f"athlete {person.id} {person.name}, {count} activities: strava-pipeline connect --code {code}")
    rider = next(iter(mock.world)).id
    lines += [
        *written,
        "",
        f"a new ride and its webhook: curl -d '{{\"athlete_id\": {rider}}}' {address}/mock/activities",
    ]
    return lines
