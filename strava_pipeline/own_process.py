"""Sets up the process of one of our entry points, in which nothing else runs. Importing the package does none of it."""

from __future__ import annotations

import logging

import stamina.instrumentation

from strava_pipeline import redaction
from strava_pipeline.redaction import LogFormat, get_logger

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = get_logger(__name__)


def set_up() -> None:
    """Redact everything that the process logs, and log retries in our words. A second call changes nothing."""
    redaction.install()
    # If structlog is installed, a hook of stamina's own prints to standard output, among the answers of commands.
    stamina.instrumentation.set_on_retry_hooks([_log_retry])


def log_to_stderr(level: str) -> None:
    """Let the root logger write records of this level or a higher one to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormat(LOG_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def _log_retry(details: stamina.instrumentation.RetryDetails) -> None:
    log.info("%s: trying again in %.1f s", details.caused_by, details.wait_for)
