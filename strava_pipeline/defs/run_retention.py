"""Deletes old runs of ours, by Dagster's public API, but for those that show the last state of a partition.

Dagster deletes materializations with their run. So a run stays while it is the last one that materialized one of its
partitions; the month keeps its figures and its time.

A look begins where the last one ended (:class:`Cursor`), so its work is bounded by what happened since: by the
materializations since then, of which each may have superseded an older run, and by the runs that have come of age.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Self

import dagster as dg

from strava_pipeline.defs.our_runs import earlier_assets, is_ours, our_assets
from strava_pipeline.names import Names

# Runs, or events, that one query brings.
PAGE = 100
# Dagster numbers events when they are written and shows them when they are committed, which may be in another order.
UNSETTLED = timedelta(minutes=10)
_INSTANT = timedelta(microseconds=1)
_BEGINNING = datetime.fromtimestamp(0, UTC)
_PICTURE = "data:image/"
_FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Lives:
    """How long runs are kept after their end, by how they ended; ``None``: for good."""

    succeeded: timedelta | None
    failed: timedelta | None

    def ends(self, moment: datetime) -> dict[dg.DagsterRunStatus, datetime]:
        """By status: runs that ended before this time (UTC) are old at ``moment``."""
        lives = {dg.DagsterRunStatus.SUCCESS: self.succeeded} | dict.fromkeys(_FAILED, self.failed)
        return {status: moment - life for status, life in lives.items() if life is not None}


@dataclass(frozen=True)
class Cursor:
    """How far looks have come: by asset the number of the last event, by status the end of the last run (UTC).

    ``complete_at``: when the last look began (UTC), if it came to its end.
    """

    events: Mapping[str, int] = field(default_factory=dict)
    runs: Mapping[str, datetime] = field(default_factory=dict)
    complete_at: datetime | None = None

    @classmethod
    def of(cls, text: str) -> Self:
        """The cursor that :func:`str` wrote."""
        told = json.loads(text)
        ends = {status: datetime.fromisoformat(end) for status, end in told["runs"].items()}
        complete_at = told["complete_at"]
        return cls(told["events"], ends, None if complete_at is None else datetime.fromisoformat(complete_at))

    def __str__(self) -> str:
        ends = {status: end.isoformat() for status, end in self.runs.items()}
        complete_at = None if self.complete_at is None else self.complete_at.isoformat()
        return json.dumps({"events": dict(self.events), "runs": ends, "complete_at": complete_at})


@dataclass
class Look:
    """One look: deletes old runs that are superseded, until none is left or ``goes_on`` says no.

    ``cursor`` is always such that a later look may begin there. The deletion tag of ``names`` marks a run whose
    deletion has begun: if the process dies between Dagster's deletion of events and of the run, the next look finds it
    by that.

    ``is_own``: whether the deployment is our own. There runs of earlier releases are ours, too: what they materialized
    under an asset's earlier key counts for nothing (:mod:`.renamed_assets`).
    """

    instance: dg.DagsterInstance
    names: Names
    lives: Lives
    moment: datetime
    cursor: Cursor = field(default_factory=Cursor)
    is_own: bool = False
    goes_on: Callable[[], bool] = lambda: True
    deleted: int = 0
    seen: int = 0

    def __post_init__(self) -> None:
        self._old_before = self.lives.ends(self.moment)
        self._assets = our_assets(self.names)
        self._earlier_assets = earlier_assets() if self.is_own else frozenset()

    def work(self) -> Iterator[None]:
        """Work page by page; whoever iterates keeps the cursor after each, and at the end."""
        self.cursor = replace(self.cursor, complete_at=None)
        for run in self.instance.get_runs(dg.RunsFilter(tags={self.names.deletion_tag: "begun"})):
            # A run that executes another one again has its tags, too.
            told = self._materializations_of(run.run_id)
            if run.is_finished and told is not None and not any(self._are_last(run.run_id, told)):
                self._finish(run)
        if not self._old_before:
            return
        if not self.cursor.events:
            # Each old run is looked at below.
            self.cursor = replace(self.cursor, events=self._last_events())
        for asset in self._assets:
            yield from self._superseded_since(asset)
        for status, end in self._old_before.items():
            yield from self._come_of_age(status, end)
        if self.goes_on():
            self.cursor = replace(self.cursor, complete_at=self.moment)

    def _last_events(self) -> dict[str, int]:
        settled = (self.moment - UNSETTLED).timestamp()
        events = {}
        for asset in self._assets:
            last = self.instance.fetch_materializations(dg.AssetRecordsFilter(asset, before_timestamp=settled), limit=1)
            events[asset.to_user_string()] = last.records[0].storage_id if last.records else 0
        return events

    def _superseded_since(self, asset: dg.AssetKey) -> Iterator[None]:
        """Look at the runs before those that have materialized a partition since the last look."""
        name, settled = asset.to_user_string(), (self.moment - UNSETTLED).timestamp()
        while self.goes_on():
            since = dg.AssetRecordsFilter(asset, after_storage_id=self.cursor.events.get(name, 0))
            page = self.instance.fetch_materializations(since, limit=PAGE, ascending=True)
            # Up to the first one that is not settled: a later one may have been written by an earlier time.
            records = list(takewhile(lambda record: record.timestamp < settled, page.records))
            for record in records:
                if not self.goes_on():
                    return
                self._look_at_run_before(asset, record)
                self.cursor = replace(self.cursor, events={**self.cursor.events, name: record.storage_id})
            yield
            if len(records) < PAGE:
                return

    def _look_at_run_before(self, asset: dg.AssetKey, record: dg.EventLogRecord) -> None:
        if record.partition_key is None:
            return
        before = dg.AssetRecordsFilter(
            asset, asset_partitions=[record.partition_key], before_storage_id=record.storage_id
        )
        for earlier in self.instance.fetch_materializations(before, limit=1).records:
            if earlier.run_id not in {record.run_id, ""}:
                self._look_at(self.instance.get_run_records(dg.RunsFilter(run_ids=[earlier.run_id])))

    def _come_of_age(self, status: dg.DagsterRunStatus, end: datetime) -> Iterator[None]:
        """Look at runs that have come of age since the last look."""
        # A longer life makes runs young again.
        after = min(self.cursor.runs.get(status.value, _BEGINNING), end)
        looked_at: set[str] = set()
        limit = PAGE
        while self.goes_on():
            # Several runs may have the same time: those of the last one are asked for once more.
            since = dg.RunsFilter(statuses=[status], updated_after=after - _INSTANT, updated_before=end)
            page = self.instance.get_run_records(since, limit, order_by="update_timestamp", ascending=True)
            new = [record for record in page if record.dagster_run.run_id not in looked_at]
            for record in new:
                if not self.goes_on():
                    return
                self._look_at([record])
                looked_at.add(record.dagster_run.run_id)
                after = record.update_timestamp
                self._has_come_to(status, after)
            if len(page) < limit:
                self._has_come_to(status, end)
                return
            limit = PAGE if new else 2 * limit
            yield

    def _has_come_to(self, status: dg.DagsterRunStatus, end: datetime) -> None:
        self.cursor = replace(self.cursor, runs={**self.cursor.runs, status.value: end})

    def _look_at(self, records: Iterable[dg.RunRecord]) -> None:
        """Delete those of the runs that are ours, old, and superseded in each partition."""
        for record in records:
            run = record.dagster_run
            self.seen += 1
            end = self._old_before.get(run.status)
            if end is None or record.update_timestamp >= end or not is_ours(run, self.names, is_own=self.is_own):
                continue
            told = self._materializations_of(run.run_id)
            if told is None:
                continue
            if any(map(_has_picture, told)):
                self._report_without_pictures(self._are_last(run.run_id, told))
                self._delete(run)
            # A run that stays is one question to Dagster: most do, and each has dozens of partitions.
            elif not any(self._are_last(run.run_id, told)):
                self._delete(run)

    def _materializations_of(self, run_id: str) -> list[dg.AssetMaterialization] | None:
        """The run's last materialization of each partition; ``None`` if it has materialized others' assets."""
        told: dict[tuple[dg.AssetKey, str | None], dg.AssetMaterialization] = {}
        for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            if (materialization := entry.asset_materialization) is not None:
                told[materialization.asset_key, materialization.partition] = materialization
        ours = self._assets | self._earlier_assets
        return list(told.values()) if ours.issuperset(asset for asset, _ in told) else None

    def _are_last(self, run_id: str, told: Iterable[dg.AssetMaterialization]) -> Iterator[dg.AssetMaterialization]:
        """Those of a run's materializations that nothing has superseded; each is asked for when it is reached."""
        ours = (each for each in told if each.asset_key in self._assets)
        return (each for each in ours if self._last_run(each.asset_key, each.partition) == run_id)

    def _last_run(self, asset: dg.AssetKey, partition: str | None) -> str:
        partitions = None if partition is None else [partition]
        last = self.instance.fetch_materializations(dg.AssetRecordsFilter(asset, asset_partitions=partitions), limit=1)
        return last.records[0].run_id if last.records else ""

    def _report_without_pictures(self, last: Iterable[dg.AssetMaterialization]) -> None:
        """Earlier versions stored pictures. What the run tells stays, as events without a run, and its pictures go."""
        for materialization in last:
            metadata = {name: value for name, value in materialization.metadata.items() if not _is_picture(value)}
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    materialization.asset_key, partition=materialization.partition, metadata=metadata
                )
            )

    def _delete(self, run: dg.DagsterRun) -> None:
        try:
            self.instance.add_run_tags(run.run_id, {self.names.deletion_tag: "begun"})
        except dg.DagsterRunNotFoundError:
            return  # an athlete was disconnected meanwhile, or a person deleted it
        self._finish(run)

    def _finish(self, run: dg.DagsterRun) -> None:
        self.instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        # Dagster deletes the run first, and events without a run are never found again.
        self.instance.event_log_storage.delete_events(run.run_id)
        self.instance.delete_run(run.run_id)
        self.deleted += 1


def _has_picture(materialization: dg.AssetMaterialization) -> bool:
    return any(map(_is_picture, materialization.metadata.values()))


def _is_picture(value: dg.MetadataValue) -> bool:
    return isinstance(value, dg.MarkdownMetadataValue) and _PICTURE in (value.md_str or "")
