"""Configuration of a mock Strava."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from strava_pipeline.settings import Settings

ACCESS_TOKEN_SECONDS = 21_600


class Form(StrEnum):
    """The version of the API: that of 2026, or the one that Strava announced for 2027."""

    API_OF_2026 = "2026"
    API_OF_2027 = "2027"

    @property
    def api(self) -> str:
        """The path prefix of the API; empty in 2027, when the API has a host of its own."""
        return "/api/v3" if self is Form.API_OF_2026 else ""


@dataclass(frozen=True)
class MockConfig:
    """API version, data, limits and secrets of one mock.

    ``recordings``: a folder of recorded answers, or of one such folder per athlete; ``None``: athletes are generated,
    with a history of ``months``. Limits are for reads; the limits for all calls are twice as high.
    """

    recordings: Path | None = None
    months: int = 6
    form: Form = Form.API_OF_2026
    short_limit: int = 100
    long_limit: int = 1000
    short_window_s: int = 900
    long_window_s: int = 86_400
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    signing_secret: bytes | None = field(default=None, repr=False)
    subscription_id: int = 1
    token_seconds: int = ACCESS_TOKEN_SECONDS
    delivery_gap_s: float = 60.0

    @classmethod
    def from_settings(
        cls, settings: Settings, recordings: Path | None = None, months: int = 6, form: Form = Form.API_OF_2026
    ) -> MockConfig:
        """Return the configuration of a mock for clients with these settings."""
        secrets = settings.signing_secrets()
        secret = settings.client_secret
        return cls(
            recordings=recordings,
            months=months,
            form=form,
            short_limit=settings.quota_short_limit,
            long_limit=settings.quota_long_limit,
            short_window_s=settings.quota_short_window_seconds,
            long_window_s=settings.quota_long_window_seconds,
            client_id=settings.client_id,
            client_secret=secret.get_secret_value() if secret else None,
            signing_secret=secrets[0] if secrets else None,
            subscription_id=settings.webhook_subscription_id or 1,
        )
