"""Fields that developers of apps and sensors describe in the file itself.

Source: https://developer.garmin.com/fit/cookbook/developer-data/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from strava_pipeline.files.fit.base_types import BYTE, STRING, BaseType, base_type
from strava_pipeline.files.fit.columns import FieldKey, columns_of, texts_of
from strava_pipeline.files.fit.definitions import FieldPlace
from strava_pipeline.files.fit.messages import Messages
from strava_pipeline.files.fit.profile import FIELD_DESCRIPTION, DescriptionField, ProfileField

_NUMBERS: Final = frozenset({
    DescriptionField.DEVELOPER, DescriptionField.NUMBER, DescriptionField.TYPE, DescriptionField.SCALE,
    DescriptionField.OFFSET,
})  # fmt: skip


@dataclass(slots=True)
class DeveloperFields:
    """Descriptions by part, index of the developer's data, and number.

    ``undescribed``: whether a message has a field that the file never describes.
    """

    described: dict[FieldKey, tuple[BaseType, ProfileField]]
    undescribed: bool = field(default=False)

    def type_of(self, part: int, place: FieldPlace) -> BaseType | None:
        """Return the base type of a place, of whichever kind; ``None`` if it has none, or is a developer's text."""
        if place.developer is None:
            return None if place.type_number is None else base_type(place.type_number)
        found = self.described.get(FieldKey(place.number, place.developer, part))
        if found is None:
            self.undescribed = True
            return None
        # Texts and opaque bytes are no series.
        is_number = found[0].number != STRING and (found[0].number != BYTE or place.size == 1)
        return found[0] if is_number else None


def read_developer_fields(messages: Messages) -> DeveloperFields:
    """Read all descriptions; of two for the same field the later one holds."""
    blocks = messages.of(FIELD_DESCRIPTION)
    columns = columns_of(messages.data, blocks, _NUMBERS)
    names = dict(texts_of(messages, FIELD_DESCRIPTION, DescriptionField.NAME))
    units = dict(texts_of(messages, FIELD_DESCRIPTION, DescriptionField.UNITS))
    parts = {offset: block.part for block in blocks for offset in block.offsets.tolist()}
    described: dict[FieldKey, tuple[BaseType, ProfileField]] = {}
    for offset, row in zip(columns.offsets.tolist(), columns.rows(_NUMBERS), strict=True):
        base = base_type(int(row[DescriptionField.TYPE] or 0))
        developer, number = row[DescriptionField.DEVELOPER], row[DescriptionField.NUMBER]
        if base is not None and developer is not None and number is not None:
            key = FieldKey(int(number), int(developer), parts[offset])
            name = names.get(offset) or f"developer_{key.developer}_{key.number}"
            scale, shift = row[DescriptionField.SCALE] or 1.0, row[DescriptionField.OFFSET] or 0.0
            described[key] = (base, ProfileField(name, units.get(offset), scale, shift))
    return DeveloperFields(described)
