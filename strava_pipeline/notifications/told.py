"""What became of messages on one way to people."""

from __future__ import annotations

from dataclasses import dataclass

from strava_pipeline.warehouse.states import SendState


@dataclass(frozen=True)
class Told:
    """Whether messages were sent; PENDING: try again. ``reason``: why not, or not to all.

    ``reached``: the names of the services that have the messages by now.
    """

    state: SendState
    reason: str = ""
    reached: frozenset[str] = frozenset()


NOT_SET_UP = Told(SendState.SKIPPED)
