"""What an entry point of ours does to its process, which is ours alone. To import us does none of it."""

from __future__ import annotations

import logging

import stamina.instrumentation

from strava_pipeline import redaction
from strava_pipeline.redaction import LogFormat, get_logger

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = get_logger(__name__)


def set_up() -> None:
    """Redact all that the process logs, and tell of retries in our words. A second call changes nothing."""
    redaction.install()
    # Of stamina's own hooks one prints to standard output where structlog is installed, into the midst of our answers.
    stamina.instrumentation.set_on_retry_hooks([_log_retry])


def log_to_stderr(level: str) -> None:
    """Have the root logger write what has this level or a higher one to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormat(LOG_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    log.info("%s: trying again in %.1f s", details.caused_by, details.wait_for)
