"""The process that reads recordings, one after the other, with bounds on its memory and time.

A file can make its reader take all memory, hang or crash. So readers work in a process of their own, which knows no
database, no secret and no setting. Requests and answers are pickles with their length in front, on its standard input
and output; behind a request come the file's bytes, which a pickle would hold a second time. It ends with its input.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from strava_pipeline.sync.archive_reading import Answer, Asked, Terms, Unread, answer, unread

LENGTH: Final = struct.Struct(">Q")
READY: Final = "ready"
# The reader's owner ends it when its time is over; this is for one whose owner is gone.
_GRACE_S: Final = 5
_PAGES: Final = Path("/proc/self/statm")


def main() -> None:
    """Answer what comes by standard input until it ends."""
    # Ctrl-C is for the command that started this process, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(0, "rb")
    terms: Terms = receive(requests)
    _bind_memory(terms.limits.reading_bytes)
    send(answers, READY)
    while (asked := receive(requests)) is not None:
        signal.alarm(int(terms.limits.reading_seconds) + _GRACE_S)
        send(answers, _answer(replace(asked, raw=receive_bytes(requests)), terms))
        signal.alarm(0)


def send(stream: IO[bytes], thing: Any) -> None:
    packed = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH.pack(len(packed)))
    stream.write(packed)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Return what was sent; ``None`` at the end of the stream."""
    packed = receive_bytes(stream)
    return pickle.loads(packed) if packed else None  # noqa: S301  of the process that started this one


def receive_bytes(stream: IO[bytes]) -> bytes:
    """Return bytes that were sent; none at the end of the stream."""
    head = stream.read(LENGTH.size)
    return b"" if len(head) < LENGTH.size else stream.read(*LENGTH.unpack(head))


def too_much_memory(asked: Asked, terms: Terms) -> Unread:
    mib = terms.limits.reading_bytes // 2**20
    return unread(asked, f"takes more than the {mib:,} MiB of memory that reading may: it is left out")


def _answer(asked: Asked, terms: Terms) -> Answer:
    try:
        return answer(asked, terms)
    except MemoryError:
        return too_much_memory(asked, terms)


def _bind_memory(most: int) -> None:
    """Let the process have this many bytes more than it has after its imports."""
    if not _PAGES.exists():
        return  # not Linux, where this limit means nothing
    bound = int(_PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


if __name__ == "__main__":
    main()
