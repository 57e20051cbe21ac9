"""The project's own definitions."""

import dagster as dg

from host.own import own_defs


@dg.definitions
def defs() -> dg.Definitions:
    return own_defs()
