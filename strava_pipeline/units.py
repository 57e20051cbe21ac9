"""Metric and imperial units for figures that people read; each athlete's choice is a setting at Strava."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_S, HOUR_S = 60, 3_600
FEET = "feet"
# Swimmers count in hundreds, of metres or of yards.
SWIM_LENGTHS = 100


@dataclass(frozen=True)
class Units:
    """Metres per unit of distance, of height and of swimming distance, each with the unit's name."""

    distance_m: float
    distance_name: str
    speed_name: str
    height_m: float
    height_name: str
    swim_m: float
    swim_name: str

    def distance(self, metres: float) -> str:
        """Return a distance as text, such as ``42.2 km``; in metres or feet below a tenth of a kilometre or mile."""
        if metres < self.distance_m / 10:
            return self.height(metres)
        return f"{metres / self.distance_m:,.1f} {self.distance_name}"

    def height(self, metres: float) -> str:
        """Return a height as text, such as ``1,234 m``."""
        return f"{metres / self.height_m:,.0f} {self.height_name}"

    def speed(self, metres_per_second: float) -> str:
        """Return a speed as text, such as ``27.4 km/h``."""
        return f"{self.per_hour(metres_per_second):.1f} {self.speed_name}"

    def per_hour(self, metres_per_second: float) -> float:
        """Return a speed in kilometres or miles per hour."""
        return metres_per_second * HOUR_S / self.distance_m

    def pace(self, metres_per_second: float) -> str:
        """Return a pace as text, such as ``5:12 /km``; ``- /km`` for a speed of 0."""
        return _pace(metres_per_second, self.distance_m, self.distance_name)

    def swim_pace(self, metres_per_second: float) -> str:
        """Return a swimming pace as text, such as ``1:48 /100 m``."""
        return _pace(metres_per_second, self.swim_m * SWIM_LENGTHS, f"{SWIM_LENGTHS} {self.swim_name}")


METRIC = Units(1_000.0, "km", "km/h", 1.0, "m", 1.0, "m")
IMPERIAL = Units(1_609.344, "mi", "mph", 0.3048, "ft", 0.9144, "yd")


def units_of(measurement_preference: str | None) -> Units:
    """Return the units for an athlete's ``measurement_preference`` at Strava; metric unless it is ``feet``."""
    return IMPERIAL if measurement_preference == FEET else METRIC


def duration(seconds: float) -> str:
    """Return a duration as text, such as ``1:02:03`` or ``4:05``."""
    whole = round(seconds)
    hours, minutes, rest = whole // HOUR_S, whole % HOUR_S // MINUTE_S, whole % MINUTE_S
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _pace(metres_per_second: float, length_m: float, name: str) -> str:
    return f"{duration(length_m / metres_per_second)} /{name}" if metres_per_second > 0 else f"- /{name}"
