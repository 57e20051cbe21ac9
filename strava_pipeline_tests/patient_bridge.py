"""The bridge as a program, as it is served, but for its time limits: late on a busy machine, it refuses nothing.

``python -m strava_pipeline_tests.patient_bridge --port 0``, with the command's own options. How long a delivery may
take, and how long a slow client is kept, is tested where the limits are (``webhook_bridge/test_intake.py``,
``local/test_serving.py``).
"""

from __future__ import annotations

import sys

from strava_pipeline import cli
from strava_pipeline.local import serving
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from webhook_bridge import intake

PATIENT_BRIDGE = (sys.executable, "-m", __name__, "--port", "0")
# Longer than tests wait for an answer: none comes because a slow client was sent away.
LIMIT_SECONDS = 2 * PATIENCE_SECONDS


def main() -> None:
    """Set the limits, and be the command."""
    intake.STORE_SECONDS = serving.REQUEST_SECONDS = serving.IDLE_SECONDS = LIMIT_SECONDS
    sys.argv.insert(1, "bridge")
    cli.main()


if __name__ == "__main__":
    main()
