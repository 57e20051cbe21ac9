"""The state of one mock, which its views share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from strava_pipeline.mock_strava.calls import CallLog
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.deliveries import Deliveries
from strava_pipeline.mock_strava.fault_scripts import FaultScripts
from strava_pipeline.mock_strava.grants import Grants
from strava_pipeline.mock_strava.history import generate_world
from strava_pipeline.mock_strava.limits import Limits
from strava_pipeline.mock_strava.recordings import load_recordings
from strava_pipeline.mock_strava.shapes import JsonObject
from strava_pipeline.mock_strava.world import World

EXTENSION = "mock"


@dataclass
class ShiftedClock:
    """A clock that returns the epoch s of ``base`` plus ``offset_s``."""

    base: Callable[[], float]
    offset_s: float = 0.0

    def __call__(self) -> float:
        return self.base() + self.offset_s


@dataclass
class Mock:
    """The state of one mock Strava.

    ``subscription``: the app's push subscription; ``callback``: a URL that gets events without a subscription.
    """

    config: MockConfig
    world: World
    grants: Grants
    limits: Limits
    deliveries: Deliveries
    clock: ShiftedClock
    faults: FaultScripts = field(default_factory=FaultScripts)
    calls: CallLog = field(default_factory=CallLog)
    subscription: JsonObject | None = None
    callback: str | None = None

    @classmethod
    def of(cls, config: MockConfig, clock: Callable[[], float] = time.time, world: World | None = None) -> Mock:
        """Return a mock in its initial state; ``ConfigurationError`` if recordings cannot be read.

        ``world``: its athletes, instead of recorded or generated ones.
        """
        recorded = config.recordings
        shifted = ShiftedClock(clock)
        if world is None:
            world = load_recordings(recorded) if recorded else generate_world(config.months, shifted())
        return cls(
            config=config,
            world=world,
            grants=Grants(config.token_seconds, shifted),
            limits=Limits(config, shifted),
            deliveries=Deliveries(config.signing_secret, config.delivery_gap_s, shifted),
            clock=shifted,
        )

    def send_event(
        self, object_type: str, aspect_type: str, object_id: int, owner_id: int, updates: JsonObject | None = None
    ) -> None:
        """Send an event to the subscription's callback, else to ``callback``."""
        event = {
            "aspect_type": aspect_type,
            "event_time": int(self.clock()),
            "object_id": object_id,
            "object_type": object_type,
            "owner_id": owner_id,
            "subscription_id": self.config.subscription_id,
            "updates": updates or {},
        }
        subscribed = self.subscription["callback_url"] if self.subscription else None
        self.deliveries.send(event, subscribed or self.callback)


def current_mock() -> Mock:
    """Return the mock of the current request."""
    mock: Mock = current_app.extensions[EXTENSION]
    return mock
