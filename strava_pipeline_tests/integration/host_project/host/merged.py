"""The project's location where our definitions are merged into it."""

import dagster as dg

from host.own import own_defs
from strava_pipeline import build_strava_defs


@dg.definitions
def defs() -> dg.Definitions:
    return dg.Definitions.merge(own_defs(), build_strava_defs(key_prefix="rides"))
