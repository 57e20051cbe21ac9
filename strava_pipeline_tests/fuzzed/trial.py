"""Tries damaged inputs one after the other, and measures each."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from strava_pipeline_tests.fuzzed.inputs import Input, Kind
from strava_pipeline_tests.fuzzed.reading import read_input

# No input may take longer, in s of the processor's time.
MOST_S = 10.0
Target = Callable[[Input, Path], bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """An input that broke a rule, and how."""

    number: int
    kind: Kind
    what: str


@dataclass(slots=True)
class Outcome:
    """What became of inputs. ``slowest``: s of the processor's time, and the number of that input."""

    read: Counter[Kind] = field(default_factory=Counter)
    refused: Counter[Kind] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    @property
    def count(self) -> int:
        return self.read.total() + self.refused.total() + len(self.faults)

    def add(self, other: Outcome) -> None:
        self.read += other.read
        self.refused += other.refused
        self.faults += other.faults
        self.slowest = max(self.slowest, other.slowest)


def try_inputs(inputs: Iterable[Input], target: Target = read_input) -> Outcome:
    """Read inputs; an error other than a refusal, and a second too many, are faults."""
    found = Outcome()
    with TemporaryDirectory() as folder:
        for given in inputs:
            began = time.process_time()
            try:
                counts = found.read if target(given, Path(folder)) else found.refused
            except Exception as error:  # noqa: BLE001  whatever it is, it is told
                found.faults.append(Fault(given.number, given.kind, _last(error)))
            else:
                counts[given.kind] += 1
            seconds = time.process_time() - began
            found.slowest = max(found.slowest, (seconds, given.number))
            if seconds > MOST_S:
                found.faults.append(Fault(given.number, given.kind, f"took {seconds:.1f} s"))
    return found


def peak_mib() -> float:
    """Return the most memory that this process has had, MiB."""
    # Not getrusage's figure: a process that was forked and then runs another program keeps that of its parent there.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _last(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"
