"""The ways on which alerts reach people: a mail, and whatever Apprise speaks to. Each works without the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from strava_pipeline.notifications.alert_digest import Message
from strava_pipeline.notifications.alert_mail import AlertMail
from strava_pipeline.notifications.alert_push import AlertPush
from strava_pipeline.notifications.told import NOT_SET_UP, Told
from strava_pipeline.settings import Settings


@dataclass(frozen=True)
class Outcomes:
    """What became of messages on each way."""

    mail: Told
    push: Told


@dataclass(frozen=True)
class AlertChannels:
    """The ways that are set up; ``None`` for one that is not."""

    mail: AlertMail | None
    push: AlertPush | None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the ways that the settings name; ``ConfigurationError`` if one of these settings is wrong."""
        return cls(AlertMail.from_settings(settings), AlertPush.from_settings(settings))

    def send(self, messages: Sequence[Message], name: str) -> Outcomes:
        """Send messages together on every way that is set up, at once and without the database.

        ``name``: what the messages have in common, such as the moment and the host; makes the mail's id.
        """
        return Outcomes(self.send_mail(messages, name), self.send_push(messages))

    def send_mail(self, messages: Sequence[Message], name: str) -> Told:
        """Send messages in one mail."""
        return NOT_SET_UP if self.mail is None else self.mail.send(messages, name)

    def send_push(self, messages: Sequence[Message], reached: frozenset[str] = frozenset()) -> Told:
        """Send messages through Apprise, but not to the services that have been ``reached`` before."""
        return NOT_SET_UP if self.push is None else self.push.send(messages, reached)
