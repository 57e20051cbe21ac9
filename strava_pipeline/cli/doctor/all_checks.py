"""All checks in the order in which they are told: by subject, and after those that they need."""

from __future__ import annotations

from strava_pipeline.cli.doctor.bridge_checks import LIVE_CHECKS
from strava_pipeline.cli.doctor.dagster_checks import DAGSTER_CHECKS
from strava_pipeline.cli.doctor.database_checks import DATABASE_CHECKS
from strava_pipeline.cli.doctor.folder_checks import FOLDER_CHECKS
from strava_pipeline.cli.doctor.machine_checks import APP_CHECKS, BRIDGE_CHECKS, MACHINE_CHECKS
from strava_pipeline.cli.doctor.mail_checks import MAIL_CHECKS
from strava_pipeline.cli.doctor.restore_checks import RESTORE_CHECKS
from strava_pipeline.cli.doctor.strava_checks import STRAVA_CHECKS

CHECKS = (
    *MACHINE_CHECKS,
    *APP_CHECKS,
    *STRAVA_CHECKS,
    *DATABASE_CHECKS,
    *RESTORE_CHECKS,
    *DAGSTER_CHECKS,
    *BRIDGE_CHECKS,
    *LIVE_CHECKS,
    *MAIL_CHECKS,
    *FOLDER_CHECKS,
)
