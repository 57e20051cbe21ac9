"""How far this machine's clock is from another one, of which only whole seconds or a slow answer are known."""

from __future__ import annotations

from datetime import datetime, timedelta

from strava_pipeline.cli.doctor.findings import Finding, fail, ok, warn

# The quota is counted in windows that begin at full quarter hours: from here on calls may count in the wrong one.
WARN_SECONDS = 2.0
# Signed requests between our processes, and deliveries, are refused beyond some minutes.
FAIL_SECONDS = 60.0


def seconds_off(sent: datetime, received: datetime, told: datetime, precision: timedelta) -> float:
    """Return by how many seconds our clock is ahead of another one at least (below 0: behind); 0 if both may agree.

    The other clock showed ``told``, cut off to ``precision``, at some time between ``sent`` and ``received`` (ours).
    """
    least, most = sent - (told + precision), received - told
    if least > timedelta(0):
        return least.total_seconds()
    return min(0.0, most.total_seconds())


def judged(ahead_s: float, whose: str) -> Finding:
    """Return what it means that our clock is so much ahead of the clock of ``whose``."""
    if abs(ahead_s) <= WARN_SECONDS:
        return ok(f"within {WARN_SECONDS:g} s of {whose}")
    told = f"this machine's clock is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} {whose}"
    find = fail if abs(ahead_s) > FAIL_SECONDS else warn
    return find(told, "let an NTP service set the clock of this machine: timedatectl set-ntp true")
