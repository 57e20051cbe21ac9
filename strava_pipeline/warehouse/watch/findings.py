"""What is found wrong at one moment; how long it has to last before it is told, a rule says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from strava_pipeline.warehouse.watch.alerts import NOBODY


@dataclass(frozen=True)
class Finding:
    """A rule's condition that holds now.

    ``detail``: what was found, in one line. ``since``: since when it holds (UTC), where that is known; else it counts
    from the first evaluation that finds it. ``is_told``: a bridge told of it by itself, since the database was away.
    """

    rule: str
    detail: str
    athlete_id: int = NOBODY
    since: datetime | None = None
    is_told: bool = False
