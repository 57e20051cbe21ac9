"""The code location of a host that took us in with a prefix of its own, for tests of commands."""

from strava_pipeline.defs.code_location import build_strava_defs

PREFIX = ("club", "strava")
defs = build_strava_defs(key_prefix=PREFIX)
