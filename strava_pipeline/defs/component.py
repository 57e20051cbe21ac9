"""The same definitions as a Dagster component, for a project that is written in YAML (``dg``)."""

import dagster as dg

from strava_pipeline.defs.code_location import build_strava_defs


class StravaComponent(dg.Component, dg.Model, dg.Resolvable):
    """Everything of this package: ``type: strava_pipeline.defs.component.StravaComponent``, without attributes.

    Its settings are the environment's, as everywhere.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002  the signature is Dagster's
        """The assets, jobs, schedules and resources."""
        return build_strava_defs()
