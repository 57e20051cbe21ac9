"""Shows the progress of ``strava-pipeline backfill``: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.months import Span
from strava_pipeline.names import Asset
from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.progress.backfill_estimate import backfill_end
from strava_pipeline.warehouse.progress.job_progress import Completeness, backfill_progress, count_done

LOOK_EVERY_SECONDS = 1.0
LINE_EVERY_SECONDS = 30.0
# A request of a backfill takes about this long, even without a pause between batches.
ASSUMED_SECONDS_PER_REQUEST = 0.3


@dataclass(frozen=True)
class Snapshot:
    """The progress of a backfill. ``details`` and ``streams`` say whether the backfill includes them."""

    done: Completeness
    details: bool
    streams: bool
    waiting: str = ""
    end: datetime | None = None

    @property
    def wanted(self) -> int:
        """The number of steps in all: the detail and the streams of each listed activity, as far as included."""
        return self.done.listed * (self.details + self.streams)

    @property
    def finished(self) -> int:
        return self.done.detailed * self.details + self.done.streamed * self.streams

    @property
    def text(self) -> str:
        """One line: the counts, what the backfill waits for if it waits, and its estimated end."""
        parts = [f"{self.done.listed} activities listed"]
        if self.details:
            parts.append(f"{self.done.detailed} detailed")
        if self.streams:
            parts.append(f"{self.done.streamed} with samples")
        if self.waiting:
            parts.append(printable(self.waiting))
        if self.end is not None:
            parts.append(f"done about {self.end:%Y-%m-%d %H:%M} UTC")
        return ", ".join(parts)


def look(engine: Engine, settings: Settings, span: Span, assets: tuple[str, ...]) -> Snapshot:
    """Read the backfill's progress from the database."""
    details, streams = Asset.DETAILS in assets, Asset.STREAMS in assets
    with engine.connect() as connection:
        done = count_done(connection, span, archive_details=settings.archive_details)
        view = Snapshot(done, details, streams)
        runs = [run for run in backfill_progress(connection) if run.athlete_id == span.athlete_id]
        waits = [run for run in runs if run.waiting_for]
        pace = settings.import_batch_interval_seconds / settings.import_batch_size
        end = backfill_end(
            connection,
            RateLimits.from_settings(settings),
            span.athlete_id,
            view.wanted - view.finished,
            max(pace, ASSUMED_SECONDS_PER_REQUEST),
        )
    waiting = ""
    if waits:
        until = f" until {waits[0].waiting_until:%H:%M:%S} UTC" if waits[0].waiting_until else ""
        waiting = f"waiting{until}: {waits[0].waiting_for}"
    return Snapshot(done, details, streams, waiting, end)


@dataclass
class Sight:
    """What ``look_now`` returned last; while the database is away, that and since when."""

    look_now: Callable[[], Snapshot]
    _last: Snapshot | None = None
    _away_since: datetime | None = None

    def now(self) -> Snapshot | None:
        """Look; ``None`` if the database was not there yet."""
        try:
            self._last, self._away_since = self.look_now(), None
        except DatabaseUnavailable as error:
            self._away_since = self._away_since or datetime.now(UTC)
            waiting = f"waiting since {self._away_since:%Y-%m-%d %H:%M} UTC: {error}"
            return None if self._last is None else replace(self._last, waiting=waiting, end=None)
        return self._last


@contextmanager
def shown(look_now: Callable[[], Snapshot], console: Console) -> Iterator[Console]:
    """Show the progress that ``look_now`` returns while the block runs; yields the console that it is shown on."""
    over = threading.Event()
    show = _bar if console.is_terminal else _lines
    watcher = threading.Thread(target=show, args=(Sight(look_now), console, over), daemon=True)
    watcher.start()
    try:
        yield console
    finally:
        over.set()
        watcher.join()


def _bar(sight: Sight, console: Console, over: threading.Event) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=None)
        while True:
            last = over.wait(LOOK_EVERY_SECONDS)
            view = sight.now()
            if view is not None:
                progress.update(task, description=view.text, completed=view.finished, total=view.wanted or None)
            if last:
                return


def _lines(sight: Sight, console: Console, over: threading.Event) -> None:
    told, told_at = "", time.monotonic()
    sight.now()  # for the counts, if the database goes away before the first line
    while not over.wait(LOOK_EVERY_SECONDS):
        if time.monotonic() - told_at >= LINE_EVERY_SECONDS:
            view = sight.now()
            if view is not None and view.text != told:
                console.print(view.text, soft_wrap=True, highlight=False, markup=False)
                told = view.text
            told_at = time.monotonic()
