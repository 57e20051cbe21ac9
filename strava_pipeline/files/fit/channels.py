"""Fields of records that Strava has no stream for, as channels."""

from __future__ import annotations

from collections import Counter

import numpy as np

from strava_pipeline.files.fit.columns import Columns, FieldKey
from strava_pipeline.files.fit.developer_fields import DeveloperFields
from strava_pipeline.files.fit.profile import CHANNELS, ProfileField
from strava_pipeline.files.recording import Channel, Samples

# Name, unit, whose field it is, and which of several fields of one name: what is the same in all parts of a file.
Identity = tuple[str, str | None, int | None, int]


def channels_of(columns: Columns, developer: DeveloperFields) -> tuple[Channel, ...]:
    """Return the fields of the profile by number, then those of developers.

    A field of several elements becomes as many channels, ``left_power_phase_1`` and so on.
    """
    found: dict[Identity, Samples] = {}
    earlier: Counter[tuple[int, str, str | None, int | None]] = Counter()
    for key in sorted(columns.values, key=_order):
        described = CHANNELS.get(key.number) if key.developer is None else developer.described[key][1]
        if described is None:
            continue
        values = columns.values[key] / described.scale - described.offset
        for name, series in _elements(described, values):
            here = (key.part, name, described.unit, key.developer)
            whose = (name, described.unit, key.developer, earlier[here])
            earlier[here] += 1
            known = found.get(whose)
            found[whose] = series if known is None else np.where(np.isnan(known), series, known)
    taken: set[str] = set()
    return tuple(
        Channel(name=_free_name(name, taken), unit=unit, values=values)
        for (name, unit, _, _), values in found.items()
        if not np.isnan(values).all()
    )


def _order(key: FieldKey) -> tuple[bool, int, int, int]:
    return key.developer is not None, key.part, key.developer or 0, key.number


def _elements(described: ProfileField, values: Samples) -> list[tuple[str, Samples]]:
    if values.shape[1] == 1:
        return [(described.name, values[:, 0])]
    return [(f"{described.name}_{number}", series) for number, series in enumerate(values.T, 1)]


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
