"""The code location that workspace.yaml names."""

from strava_pipeline import redaction
from strava_pipeline.code_location import build_strava_defs

# This is the first module of ours that Dagster loads, in every process of its.
redaction.install()
defs = build_strava_defs()
