"""Which assets a deployment may keep together, and what it keeps then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, is_installed
from strava_pipeline.names import ALL_ASSETS, PROFILE_ASSETS, STEP_ASSETS, Asset
from strava_pipeline.warehouse.kept import Kept

# The asset on which each one is built. The two of a profile come with one request, so each needs the other.
BUILT_ON: Final = {
    Asset.ATHLETES: Asset.GEAR,
    Asset.GEAR: Asset.ATHLETES,
    Asset.DETAILS: Asset.ACTIVITIES,
    Asset.STREAMS: Asset.DETAILS,
    Asset.ANALYSES: Asset.STREAMS,
    Asset.LAKE: Asset.STREAMS,
    Asset.TRAINING_LOAD: Asset.ANALYSES,
    Asset.ARCHIVE_FILES: Asset.ACTIVITIES,
}


def installed_assets() -> frozenset[str]:
    """Return all assets that can be kept here: without the extra ``lake`` there is no lake."""
    return frozenset(ALL_ASSETS) if is_installed(Extra.LAKE) else frozenset(ALL_ASSETS) - {Asset.LAKE}


def check_kept(names: Iterable[str]) -> frozenset[str]:
    """Return the assets to keep; ``ConfigurationError`` if one is unknown or lacks what it is built on, or without any.

    ``names``: plain names, without a key prefix.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"assets: {names!r} is a text: give a list of names")
    chosen = list(names)
    if unknown := [name for name in chosen if name not in ALL_ASSETS]:
        told = ", ".join(map(repr, unknown))
        raise ConfigurationError(f"assets: {told}: no such asset; choose from {', '.join(ALL_ASSETS)}")
    if not chosen:
        raise ConfigurationError(f"assets: none is chosen; choose from {', '.join(ALL_ASSETS)}")
    for name in ALL_ASSETS:
        if name in chosen and (needed := BUILT_ON.get(name)) and needed not in chosen:
            raise ConfigurationError(f"assets: {name} needs {needed}: add {needed}, or leave out {name}")
    return frozenset(chosen)


def kept_of(assets: Iterable[str]) -> Kept:
    """Return what a deployment keeps that has these assets; errors as those of :func:`check_kept`."""
    chosen = check_kept(assets)
    return Kept(
        steps=frozenset(step for step, asset in STEP_ASSETS.items() if asset in chosen),
        profiles=set(PROFILE_ASSETS) <= chosen,
        loads=Asset.TRAINING_LOAD in chosen,
    )
