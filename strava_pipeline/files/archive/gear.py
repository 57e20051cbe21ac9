"""Bikes and shoes with their ids: only rows of activities hold both an id and a name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.side_tables import ListedGear


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear:
    """A bike or a pair of shoes. ``id``: as the API writes it, ``b`` or ``g`` and a number."""

    id: str
    name: str
    brand: str | None = None
    model: str | None = None
    default_sports: str | None = None


def gear_by_id(rows: Iterable[ArchiveRow], bikes: Iterable[ListedGear], shoes: Iterable[ListedGear]) -> dict[str, Gear]:
    """Return the gear of rows by id, with brand and model where its table lists the name once.

    A row names shoes by brand, model and name in one text, a bike by its name. Gear that no row used has no id.
    """
    listed = {"b": _by_name(bikes), "g": _by_name(shoes)}
    found: dict[str, Gear] = {}
    for row in rows:
        identity, name = row.gear_id, (row.gear_name or "").strip()
        if identity is None or not name or identity in found:
            continue
        known = listed[identity[0]].get(_key(name))
        found[identity] = Gear(
            id=identity,
            name=name,
            brand=known.brand if known else None,
            model=known.model if known else None,
            default_sports=known.default_sports if known else None,
        )
    return found


def _by_name(listed: Iterable[ListedGear]) -> dict[str, ListedGear]:
    """Gear by each text that a row may name it by; a text that fits two is left out."""
    found: dict[str, ListedGear | None] = {}
    for gear in listed:
        parts = (gear.brand, gear.model, gear.name)
        whole = " ".join(part for part in parts if part)
        make = " ".join(part for part in parts[:2] if part)
        for text in {_key(gear.name), _key(whole), _key(make)} - {""}:
            found[text] = gear if found.get(text, gear) == gear else None
    return {text: gear for text, gear in found.items() if gear is not None}


def _key(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
