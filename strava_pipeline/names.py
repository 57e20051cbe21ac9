"""Names of assets, jobs, partitions and tags in Dagster.

They stand in one module without Dagster, because the bridge and the commands must spell them as the code location does.
Dagster shares most names between all that is in a code location, and some between all code locations: each begins with
a prefix that is chosen when the definitions are made, and :class:`Names` is the one place that puts both together. A
process that does not make the definitions finds jobs and assets by their tags, and the prefix in these.
"""

from __future__ import annotations

import re
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
RETRY_STRATEGY_TAG: Final = "dagster/retry_strategy"
RETRY_AFTER_FAILURE_TAG: Final = "dagster/retry_on_asset_or_op_failure"
ROOT_RUN_TAG: Final = "dagster/root_run_id"
WILL_RETRY_TAG: Final = "dagster/will_retry"
KUBERNETES_TAG: Final = "dagster-k8s/config"

# Our own tags whose names do not depend on the prefix, by which any process finds what is ours. On each job, and so on
# each of its runs, and on each asset: its plain name, which is its name without the prefix ...
JOB_TAG: Final = "strava_pipeline/job"
ASSET_TAG: Final = "strava_pipeline/asset"
# ... and the prefix. Assets' tags allow no slash in a value.
PREFIX_TAG: Final = "strava_pipeline/prefix"
# On each job: whether this Dagster is a deployment of our own, or somebody else's.
DEPLOYMENT_TAG: Final = "strava_pipeline/deployment"
OWN: Final = "own"
GUEST: Final = "guest"
# On each job: the Strava app's id, if the settings told it when the definitions were made. Two apps in one Dagster are
# told apart by it.
APP_TAG: Final = "strava_pipeline/app"
_BETWEEN_PARTS: Final = "."
_PART: Final = re.compile("[A-Za-z0-9_]+")
# As many characters as Dagster takes in the value of a tag.
_LONGEST_PREFIX: Final = 63

# The two dimensions of a partition key, in the order in which Dagster joins them: by name.
ATHLETE: Final = "athlete"
MONTH: Final = "month"
_BETWEEN_DIMENSIONS: Final = "|"

# A newest month goes before older months in the queue, and after webhooks.
NEWEST_PRIORITY: Final = "5"
# For runs that a schedule or the bridge launches anew: Dagster would execute them once more beside that.
NO_RETRIES: Final = {MAX_RETRIES_TAG: "0"}
# For runs whose steps hand over values that are stored nowhere: one that crashed is executed again from its first step.
# One with a step that failed is not, since its events have become dead letters.
RETRIED_AS_A_WHOLE: Final = {RETRY_STRATEGY_TAG: "ALL_STEPS", RETRY_AFTER_FAILURE_TAG: "false"}
PRIORITIES: Final = {Lane.LIVE: "10", Lane.RECONCILE: "0", Lane.BACKFILL: "-10"}


class Asset:
    """Plain names of our assets. They are plain text and no enum, since Dagster's serializer refuses enums."""

    ATHLETES: Final = "athletes"
    GEAR: Final = "gear"
    ACTIVITIES: Final = "activities"
    DETAILS: Final = "activity_details"
    STREAMS: Final = "activity_streams"
    ANALYSES: Final = "route_analyses"
    LAKE: Final = "activity_points_parquet"
    TRAINING_LOAD: Final = "training_load"
    ARCHIVE_FILES: Final = "archive_files"


# One request returns both, so neither is materialized alone.
PROFILE_ASSETS: Final = (Asset.ATHLETES, Asset.GEAR)
# The assets of an athlete's month, each built on the one before.
HISTORY_ASSETS: Final = (Asset.ACTIVITIES, Asset.DETAILS, Asset.STREAMS, Asset.ANALYSES)
ALL_ASSETS: Final = (*PROFILE_ASSETS, *HISTORY_ASSETS, Asset.LAKE, Asset.TRAINING_LOAD, Asset.ARCHIVE_FILES)
# The asset whose partitions each step of an import brings up to date.
STEP_ASSETS: Final = {
    ImportStep.SUMMARY: Asset.ACTIVITIES,
    ImportStep.DETAIL: Asset.DETAILS,
    ImportStep.STREAMS: Asset.STREAMS,
    ImportStep.FIGURES: Asset.ANALYSES,
    ImportStep.LAKE: Asset.LAKE,
}


class Job:
    """Plain names of our jobs."""

    WEBHOOK_SYNC: Final = "webhook_sync"
    NEWEST_MONTH: Final = "newest_month"
    IMPORT_HISTORY: Final = "import_history"
    ARCHIVE_IMPORT: Final = "archive_import"
    FILES_IMPORT: Final = "files_import"
    UPKEEP: Final = "upkeep"
    UPDATE_LAKE: Final = "update_lake"
    RUN_CHECKS: Final = "run_checks"
    RETENTION: Final = "retention"
    RUN_RETENTION: Final = "run_retention"
    SEND_NOTIFICATIONS: Final = "send_notifications"
    REMAP: Final = "remap"
    # Dagster's own job of all assets in a code location, whose name has no prefix; a run selects some of them.
    ASSETS: Final = "__ASSET_JOB"


# The plain name of our one sensor.
TRAINING_LOAD_SENSOR: Final = "training_load_automation"


@dataclass(frozen=True)
class Names:
    """Names in Dagster, made from the parts of one prefix: ``("strava",)``, or ``("sports", "strava")``.

    ``ValueError`` for a part that Dagster takes in no name: anything but letters, digits and underscores; and for more
    than it takes in a tag.
    """

    key_prefix: tuple[str, ...] = ("strava",)

    def __post_init__(self) -> None:
        if not self.key_prefix or not all(_PART.fullmatch(part) for part in self.key_prefix):
            raise ValueError(
                f"key_prefix {list(self.key_prefix)!r}: give one or more parts of letters, digits and underscores"
            )
        if len(self.prefix) > _LONGEST_PREFIX:
            raise ValueError(f"key_prefix {self.prefix[:20]!r}... is too long: {_LONGEST_PREFIX} characters at most")

    @classmethod
    def of_tag(cls, value: str) -> Names:
        """Return the names whose prefix the tag :data:`PREFIX_TAG` gives. ``ValueError`` if the value is not ours."""
        return cls(tuple(value.split(_BETWEEN_PARTS)))

    @property
    def tag_value(self) -> str:
        """Value of the tag :data:`PREFIX_TAG`: the parts with a dot between."""
        return _BETWEEN_PARTS.join(self.key_prefix)

    @property
    def prefix(self) -> str:
        """The parts as the beginning of a name: with an underscore between."""
        return "_".join(self.key_prefix)

    def asset_path(self, asset: str) -> list[str]:
        """Return the path of an asset's key: ``["strava", "activities"]``."""
        return [*self.key_prefix, asset]

    def asset_key(self, asset: str) -> str:
        """Return an asset's key as Dagster shows it: ``strava/activities``."""
        return "/".join(self.asset_path(asset))

    def asset_of(self, key: str) -> str | None:
        """Return the plain name of the asset with this key, as Dagster shows it; ``None`` if it is not ours."""
        name = key.rpartition("/")[2]
        return name if name in ALL_ASSETS and key == self.asset_key(name) else None

    def job(self, name: str) -> str:
        """Return the name of one of our jobs: ``strava_webhook_sync``. Dagster's job of all assets has no prefix."""
        return name if name == Job.ASSETS else f"{self.prefix}_{name}"

    def op(self, name: str) -> str:
        """Return the name of one of our ops: ``strava_sync_object``."""
        return f"{self.prefix}_{name}"

    def schedule(self, name: str) -> str:
        """Return the name of one of our schedules or sensors: ``strava_imports_every_five_minutes``."""
        return f"{self.prefix}_{name}"

    def group(self, name: str) -> str:
        """Return the name of a group of assets: ``strava_analysis``."""
        return f"{self.prefix}_{name}"

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
        """Name of the pool in which Dagster counts runs of upkeep, of retention and of remapping."""
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

    @property
    def cursor_tag(self) -> str:
        """Name of the tag with how far a run of the job has come that deletes old runs."""
        return self.tag("cursor")

    @property
    def deletion_tag(self) -> str:
        """Name of the tag of a run whose deletion has begun."""
        return self.tag("deletion")

    def tag(self, name: str) -> str:
        """Return the name of one of our tags of runs: ``strava/athlete``."""
        return f"{self.prefix}/{name}"

    def job_tags(self, job: str) -> dict[str, str]:
        """Return the tags by which a job, and each of its runs, is known to be ours."""
        return {JOB_TAG: job, PREFIX_TAG: self.tag_value}

    def asset_tags(self, asset: str) -> dict[str, str]:
        """Return the tags by which an asset is known to be ours."""
        return {ASSET_TAG: asset, PREFIX_TAG: self.tag_value}

    def lane_tags(self, lane: Lane) -> dict[str, str]:
        """Return the tags that give a run its lane and priority."""
        return {self.lane_tag: lane.value, PRIORITY_TAG: PRIORITIES[lane]}

    def backfill_tags(self, athlete_id: int) -> dict[str, str]:
        """Return the tags of a run that imports an athlete's history."""
        return {self.athlete_tag: str(athlete_id)} | self.lane_tags(Lane.BACKFILL)


# In a deployment of our own, where nobody else chooses a prefix.
OWN_NAMES: Final = Names()


def month_key(month: date) -> str:
    """Return the partition key of a month in its dimension: ``2024-05-01``."""
    return f"{month_text(month)}-01"


def partition_key(athlete_id: int, month: date) -> str:
    """Return the partition key of an athlete's month: ``1001|2024-05-01``."""
    return f"{athlete_id}{_BETWEEN_DIMENSIONS}{month_key(month)}"


def athlete_of_key(key: str) -> str:
    """Return the athlete's part of a partition key, which is an athlete's or an athlete's month's."""
    return key.partition(_BETWEEN_DIMENSIONS)[0]


def month_of_key(key: str) -> date | None:
    """Return the month of a partition key; ``None`` if the key is an athlete's."""
    try:
        return date.fromisoformat(key.rpartition(_BETWEEN_DIMENSIONS)[2])
    except ValueError:
        return None


def range_tags(athlete_id: int, first: date, last: date) -> dict[str, str]:
    """Return the tags of a run over an athlete's months from ``first`` to ``last``, both included."""
    return {
        RANGE_START_TAG: partition_key(athlete_id, first),
        RANGE_END_TAG: partition_key(athlete_id, last),
    }
