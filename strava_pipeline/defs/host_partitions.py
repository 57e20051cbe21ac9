"""Our partitions for assets of a host: ``strava_pipeline.athlete_partitions`` and ``.athlete_month_partitions``.

Dagster maps an asset on the same partitions to ours one to one, so that it runs for an athlete, or an athlete's month.
"""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from strava_pipeline.defs.partitions import athlete_partitions as partitions_by_athlete
from strava_pipeline.defs.plan import Plan, names_with, start_given


def athlete_partitions(key_prefix: str | Sequence[str] = "strava") -> dg.DynamicPartitionsDefinition:
    """Return the partitions of ``athletes``, ``gear`` and ``training_load``: one per connected athlete, by id.

    ``key_prefix`` as given to ``build_strava_defs``. ``ConfigurationError`` for one that Dagster does not take.
    """
    return partitions_by_athlete(names_with(key_prefix))


def athlete_month_partitions(
    key_prefix: str | Sequence[str] = "strava", history_start: date | None = None
) -> dg.MultiPartitionsDefinition:
    """Return the partitions of all other assets: dimensions ``athlete`` and ``month`` (UTC, ``2024-05-01``).

    ``key_prefix`` and ``history_start`` as given to ``build_strava_defs``; without ``history_start`` months begin with
    ``STRAVA_HISTORY_START``, as there. ``ConfigurationError`` for a prefix that Dagster does not take, for what is no
    date, and for a setting that cannot be used.
    """
    return Plan(names=names_with(key_prefix), given=start_given(history_start)).grid()
