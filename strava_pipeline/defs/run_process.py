"""The process that executes a run, as a tag of the run names it."""

from __future__ import annotations

from strava_pipeline.names import Names
from strava_pipeline.process_identity import this_process


def process_tag(names: Names) -> dict[str, str]:
    """A tag that names this process, for :func:`strava_pipeline.process_identity.is_gone`."""
    return {names.process_tag: this_process()}
