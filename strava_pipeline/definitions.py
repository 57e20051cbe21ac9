"""The code location that workspace.yaml names."""

import gc

from strava_pipeline import redaction
from strava_pipeline.defs.code_location import build_strava_defs

# This is the first module of ours that Dagster loads, in every process of its.
redaction.install()
defs = build_strava_defs()
# What is loaded by now lasts as long as the process: no collection of a run's garbage has to look at all of it again.
gc.freeze()
