"""The code location that workspace.yaml names. The import builds nothing: Dagster calls a function for that."""

import gc

import dagster as dg

from strava_pipeline import own_process
from strava_pipeline.defs.code_location import build_strava_defs, definitions_of, own_plan
from strava_pipeline.defs.run_logs import write_consoles
from strava_pipeline.log_lines import LogFormatName
from strava_pipeline.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return all definitions of this package for a location in anybody's Dagster, and change nothing in the process."""
    return build_strava_defs()


def own_process_defs() -> dg.Definitions:
    """Return all definitions of this package, for a process that serves nothing else: our workspace.yaml names this.

    Schedules run, old runs are deleted, one process executes each run, and logs of all libraries in the process are
    redacted (:mod:`strava_pipeline.own_process`).
    """
    own_process.set_up(own_process.CODE_SERVER)
    settings = load_settings()
    write_consoles(settings.log_format)
    if settings.log_format is LogFormatName.JSON:
        # Of libraries. What our code logs in a run: strava_pipeline.defs.run_logs.
        own_process.log_to_stderr("WARNING", settings.log_format)
    made = definitions_of(own_plan())
    # Objects loaded by now last as long as the process: garbage collections during runs need not check them again.
    gc.freeze()
    return made
