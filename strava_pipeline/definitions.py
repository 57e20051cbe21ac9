"""The code location that workspace.yaml names. The import builds nothing: Dagster calls a function for that."""

import gc

import dagster as dg

from strava_pipeline import own_process
from strava_pipeline.defs.code_location import build_strava_defs


@dg.definitions
def defs() -> dg.Definitions:
    """Return all definitions of this package, and change nothing in the process."""
    return build_strava_defs()


def own_process_defs() -> dg.Definitions:
    """Return all definitions of this package, for a process that serves nothing else: our workspace.yaml names this.

    Logs of all libraries in the process are redacted (:mod:`strava_pipeline.own_process`).
    """
    own_process.set_up()
    made = build_strava_defs()
    # Objects loaded by now last as long as the process: garbage collections during runs need not check them again.
    gc.freeze()
    return made
