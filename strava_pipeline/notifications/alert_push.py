"""Sends alerts through Apprise to the services that ``STRAVA_ALERT_URLS`` names, such as a chat or a telephone.

Apprise comes with the extra ``strava-pipeline[apprise]``, and is loaded only where addresses are set. Its addresses
hold keys: neither they nor its own log reach ours.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.extras import Extra, ensure_installed
from strava_pipeline.notifications.alert_digest import Message, Mood, mood_of, short_text, subject_of, worst_first
from strava_pipeline.notifications.told import Told
from strava_pipeline.notifications.wording import shown
from strava_pipeline.redaction import redact
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import SendState

LONGEST_REASON = 200
# Hexadecimal digits: too few to try an address by, enough to tell a handful apart.
NAME_DIGITS = 4


@dataclass(frozen=True)
class Service:
    """One address; ``name`` tells it apart from the others, and nothing of it."""

    name: str
    apprise: Any = field(repr=False)


@dataclass(frozen=True)
class AlertPush:
    """The services that alerts go to, by Apprise."""

    services: tuple[Service, ...]

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the way by Apprise; ``None`` if no address is set.

        ``ConfigurationError`` without the package, and for an address that Apprise does not know.
        """
        addresses = [] if settings.alert_urls is None else settings.alert_urls.get_secret_value().split()
        if not addresses:
            return None
        with warnings.catch_warnings():
            # Its hundred services load with the first address; some use what Python is about to drop.
            warnings.simplefilter("ignore", DeprecationWarning)
            apprise = _apprise()
            return cls(tuple(_service(apprise, number, address) for number, address in enumerate(addresses, start=1)))

    def send(self, messages: Sequence[Message], reached: frozenset[str] = frozenset()) -> Told:
        """Send messages together, to the services that have not been ``reached`` before.

        They are sent once all services have them; a service that fails is to be tried again alone.
        """
        reasons = []
        for number, service in enumerate(self.services, start=1):
            if service.name in reached:
                continue
            why_not = _notify(service, messages)
            if why_not is None:
                reached |= {service.name}
            else:
                reasons.append(f"address {number} of STRAVA_ALERT_URLS: {why_not}")
        return Told(SendState.PENDING if reasons else SendState.SENT, "; ".join(reasons), reached)


def _apprise() -> Any:
    ensure_installed(Extra.APPRISE, "STRAVA_ALERT_URLS")
    import apprise  # noqa: PLC0415  an extra, and slow to load

    return apprise


def _service(apprise: Any, number: int, address: str) -> Service:
    asset = apprise.AppriseAsset(async_mode=False, secure_logging=True)
    with _own_log():
        instance = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if instance is None:
        raise ConfigurationError(
            f"STRAVA_ALERT_URLS: address {number} is none that Apprise knows: see"
            " https://github.com/caronc/apprise/wiki for the form of each service"
        )
    service = apprise.Apprise(asset=asset)
    service.add(instance)
    return Service(hashlib.sha256(address.encode()).hexdigest()[:NAME_DIGITS], service)


def _notify(service: Service, messages: Sequence[Message]) -> str | None:
    """Tell one service; returns why it has not been told."""
    # Apprise's own words for kinds of messages.
    kind = {Mood.CRITICAL: "failure", Mood.WARNING: "warning", Mood.TEST: "info", Mood.CLEARED: "success"}
    mood = mood_of(worst_first(messages)[0])
    with _own_log() as said:
        try:
            is_told = service.apprise.notify(
                title=subject_of(messages), body=short_text(messages), notify_type=kind[mood], body_format="text"
            )
        except Exception as error:  # noqa: BLE001  a hundred services have errors of their own, and others must be told
            return type(error).__name__
    return None if is_told else said[-1] if said else "it was not taken"


class _Heard(logging.Handler):
    """Keeps what Apprise complains of, redacted."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(shown(redact(record.getMessage()), LONGEST_REASON))


@contextmanager
def _own_log() -> Iterator[list[str]]:
    """Hear Apprise's log, which reaches no other handler from here on: it may show parts of addresses."""
    logger = logging.getLogger("apprise")  # noqa: TID251  not ours
    logger.propagate = False
    heard = _Heard()
    logger.addHandler(heard)
    try:
        yield heard.said
    finally:
        logger.removeHandler(heard)
