"""The ids of what a thread is at: each of its log lines carries them, without being given them one by one.

A new thread begins without ids. :func:`keeping_log_ids` hands those of its maker over to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Final, ParamSpec, TypedDict, TypeVar, Unpack, cast

P = ParamSpec("P")
T = TypeVar("T")


class LogIds(TypedDict, total=False):
    """Ids by their names in JSON lines; one that is ``None`` is left out.

    ``event_id``: rows of ``ops.webhook_events``. ``run_id``: Dagster's. ``fence``: a claim's number.
    """

    request_id: str
    event_id: int | Sequence[int] | None
    run_id: str
    athlete_id: int | None
    activity_id: int | None
    fence: int


LogId = str | int | list[int]

_NONE: Final[Mapping[str, LogId]] = {}
_ids: ContextVar[Mapping[str, LogId]] = ContextVar("log_ids", default=_NONE)


@contextmanager
def log_ids(**ids: Unpack[LogIds]) -> Iterator[None]:
    """Add ids to each line that this thread logs during the block; new ones replace those of the same name."""
    before = _ids.get()
    _ids.set({**before, **_known(ids)})
    try:
        yield
    finally:
        # Not by a token: a generator around it may be closed by another thread.
        _ids.set(before)


def begin_log_ids(**ids: Unpack[LogIds]) -> None:
    """Give these ids, and no others, to each line that this thread logs from now on."""
    _ids.set(_known(ids))


def add_log_ids(**ids: Unpack[LogIds]) -> None:
    """Add ids to each line from now on, until the block around it or the next :func:`begin_log_ids`."""
    _ids.set({**_ids.get(), **_known(ids)})


def current_log_ids() -> Mapping[str, LogId]:
    """Return the ids of what this thread is at, by name."""
    return _ids.get()


def keeping_log_ids(work: Callable[P, T]) -> Callable[P, T]:
    """Return the same work for another thread, whose lines then carry the ids that this thread has now."""
    context = copy_context()

    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(work, *args, **kwargs)

    return do


def _known(ids: LogIds) -> dict[str, LogId]:
    given = cast("Mapping[str, str | int | Sequence[int] | None]", ids)
    return {name: _plain(value) for name, value in given.items() if value is not None}


def _plain(value: str | int | Sequence[int]) -> LogId:
    """One id as it is; several as a list, and a single one of a list by itself, so that one search finds it."""
    if isinstance(value, str | int):
        return value
    return value[0] if len(value) == 1 else [*value]
