"""Names of assets, jobs, partitions and tags in Dagster.

They stand in one module without Dagster, because the bridge and the commands must spell them as the code location does.
One Dagster instance shares some names between code locations: those begin with a prefix, and :class:`Names` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from strava_pipeline.months import month_text
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.states import ImportStep

# Dagster's own tags.
PRIORITY_TAG: Final = "dagster/priority"
PARTITION_TAG: Final = "dagster/partition"
RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"
MAX_RETRIES_TAG: Final = "dagster/max_retries"
ROOT_RUN_TAG: Final = "dagster/root_run_id"

# The two dimensions of a partition key, in the order in which Dagster joins them: by name.
ATHLETE: Final = "athlete"
MONTH: Final = "month"
_BETWEEN_DIMENSIONS: Final = "|"

# A newest month goes before older months in the queue, and after webhooks.
NEWEST_PRIORITY: Final = "5"
# For runs that a schedule or the bridge launches anew: Dagster would execute them once more beside that.
NO_RETRIES: Final = {MAX_RETRIES_TAG: "0"}
PRIORITIES: Final = {Lane.LIVE: "10", Lane.RECONCILE: "0", Lane.BACKFILL: "-10"}


class Asset:
    """Keys of our assets. They are plain text and no enum, since Dagster's serializer refuses enums."""

    ATHLETES: Final = "athletes"
    GEAR: Final = "gear"
    ACTIVITIES: Final = "activities"
    DETAILS: Final = "activity_details"
    STREAMS: Final = "activity_streams"
    ANALYSES: Final = "route_analyses"
    LAKE: Final = "activity_points_parquet"
    TRAINING_LOAD: Final = "training_load"


# One request returns both, so neither is materialized alone.
PROFILE_ASSETS: Final = (Asset.ATHLETES, Asset.GEAR)
# The assets of an athlete's month, each built on the one before.
HISTORY_ASSETS: Final = (Asset.ACTIVITIES, Asset.DETAILS, Asset.STREAMS, Asset.ANALYSES)
ALL_ASSETS: Final = (*PROFILE_ASSETS, *HISTORY_ASSETS, Asset.LAKE, Asset.TRAINING_LOAD)
# The asset whose partitions each step of an import brings up to date.
STEP_ASSETS: Final = {
    ImportStep.SUMMARY: Asset.ACTIVITIES,
    ImportStep.DETAIL: Asset.DETAILS,
    ImportStep.STREAMS: Asset.STREAMS,
    ImportStep.FIGURES: Asset.ANALYSES,
    ImportStep.LAKE: Asset.LAKE,
}


class Job:
    """Names of the jobs that other processes launch."""

    WEBHOOK_SYNC: Final = "webhook_sync"
    NEWEST_MONTH: Final = "newest_month"
    IMPORT_HISTORY: Final = "import_history"
    # Dagster's own job of all assets in a code location; a run selects some of them.
    ASSETS: Final = "__ASSET_JOB"


@dataclass(frozen=True)
class Names:
    """Names that code locations share, made from one prefix."""

    prefix: str = "strava"

    @property
    def partition_set(self) -> str:
        """Name of the dynamic partitions, which have one key per connected athlete."""
        return f"{self.prefix}_athletes"

    @property
    def pool(self) -> str:
        """Name of the pool in which Dagster counts imports of older months, and of athletes."""
        return f"{self.prefix}_api"

    @property
    def newest_pool(self) -> str:
        """Name of the pool in which Dagster counts imports of a new athlete's newest month."""
        return f"{self.prefix}_newest"

    @property
    def upkeep_pool(self) -> str:
        """Name of the pool in which Dagster counts comparisons of what is stored with Strava."""
        return f"{self.prefix}_upkeep"

    @property
    def athlete_tag(self) -> str:
        """Name of the tag with the id of a run's athlete."""
        return self.tag("athlete")

    @property
    def lane_tag(self) -> str:
        """Name of the tag with the lane of a run's requests."""
        return self.tag("lane")

    @property
    def job_tag(self) -> str:
        """Name of the tag with the name of a job of ours whose runs have no lane."""
        return self.tag("job")

    @property
    def process_tag(self) -> str:
        """Name of the tag with the process that executes a run."""
        return self.tag("process")

    @property
    def beat_tag(self) -> str:
        """Name of the tag with a count that goes on while a run lives."""
        return self.tag("beat")

    @property
    def silent_tag(self) -> str:
        """Name of the tag that counts the looks at a run that found no new sign of life."""
        return self.tag("silent")

    def tag(self, name: str) -> str:
        """Return the name of one of our tags."""
        return f"{self.prefix}/{name}"

    def lane_tags(self, lane: Lane) -> dict[str, str]:
        """Return the tags that give a run its lane and priority."""
        return {self.lane_tag: lane.value, PRIORITY_TAG: PRIORITIES[lane]}

    def backfill_tags(self, athlete_id: int) -> dict[str, str]:
        """Return the tags of a run that imports an athlete's history."""
        return {self.athlete_tag: str(athlete_id)} | self.lane_tags(Lane.BACKFILL)


NAMES: Final = Names()


def month_key(month: date) -> str:
    """Return the partition key of a month in its dimension: ``2024-05-01``."""
    return f"{month_text(month)}-01"


def partition_key(athlete_id: int, month: date) -> str:
    """Return the partition key of an athlete's month: ``1001|2024-05-01``."""
    return f"{athlete_id}{_BETWEEN_DIMENSIONS}{month_key(month)}"


def athlete_of_key(key: str) -> str:
    """Return the athlete's part of a partition key, which is an athlete's or an athlete's month's."""
    return key.partition(_BETWEEN_DIMENSIONS)[0]


def range_tags(athlete_id: int, first: date, last: date) -> dict[str, str]:
    """Return the tags of a run over an athlete's months from ``first`` to ``last``, both included."""
    return {
        RANGE_START_TAG: partition_key(athlete_id, first),
        RANGE_END_TAG: partition_key(athlete_id, last),
    }
