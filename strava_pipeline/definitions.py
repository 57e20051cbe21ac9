"""The code location that workspace.yaml names."""

from strava_pipeline.code_location import build_strava_defs

defs = build_strava_defs()
