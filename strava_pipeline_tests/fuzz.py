"""Reads damaged files by the ten thousand: ``make fuzz``.

They are read in a process of its own, which may take as much memory as the product's reader of recordings, and is
watched from here: a crash and a standstill are faults like others. Seed and number of an input give it again.
"""

from __future__ import annotations

import multiprocessing
import resource
import secrets
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from strava_pipeline.files.archive.limits import DEFAULT_LIMITS
from strava_pipeline_tests.fuzzed.inputs import Input, Kind, damaged_input, originals
from strava_pipeline_tests.fuzzed.reading import read_input
from strava_pipeline_tests.fuzzed.trial import Fault, Outcome, Target, peak_mib, try_inputs

INPUTS: Final = 100_000
# What the reading process may have taken in the end, MiB, its libraries included.
MOST_MIB: Final = 400
# An input of which nothing is heard for so long hangs, or the machine does.
STANDSTILL_S: Final = 60.0
_PAGES: Final = Path("/proc/self/statm")


def fuzz(seed: int, numbers: range, target: Target = read_input) -> tuple[Outcome, float]:
    """Read the inputs of these numbers; returns what became of them, and the peak of memory, MiB."""
    found, most_mib, rest = Outcome(), 0.0, deque(numbers)
    while rest:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_read_numbers, args=(seed, list(rest), target, theirs), daemon=True
        )
        process.start()
        theirs.close()
        for outcome, mib in _answers(ours):
            found.add(outcome)
            most_mib = max(most_mib, mib)
            rest.popleft()
        if rest:
            process.kill()
        process.join()
        if rest:
            number = rest.popleft()
            what = f"crashed its process (exit code {process.exitcode}), or stood still for {STANDSTILL_S:.0f} s"
            found.faults.append(Fault(number, damaged_input(seed, number).kind, what))
    return found, most_mib


def _answers(connection: Connection) -> Iterator[tuple[Outcome, float]]:
    """Yield what the process tells of each input, until it ends or stands still."""
    try:
        while connection.poll(STANDSTILL_S):
            yield connection.recv()
    except EOFError:
        pass
    finally:
        connection.close()


def _read_numbers(seed: int, numbers: list[int], target: Target, connection: Connection) -> None:
    originals()
    if _PAGES.exists():
        bound = int(_PAGES.read_text().split()[0]) * resource.getpagesize() + DEFAULT_LIMITS.reading_bytes
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    for number in numbers:
        connection.send((try_inputs([damaged_input(seed, number)], target), peak_mib()))
    connection.close()


def lines(outcome: Outcome, peak: float, seed: int, seconds: float) -> list[str]:
    """Return what to print."""
    slowest_s, number = outcome.slowest
    kinds = [f"{kind.value:<11} {outcome.read[kind]:>7,} read  {outcome.refused[kind]:>7,} refused" for kind in Kind]
    return [
        *kinds,
        f"{outcome.count:,} inputs of seed {seed} in {seconds:.0f} s: {len(outcome.faults)} faults",
        f"slowest: {slowest_s:.3f} s of the processor, input {number}",
        f"peak memory: {peak:.0f} MiB (bound {MOST_MIB})",
        *(
            f"input {fault.number} ({fault.kind}) {fault.what}\n  again: python -m {__package__}.fuzz"
            f" --seed {seed} --only {fault.number}"
            for fault in outcome.faults
        ),
    ]


@click.command()
@click.option("--inputs", type=click.IntRange(1), default=INPUTS, show_default=True, help="How many.")
@click.option("--seed", type=int, help="Gives the same inputs again; a new one if it is left out.")
@click.option("--only", type=click.IntRange(0), help="Read this input alone, and show where it fails.")
def main(inputs: int, seed: int | None, only: int | None) -> None:
    """Read damaged FIT, TCX, GPX, CSV and zip files; exit 1 if one does anything but be read or be refused."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    if only is not None:
        _show(damaged_input(seed, only))
        return
    began = time.monotonic()
    outcome, peak = fuzz(seed, range(inputs))
    for line in lines(outcome, peak, seed, time.monotonic() - began):
        click.echo(line)
    if outcome.faults or peak > MOST_MIB:
        raise SystemExit(1)


def _show(given: Input) -> None:
    click.echo(f"{given.kind} {given.name} {len(given.data):,} bytes: {given.data[:400]!r}")
    with TemporaryDirectory() as folder:
        click.echo("read" if read_input(given, Path(folder)) else "refused")


if __name__ == "__main__":
    main()
