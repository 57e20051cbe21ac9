"""Runs the checks side by side, each within its time limit, and yields what they find in their order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

from strava_pipeline.cli.doctor.findings import Check, Finding, Verdict, fail, warn
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings

log = get_logger(__name__)


@dataclass(frozen=True)
class Examined:
    """A check, and what it found."""

    check: Check
    findings: list[Finding]

    @property
    def has_failed(self) -> bool:
        return any(finding.verdict is Verdict.FAIL for finding in self.findings)

    @property
    def is_well(self) -> bool:
        return all(finding.verdict is Verdict.OK for finding in self.findings)


@dataclass(frozen=True)
class _Running:
    """A check at work; ``ends_at``: when it is given up (monotonic, s)."""

    check: Check
    ends_at: float
    found: Future[list[Finding]]

    def findings(self) -> list[Finding]:
        try:
            return self.found.result(timeout=max(0.0, self.ends_at - time.monotonic()))
        except TimeoutError:
            # The thread is left to itself: it may be within a call that nothing ends, such as a look-up of a name.
            return [fail(f"no result within {self.check.limit_s:g} s", self.check.remedy)]


def examine(checks: Sequence[Check], settings: Settings) -> Iterator[Examined]:
    """Yield what each check found, in the order of ``checks``, as soon as it is known.

    A check comes after the one that it needs; if that one is not well, it is not made, which is a warning.
    """
    running = {check.name: _started(check, settings) for check in checks if check.needs is None}
    for check in checks:
        examined = Examined(check, running[check.name].findings())
        yield examined
        for later in (later for later in checks if later.needs == check.name):
            running[later.name] = _started(later, settings) if examined.is_well else _left_out(later)


def _started(check: Check, settings: Settings) -> _Running:
    running = _Running(check, time.monotonic() + check.limit_s, Future())
    # No pool: that would wait at the end for a thread that is left to itself.
    Thread(target=_look, args=(running, settings), name=f"doctor: {check.name}", daemon=True).start()
    return running


def _left_out(check: Check) -> _Running:
    running = _Running(check, time.monotonic(), Future())
    running.found.set_result([warn(f"not checked: see {check.needs} above")])
    return running


def _look(running: _Running, settings: Settings) -> None:
    check = running.check
    found: list[Finding] = []
    try:
        for finding in check.look(settings):
            found.append(finding)  # noqa: PERF402  what was found before an error counts
    except ConfigurationError as error:
        found.append(fail(str(error)))  # it says what to do
    except StravaPipelineError as error:
        found.append(fail(str(error), check.remedy))
    except Exception as error:
        # A check that is broken itself must not hide what the others find.
        log.debug("check %s ended with an error", check.name, exc_info=error)
        found.append(fail(f"this check ended with {type(error).__name__}", "STRAVA_LOG_LEVEL=DEBUG logs where"))
    running.found.set_result(found)
