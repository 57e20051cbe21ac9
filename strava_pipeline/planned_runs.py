"""Plans the Dagster runs of an athlete: which assets, over which months, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from strava_pipeline.months import add_months, month_text
from strava_pipeline.names import HISTORY_ASSETS, PARTITION_TAG, Asset, Names, range_tags

DEEPER = (*HISTORY_ASSETS[1:], Asset.LAKE)
MONTHS_PER_RUN = 12


@dataclass(frozen=True)
class PlannedRun:
    """One Dagster run: the plain names of its assets, and its first and last month.

    There are no months for assets that are partitioned by athlete alone.
    """

    assets: tuple[str, ...]
    first: datetime | None = None
    last: datetime | None = None

    @property
    def months(self) -> str:
        return f"{month_text(self.first)} to {month_text(self.last)}" if self.first and self.last else ""

    @property
    def selection(self) -> tuple[str, ...]:
        """The assets to materialize: one request returns profile and gear, so neither is materialized alone."""
        return (*self.assets, Asset.GEAR) if Asset.ATHLETES in self.assets else self.assets

    def tags(self, names: Names, athlete_id: int) -> dict[str, str]:
        """Return the tags of the run: athlete, lane and priority of a backfill, and the partitions."""
        tags = names.backfill_tags(athlete_id)
        if self.first is None or self.last is None:
            return tags | {PARTITION_TAG: str(athlete_id)}
        return tags | range_tags(athlete_id, self.first, self.last)

    def __str__(self) -> str:
        return " ".join(filter(None, (", ".join(self.assets), self.months)))


def plan_in_sequence(first: datetime, last: datetime, assets: Sequence[str]) -> Iterator[PlannedRun]:
    """Plan runs that wait for each other: the profile, one listing over the whole span, then years, newest first."""
    if Asset.ATHLETES in assets:
        yield PlannedRun((Asset.ATHLETES,))
    if Asset.ACTIVITIES in assets:
        yield PlannedRun((Asset.ACTIVITIES,), first, last)
    yield from _years(first, last, [name for name in DEEPER if name in assets])


def plan_side_by_side(first: datetime, last: datetime, assets: Sequence[str]) -> Iterator[PlannedRun]:
    """Plan runs that need not wait for each other: the profile, then years, newest first, each with its own listing."""
    if Asset.ATHLETES in assets:
        yield PlannedRun((Asset.ATHLETES,))
    yield from _years(first, last, [name for name in (Asset.ACTIVITIES, *DEEPER) if name in assets])


def _years(first: datetime, last: datetime, assets: Sequence[str]) -> Iterator[PlannedRun]:
    end = last
    while assets and end >= first:
        start = max(first, add_months(end, 1 - MONTHS_PER_RUN))
        yield PlannedRun(tuple(assets), start, end)
        end = add_months(start, -1)
