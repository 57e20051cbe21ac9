"""This package's definitions as a Dagster component, for a project that is written in YAML (``dg``)."""

import dagster as dg

from strava_pipeline.defs.code_location import build_strava_defs


class StravaComponent(dg.Component, dg.Model, dg.Resolvable):
    """All definitions of this package: ``type: strava_pipeline.defs.component.StravaComponent``, without attributes.

    The settings come from the environment, as everywhere.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  the signature is Dagster's
        """Build the assets, jobs, schedules and resources."""
        return build_strava_defs()
