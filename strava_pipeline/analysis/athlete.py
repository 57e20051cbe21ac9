"""Thresholds and zones of an athlete on the day of an activity."""

from __future__ import annotations

from dataclasses import dataclass

# Edwards (1993), "The Heart Rate Monitor Book": zones of 10 % each, from 60 % of the maximum heart rate on.
HEART_RATE_ZONE_SHARES = (0.0, 0.6, 0.7, 0.8, 0.9)
# Allen and Coggan (2019), "Training and Racing with a Power Meter", 3rd ed.: seven zones by threshold power.
POWER_ZONE_SHARES = (0.0, 0.55, 0.75, 0.9, 1.05, 1.2, 1.5)
# Friel (2009), "The Cyclist's Training Bible": threshold heart rate lies near 89 % of the maximum.
THRESHOLD_SHARE = 0.89
DEFAULT_HIGHEST_BPM = 190.0
DEFAULT_RESTING_BPM = 60.0


@dataclass(frozen=True)
class Athlete:
    """Thresholds and zones on the day. Zones are lower bounds, ascending from 0; empty zones mean the default ones.

    ``ftp_w``: functional threshold power; ``weight_kg``: body weight; ``highest_bpm``: maximum heart rate.
    """

    ftp_w: float | None = None
    weight_kg: float | None = None
    highest_bpm: float = DEFAULT_HIGHEST_BPM
    resting_bpm: float = DEFAULT_RESTING_BPM
    female: bool = False
    heart_rate_zones_bpm: tuple[float, ...] = ()
    power_zones_w: tuple[float, ...] = ()

    @property
    def threshold_bpm(self) -> float:
        """Heart rate at the threshold, estimated from the maximum heart rate."""
        return THRESHOLD_SHARE * self.highest_bpm

    @property
    def heart_zones(self) -> tuple[float, ...]:
        """The athlete's heart rate zones in bpm, else the default shares of the maximum heart rate."""
        return self.heart_rate_zones_bpm or tuple(share * self.highest_bpm for share in HEART_RATE_ZONE_SHARES)

    @property
    def power_zones(self) -> tuple[float, ...]:
        """The athlete's power zones in W, else the default shares of threshold power; empty if both are unknown."""
        if self.power_zones_w or self.ftp_w is None:
            return self.power_zones_w
        return tuple(share * self.ftp_w for share in POWER_ZONE_SHARES)


UNKNOWN_ATHLETE = Athlete()
