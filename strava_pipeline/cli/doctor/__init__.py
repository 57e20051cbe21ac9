"""``strava-pipeline doctor``: every setting with its source, and what is wrong with this installation."""

from __future__ import annotations

import click

from strava_pipeline.errors import StravaPipelineError


class DoctorFoundFaults(StravaPipelineError):
    """At least one check failed."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the settings and the checks.")
def doctor(*, as_json: bool) -> None:
    """Show every setting and where it comes from, secrets masked; then check what a running system needs.

    Creates, starts and changes nothing, and sends no mail. Each check is ok, warn or fail, with what to do, and takes
    five seconds at most. Exit code 1 if one failed.

    One request counts against Strava's limits: the app's subscription is looked up if there is room.
    """
    from strava_pipeline.cli.command_settings import command_settings
    from strava_pipeline.cli.console import say_json
    from strava_pipeline.cli.doctor import report
    from strava_pipeline.cli.doctor.all_checks import CHECKS
    from strava_pipeline.cli.doctor.examination import examine
    from strava_pipeline.cli.doctor.listing import listed_settings

    settings = command_settings()
    listed, all_examined = listed_settings(settings), []
    if not as_json:
        report.print_settings(listed)
    for examined in examine(CHECKS, settings):
        all_examined.append(examined)
        if not as_json:
            report.print_examined(examined)
    if as_json:
        say_json(report.as_json(listed, all_examined))
    failed = sum(examined.has_failed for examined in all_examined)
    if failed:
        raise DoctorFoundFaults(f"{failed} of {len(CHECKS)} checks failed: see above")
