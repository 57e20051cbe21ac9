"""The code location that workspace.yaml names. Importing it makes nothing yet: Dagster asks for the definitions."""

import gc

import dagster as dg

from strava_pipeline import own_process
from strava_pipeline.defs.code_location import build_strava_defs


@dg.definitions
def defs() -> dg.Definitions:
    """Everything of this package; the process that asks for it stays as it is."""
    return build_strava_defs()


def own_process_defs() -> dg.Definitions:
    """Everything of this package, for a process that serves nothing else: our own workspace.yaml names this function.

    Whatever any library logs there is redacted (:mod:`strava_pipeline.own_process`).
    """
    own_process.set_up()
    made = build_strava_defs()
    # What is loaded by now lasts as long as the process: no collection of a run's garbage has to look at it again.
    gc.freeze()
    return made
