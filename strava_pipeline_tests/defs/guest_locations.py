"""Code locations of hosts that have our definitions, each as a function, as a workspace names them."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from strava_pipeline.defs.code_location import build_strava_defs
from strava_pipeline.settings import Settings
from strava_pipeline.settings_sources import is_secret


def rides() -> dg.Definitions:
    """Our definitions beside an asset of a host's."""

    @dg.asset
    def activities() -> int:
        return 1

    return dg.Definitions.merge(dg.Definitions(assets=[activities]), build_strava_defs(key_prefix="rides"))


def my_rides() -> dg.Definitions:
    """Our definitions with a prefix of two parts."""
    return build_strava_defs(key_prefix=["my", "rides"])


def first_app() -> dg.Definitions:
    """Our definitions for an app, whose database and prefix are its own."""
    return build_strava_defs(key_prefix="first", settings={"database_url": {"env": "FIRST_DATABASE_URL"}})


def second_app() -> dg.Definitions:
    """The same for another app in the same Dagster."""
    return build_strava_defs(key_prefix="second", settings={"database_url": {"env": "SECOND_DATABASE_URL"}})


def with_secrets() -> dg.Definitions:
    """Our definitions that are told where each secret is: in a variable, or in a file of the folder ``CANARIES``."""
    folder = Path(os.environ["CANARIES"])
    secrets = [name for name, field in Settings.model_fields.items() if is_secret(field)]
    variables = {name: {"env": f"CANARY_{name.upper()}"} for name in secrets[::2]}
    files = {name: {"file": str(folder / name)} for name in secrets[1::2]}
    return build_strava_defs(settings={"client_id": "4711", **variables, **files})
