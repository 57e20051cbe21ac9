"""The process behind ``up``: starts the services, says that they are served, and keeps them running, for years.

``up`` prepares all of it with libraries that take much memory, and then becomes this program, which loads few. It is
the same process to whoever started it: its number, its terminal, its signals.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Final, NoReturn

from strava_pipeline import own_process, redaction
from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local.kept_lock import KeptLock
from strava_pipeline.local.kept_server import PYTHON, KeptServer
from strava_pipeline.local.supervisor import Service, Supervisor
from strava_pipeline.printable import WHOLE, printable

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A shell's exit code of a command that a signal ended is this plus the signal's number.
BY_SIGNAL: Final = 128


@dataclass(frozen=True)
class Plan:
    """What to keep running: services, those of one group after those before are ready, and the embedded Postgres.

    ``told`` is printed once all are ready. ``storage`` is the lock of Dagster's storage.
    """

    services: Sequence[Sequence[Service]]
    told: Sequence[str]
    postgres: KeptServer | None
    log_level: str
    # A name of the form, not the setting's type, whose module loads much.
    log_format: str
    storage: KeptLock | None = None

    def descriptors(self) -> set[int]:
        """The file descriptors that the services, the lock of Postgres and that of Dagster's storage are."""
        found = {number for group in self.services for service in group for number in service.descriptors}
        found |= set() if self.postgres is None else {self.postgres.lock}
        return found | (set() if self.storage is None else {self.storage.descriptor})


def become_keeper(plan: Plan) -> NoReturn:
    """Go on as this program, with the plan's file descriptors open, and all others closed.

    Signals wait until it is ready to end what it has started.
    """
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pickle.dump(plan, pipe)
    for descriptor in (reading, *plan.descriptors()):
        os.set_inheritable(descriptor, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*PYTHON, __name__, str(reading)])  # noqa: S606  this program


def main(reading: int) -> int:
    """Keep everything running until a signal; returns the exit code."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    with os.fdopen(reading, "rb") as pipe:
        plan: Plan = pickle.load(pipe)  # noqa: S301  this very process has written it
    for descriptor in plan.descriptors():
        os.set_inheritable(descriptor, False)
    redaction.install()
    own_process.log_to_stderr(plan.log_level, plan.log_format)
    say = partial(own_process.announce, form=plan.log_format, stream=sys.stderr)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _keep(plan, say)
        finally:
            if plan.postgres is not None:
                plan.postgres.release()
    except (StravaPipelineError, OSError) as error:
        say(f"strava-pipeline: {error}", level=logging.CRITICAL)
        return 1
    except KeyboardInterrupt as interrupt:
        return BY_SIGNAL + int(interrupt.args[0])
    say("stopped")
    return 0


def _keep(plan: Plan, say: Callable[[str], None]) -> None:
    with Supervisor() as supervisor:
        for group in plan.services:
            for service in group:
                supervisor.start(service)
            supervisor.wait_until_ready()
        sys.stdout.write("".join(f"{printable(line, WHOLE)}\n" for line in plan.told))
        sys.stdout.flush()
        # In this order: the lock is in the server.
        kept = [each for each in (plan.postgres, plan.storage) if each is not None]

        def care() -> None:
            for each in kept:
                each.look_after(say)

        supervisor.watch(care)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature is signal's
    raise KeyboardInterrupt(signum)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
