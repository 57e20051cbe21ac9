"""What a deployment keeps of Strava's data. What is left out is neither fetched nor stored, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from strava_pipeline.strava.mapping.activity import DetailRows
from strava_pipeline.warehouse.states import ImportStep, UpkeepKind


@dataclass(frozen=True)
class Kept:
    """The ``steps`` of imports that are kept; whether profiles with gear, totals and zones are, and training loads.

    A step needs the one before it, and training loads need figures. ``archive_details``: whether details are fetched of
    activities of which an archive tells; it lacks efforts on segments and what others did.
    """

    steps: frozenset[ImportStep] = frozenset(ImportStep)
    profiles: bool = True
    loads: bool = True
    archive_details: bool = False

    def of_steps(self, steps: Iterable[ImportStep]) -> tuple[ImportStep, ...]:
        """Return those of the steps that are kept, in the order of an import."""
        return tuple(step for step in ImportStep if step in self.steps.intersection(steps))

    def of_detail(self, rows: DetailRows) -> DetailRows:
        """Return the rows of a detail that are kept: the activity's always is."""
        kept = rows if self.profiles else replace(rows, gear=[])
        if ImportStep.DETAIL in self.steps:
            return kept
        return replace(kept, laps=[], splits=[], best_efforts=[], segment_efforts=[], segments=[], photos=[])

    @property
    def upkeep(self) -> frozenset[UpkeepKind]:
        """What upkeep compares of that."""
        wanted = {
            UpkeepKind.RECENT: ImportStep.SUMMARY in self.steps,
            UpkeepKind.HISTORY: ImportStep.SUMMARY in self.steps,
            UpkeepKind.DETAILS: ImportStep.DETAIL in self.steps,
            UpkeepKind.PROFILE: self.profiles,
            UpkeepKind.GEAR: self.profiles,
            UpkeepKind.LOADS: self.loads,
        }
        return frozenset(kind for kind, is_wanted in wanted.items() if is_wanted)


EVERYTHING = Kept()
