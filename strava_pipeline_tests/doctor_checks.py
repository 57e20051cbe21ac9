"""Single checks of ``doctor``, and what they find."""

from __future__ import annotations

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.doctor.all_checks import CHECKS
from strava_pipeline.cli.doctor.examination import examine
from strava_pipeline.cli.doctor.findings import Check, Finding, Verdict
from strava_pipeline.settings import Settings

# A machine under load is no fault of what is looked at.
PATIENCE_SECONDS = 100.0


def check_named(name: str) -> Check:
    """The check of this name, whatever it needs."""
    (check,) = (check for check in CHECKS if check.name == name)
    return Check(check.name, check.look, check.remedy, limit_s=PATIENCE_SECONDS)


def findings_of(name: str, settings: Settings | None = None) -> list[Finding]:
    """What a check finds, by the settings of the environment unless others are given."""
    (examined,) = examine([check_named(name)], settings or command_settings())
    return examined.findings


def finding_of(name: str, settings: Settings | None = None) -> Finding:
    """The only thing that a check finds."""
    (finding,) = findings_of(name, settings)
    return finding


def told_by(name: str, settings: Settings | None = None) -> tuple[Verdict, str]:
    """The verdict and the message of a check that finds one thing."""
    finding = finding_of(name, settings)
    return finding.verdict, finding.message
