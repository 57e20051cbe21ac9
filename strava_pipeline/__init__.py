"""Keeps a SQL copy of athletes' Strava activities complete, correct and fresh, inside Dagster.

What a project with Dagster imports from here is loaded when it is first used, so that a program which needs none of it
loads no Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from strava_pipeline.defs.code_location import build_strava_defs
    from strava_pipeline.defs.component import StravaComponent
    from strava_pipeline.defs.host_partitions import athlete_month_partitions, athlete_partitions

__all__ = ["StravaComponent", "athlete_month_partitions", "athlete_partitions", "build_strava_defs"]
_HOMES: Final = {
    "StravaComponent": "strava_pipeline.defs.component",
    "athlete_month_partitions": "strava_pipeline.defs.host_partitions",
    "athlete_partitions": "strava_pipeline.defs.host_partitions",
    "build_strava_defs": "strava_pipeline.defs.code_location",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """``dg`` looks for components among these names."""
    return sorted({*globals(), *_HOMES})
