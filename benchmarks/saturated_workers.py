"""Eight workers that take all the calls they get, against a model of Strava.

Uses the standard library only, so that it also runs in an environment with stravalib, but without our packages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.figure import show
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation, StravaModel

Pattern = Literal["steady", "rush"]
PATTERNS: tuple[Pattern, ...] = ("steady", "rush")
SKEWS_S = (-1.5, 0.0, 1.5)
WORKERS = 8
WINDOWS = 30
LIMIT = 100
QUARTER_S = 900
LATENCY_S = (0.05, 2.0)
# How long before the end of a window the workers start, or start again, s.
BEFORE_END_S = (5.0, 40.0)
SEED = 20_261


@dataclass
class SaturatedWorkers:
    """One run in simulated time; ``skew_s``: Strava's clock minus ours.

    The day's limit is too high to matter. In a rush, the workers rest in every other window until shortly before its
    end, and use only a part of it; the window after it, in which they work from the first moment on, is measured.
    """

    pattern: Pattern
    skew_s: float
    strava: StravaModel = field(default_factory=lambda: StravaModel(LIMIT, 10**6))

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{SEED} {self.pattern} {self.skew_s}")
        self.simulation = Simulation(EPOCH_2026 - self.skew_s - self.chance.uniform(*BEFORE_END_S))
        first, step = self.strava.window(EPOCH_2026), 1 if self.pattern == "steady" else 2
        self._measured = [first + number * step for number in range(WINDOWS)]
        self._rests = {} if step == 1 else {n + 1: self.chance.uniform(*BEFORE_END_S) for n in self._measured}

    def run(self, calls: list[Callable[[], object]]) -> None:
        """Let one worker per entry of ``calls`` repeat its call until the last window has ended."""
        for call in calls:
            self.simulation.start(lambda call=call: self._work(call))  # type: ignore[misc]  # the default is the point
        self.simulation.run((self._measured[-1] + 1) * QUARTER_S - self.skew_s - 1e-3)

    def figures(self, whose: str) -> None:
        """Print the 429s, and the share of the measured windows' calls that was used."""
        used = sum(self.strava.accepted[window] for window in self._measured)
        name = f"{whose}, {self.pattern}, Strava's clock {self.skew_s:+.1f} s"
        show(f"{name}: 429s", self.strava.rejected, target="0")
        show(f"{name}: use", 100 * used / (WINDOWS * LIMIT), "%", target=">= 99")

    @property
    def strava_time(self) -> float:
        return self.simulation.now + self.skew_s

    def _work(self, call: Callable[[], object]) -> None:
        while True:
            window = self.strava.window(self.strava_time)
            if window in self._rests:
                back = (window + 1) * QUARTER_S - self._rests[window]
                self.simulation.sleep(max(0.0, back - self.strava_time))
            call()


def runs() -> Iterator[SaturatedWorkers]:
    """Yield a run for each pattern and clock skew."""
    for pattern in PATTERNS:
        for skew_s in SKEWS_S:
            yield SaturatedWorkers(pattern, skew_s)
