"""The threads that work beside the bridge's answers: how they start, rest, stop, and tell of their end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.redaction import get_logger

log = get_logger(__name__)


class WorkerThread:
    """A thread that does ``work`` until it is stopped. ``/health/live`` answers 503 once it has ended by itself.

    ``work`` is a loop until ``stopping`` is set, with :meth:`rest` between two rounds. Errors of a round end at
    :meth:`attempt`. One that ``work`` lets through ends the thread, and is logged as critical.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.woken = threading.Event()
        # Rounds that ended by an error after which the thread went on; a metric.
        self.errors = 0
        self._was_started = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def work(self) -> None:
        """Do the thread's work until ``stopping`` is set."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()
        # Before, whoever asks now would learn that it has ended.
        self._was_started = True

    def wake(self) -> None:
        """End the current or next :meth:`rest` at once: there is something to do."""
        self.woken.set()

    def stop(self) -> None:
        """End after what is under way, and return then."""
        self.tell_to_stop()
        if self.is_running:
            self._thread.join()

    def tell_to_stop(self) -> None:
        """Let the thread end after what is under way, and wait for nothing."""
        self.stopping.set()
        self.woken.set()

    def rest(self, seconds: float) -> None:
        """Wait for this time; less if the thread was or is woken or stopped."""
        self.woken.wait(seconds)
        self.woken.clear()

    def attempt(self, work: Callable[[], object], failing: str) -> bool:
        """Do one round; returns whether it was done. An error is counted and logged, and the thread goes on.

        ``failing``: what does not get done, as the log line begins.
        """
        try:
            work()
        except (StravaPipelineError, SQLAlchemyError) as error:
            log.warning("%s: %s", failing, first_line(error))
        except Exception:
            # A fault of this program. The bridge goes on, and so does what does not meet it.
            log.exception("%s", failing)
        else:
            return True
        self.errors += 1
        return False

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        """Whether the thread was started and has ended, though nobody stopped it."""
        return self._was_started and not self.is_running and not self.stopping.is_set()

    def _run(self) -> None:
        try:
            self.work()
        except BaseException:
            # Not raised: Python would print it once more, past the log and its redaction.
            log.critical("the thread %s ended by an error: restart the bridge", self.name, exc_info=True)


def stop_all(threads: Sequence[WorkerThread]) -> None:
    """Let all of them end, and return then; none begins to end only after another one has."""
    for thread in threads:
        thread.tell_to_stop()
    for thread in threads:
        thread.stop()


def first_line(error: Exception) -> str:
    """Return what a log line says of an error: SQLAlchemy adds its statement, with values of rows, in further lines."""
    return str(error).partition("\n")[0]
