"""The project's location where we have one beside it."""

import dagster as dg

from host.own import own_defs


@dg.definitions
def defs() -> dg.Definitions:
    return own_defs()
