"""Makes the operator's token where none is set, and adds it to the settings file."""

from __future__ import annotations

import secrets

from strava_pipeline.cli.made_settings import Made, ensure

TOKEN_BYTES = 32


def new_token() -> str:
    """A token of 256 bits."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def ensure_operator_token() -> bool:
    """Add a token to the settings file if none is set anywhere; returns whether one was added, as :func:`.ensure`."""
    return ensure(Made("operator_token", "Opens the operator's page and Dagster's UI.", new_token))
