"""The points of a recording in TCX or GPX, collected as columns while the document is read."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.recording import Channel, Damage, Recording, Samples

# What can be, in the units of :class:`Recording`; what lies outside is left out.
POSSIBLE: Final[Mapping[str, tuple[float, float]]] = {
    "latitude": (-90, 90),
    "longitude": (-180, 180),
    "altitude": (-1_000, 20_000),
    "distance": (0, 100_000_000),
    "speed": (0, 150),
    "heartrate": (0, 250),
    "cadence": (0, 254),
    "watts": (0, 10_000),
    "temp": (-100, 100),
}
FIRST_YEAR: Final = 2000
# Further series of a file are kept up to this number.
MOST_CHANNELS: Final = 32
LONGEST_CHANNEL_NAME: Final = 64
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NAN = math.nan
_DAY_LENGTH = len("2026-01-31")


class Points:
    """Values of point after point, s since 1970 for ``time``. ``is_bad``: a value was none, or could not be.

    A point may have at most one value by name: the first counts.
    """

    def __init__(self, most_records: int) -> None:
        self.count = 0
        self.is_bad = False
        self._most = most_records
        self._columns: dict[str, array[float]] = {}
        self._channels: dict[str, array[float]] = {}
        self._latest = datetime.now(UTC).year + 1

    def add(self, values: Mapping[str, float], channels: Mapping[str, float]) -> None:
        """Add one point. ``UnreadableFile``: the file has more than is read."""
        if self.count >= self._most:
            raise UnreadableFile(f"it has more than {self._most:,} points; split it into several files")
        for name, value in values.items():
            self._put(self._columns, name, value)
        for name, value in channels.items():
            if name in self._channels or len(self._channels) < MOST_CHANNELS:
                self._put(self._channels, name, value)
        self.count += 1

    def number(self, text: str) -> float:
        """Return a decimal number, NaN for a blank; anything else, such as ``nan`` or ``1e999``, is bad and NaN."""
        if _DECIMAL.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                return value
        self.is_bad |= text != ""
        return _NAN

    def seconds(self, text: str) -> float:
        """Return a moment as s since 1970, NaN for a blank; a clock without date or a wrong form is bad and NaN.

        A moment without offset is UTC.
        """
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.is_bad |= text != ""
            return _NAN
        if not FIRST_YEAR <= moment.year <= self._latest or len(text) <= _DAY_LENGTH:
            self.is_bad = True
            return _NAN
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    @staticmethod
    def tell_channel(channels: dict[str, float], name: str, text: str) -> None:
        """Take a value for which there is no stream, if it is a number."""
        if _DECIMAL.fullmatch(text) and len(name) <= LONGEST_CHANNEL_NAME and name.isprintable():
            value = float(text)
            if math.isfinite(value):
                channels.setdefault(name, value)

    def fill(self, recording: Recording) -> Recording:
        """Return a recording with the samples, the time of the first one, and what is damaged among them."""
        seconds = self._samples(self._columns.get("time"))
        known = seconds[np.isfinite(seconds)]
        start = math.floor(known[0]) if len(known) else None
        samples = {name: self._possible(name) for name in POSSIBLE}
        latitude, longitude = samples["latitude"], samples["longitude"]
        if latitude is None or longitude is None:
            samples["latitude"] = samples["longitude"] = None
        else:
            # One without the other is no position.
            latitude[np.isnan(longitude)] = np.nan
            longitude[np.isnan(latitude)] = np.nan
        return replace(
            recording,
            start=None if start is None else datetime.fromtimestamp(start, UTC),
            time=seconds if start is None else seconds - start,
            latitude=samples["latitude"],
            longitude=samples["longitude"],
            altitude=samples["altitude"],
            distance=samples["distance"],
            speed=samples["speed"],
            heartrate=samples["heartrate"],
            cadence=samples["cadence"],
            watts=samples["watts"],
            temp=samples["temp"],
            channels=tuple(
                Channel(name=name, unit=None, values=self._samples(column)) for name, column in self._channels.items()
            ),
            damage=(*recording.damage, *((Damage.BAD_VALUE,) if self.is_bad else ())),
        )

    def _put(self, columns: dict[str, array[float]], name: str, value: float) -> None:
        column = columns.get(name)
        if column is None:
            column = columns[name] = array("d")
        if len(column) < self.count:
            column.extend([_NAN] * (self.count - len(column)))
        column.append(value)

    def _samples(self, column: Sequence[float] | None) -> Samples:
        samples = np.full(self.count, np.nan)
        if column is not None:
            samples[: len(column)] = column
        return samples

    def _possible(self, name: str) -> Samples | None:
        samples = self._samples(self._columns.get(name))
        least, most = POSSIBLE[name]
        wrong = (samples < least) | (samples > most)
        if wrong.any():
            self.is_bad = True
            samples[wrong] = np.nan
        return samples if np.isfinite(samples).any() else None
