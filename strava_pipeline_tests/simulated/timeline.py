"""Values with the times from which they hold."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Value = TypeVar("Value")
Other = TypeVar("Other")


@dataclass
class Timeline(Generic[Value]):
    """Values, each from its time (epoch s) until that of the next; ``first`` holds before all of them."""

    first: Value
    times: list[float] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def set(self, at: float, value: Value) -> None:
        """Let a value hold from now on; ``at`` is no earlier than all times before."""
        assert not self.times or at >= self.times[-1]
        self.times.append(at)
        self.values.append(value)

    def at(self, moment: float) -> Value:
        """The value that held at a time."""
        place = bisect_right(self.times, moment)
        return self.values[place - 1] if place else self.first

    @property
    def newest(self) -> Value:
        """The value that holds."""
        return self.values[-1] if self.values else self.first


def pairs_between(
    one: Timeline[Value], other: Timeline[Other], since: float, until: float
) -> list[tuple[Value, Other]]:
    """Return all pairs of values that held at one time, from ``since`` to ``until``, oldest first."""
    times = sorted({since, *(at for at in (*one.times, *other.times) if since < at <= until)})
    return [(one.at(at), other.at(at)) for at in times]
