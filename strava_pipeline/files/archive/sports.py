"""Strava's sports by the words that activities.csv has for them, which are in the language of the athlete's account.

Words that were seen are listed here; :mod:`.other_sport_words` has more, which can mean one sport only.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.files.archive.other_sport_words import OTHER_WORDS
from strava_pipeline.files.sport_types import SPORT_TYPES

# Sport types that are younger than the field `type`, which has an older word for them.
_TYPE_OF: Final = {
    "Badminton": "Workout",
    "EMountainBikeRide": "EBikeRide",
    "GravelRide": "Ride",
    "HighIntensityIntervalTraining": "Workout",
    "MountainBikeRide": "Ride",
    "Pickleball": "Workout",
    "Pilates": "Workout",
    "Racquetball": "Workout",
    "Squash": "Workout",
    "TableTennis": "Workout",
    "Tennis": "Workout",
    "TrailRun": "Run",
    "VirtualRow": "Rowing",
}
_ENGLISH: Final = {
    "Football (Soccer)": "Soccer",
    "Rock Climb": "RockClimbing",
    "Canoe": "Canoeing",
    "Stair-Stepper": "StairStepper",
}
_OTHERS: Final = {
    # Dutch
    "Hardloopsessie": "Run",
    "Fietsrit": "Ride",
    "Wandeling": "Walk",
    "Zwemmen": "Swim",
    "Kayakken": "Kayaking",
    "Kitesurfen": "Kitesurf",
    "Training": "Workout",
    # Spanish
    "Carrera": "Run",
    "Caminata": "Walk",
    "Vuelta ciclista": "Ride",
    "Entrenamiento": "Workout",
    "Entrenamiento con pesas": "WeightTraining",
    # French
    "Sortie à vélo": "Ride",
    "Course à pied": "Run",
    "Natation": "Swim",
    "Marche": "Walk",
    "Randonnée": "Hike",
    "Entraînement": "Workout",
    "Ski alpin": "AlpineSki",
    "Raquettes": "Snowshoe",
    "Escalade": "RockClimbing",
    "Sortie à vélo électrique": "EBikeRide",
    # German
    "Radfahrt": "Ride",
    # Portuguese
    "Corrida": "Run",
    "Caminhada": "Walk",
    "Treino": "Workout",
    "Treinamento com peso": "WeightTraining",
    "Natação": "Swim",
    "Elíptico": "Elliptical",
    "Pedalada": "Ride",
    "Trilha": "Hike",
    "Futebol": "Soccer",
}


def _key(word: str) -> str:
    """A word without case, blanks and hyphens, its accents in one form."""
    bare = unicodedata.normalize("NFKC", word).casefold()
    return "".join(char for char in bare if not char.isspace() and unicodedata.category(char) not in {"Pd", "Cf"})


_SPORT_OF: Final = {_key(word): sport for word, sport in (OTHER_WORDS | _OTHERS | _ENGLISH).items()} | {
    _key(sport): sport for sport in SPORT_TYPES
}


def sport_of(word: str, overrides: Mapping[str, str]) -> str | None:
    """Return the sport type of a word, by ``overrides`` (of :func:`sport_words`) first; ``None`` if it is unknown."""
    key = _key(word)
    return overrides.get(key) or _SPORT_OF.get(key)


def type_of(sport: str) -> str:
    """Return the older, coarser word that the API has for a sport type, in its field ``type``."""
    return _TYPE_OF.get(sport, sport)


def sport_words(assignments: Iterable[str]) -> dict[str, str]:
    """Return the overrides of assignments such as ``Corsa=Run``; ``ConfigurationError`` for a sport Strava lacks."""
    found = {}
    for assignment in assignments:
        word, _, sport = assignment.rpartition("=")
        known = _SPORT_OF.get(_key(sport)) if _key(word) else None
        if known is None:
            raise ConfigurationError(f"{assignment} names no sport of Strava's: write it as 'Corsa=Run'")
        found[_key(word)] = known
    return found


def learned_words(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return overrides from pairs of an archive's word and the API's sport type of the same activity, by majority."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for word, sport in pairs:
        if key := _key(word):
            seen[key][sport] += 1
    return {key: counts.most_common(1)[0][0] for key, counts in seen.items()}
