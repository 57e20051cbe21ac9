from __future__ import annotations

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.files.archive.other_sport_words import OTHER_WORDS
from strava_pipeline.files.archive.sports import learned_words, sport_of, sport_words, type_of
from strava_pipeline.files.sport_types import SPORT_TYPES
from strava_pipeline.mock_strava.archive_languages import LANGUAGES, Language


@pytest.mark.parametrize(
    ("word", "sport"),
    [
        ("Run", "Run"),
        ("Weight Training", "WeightTraining"),
        ("E-Bike Ride", "EBikeRide"),
        ("E-Mountain Bike Ride", "EMountainBikeRide"),
        ("Stand Up Paddling", "StandUpPaddling"),
        ("Football (Soccer)", "Soccer"),
        ("Rock Climb", "RockClimbing"),
        ("Canoe", "Canoeing"),
        ("Stair-Stepper", "StairStepper"),
        ("Hardloopsessie", "Run"),
        ("Sortie à vélo", "Ride"),
        ("Sortie a\u0300 ve\u0301lo", "Ride"),
        ("Sortie à vélo électrique", "EBikeRide"),
        ("Course\u00a0à pied", "Run"),
        ("entrenamiento con pesas", "WeightTraining"),
        ("Radfahrt", "Ride"),
        ("Trilha", "Hike"),
        ("Corsa", "Run"),
        ("Bieg", "Run"),
        ("ジョギング", None),
        ("", None),
    ],
)
def test_words_of_other_languages_are_known(word: str, sport: str | None) -> None:
    assert sport_of(word, {}) == sport


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_the_sports_of_a_made_up_archive_are_known_in_each_language(language: Language) -> None:
    assert {word: sport_of(word, {}) for word in language.sports.values()} == {
        word: sport for sport, word in language.sports.items()
    }


def test_no_word_of_the_list_means_another_sport_in_english_or_in_a_language_that_was_seen() -> None:
    assert {word: sport_of(word, {}) for word in OTHER_WORDS} == OTHER_WORDS
    assert set(OTHER_WORDS.values()) <= set(SPORT_TYPES)


@pytest.mark.parametrize("sport", SPORT_TYPES)
def test_an_english_word_is_the_api_s_with_blanks(sport: str) -> None:
    spaced = "".join(f" {char}" if char.isupper() else char for char in sport).strip()
    assert sport_of(spaced, {}) == sport


def test_the_athlete_s_own_words_come_first() -> None:
    words = sport_words(["Corsa=Run", "Training=Weight Training", "a=b=Ride"])
    assert [sport_of(word, words) for word in ("corsa", "Training", "A=B", "Walk")] == [
        "Run",
        "WeightTraining",
        "Ride",
        "Walk",
    ]


@pytest.mark.parametrize("assignment", ["Corsa", "Corsa=", "=Run", "Corsa=Jog"])
def test_a_sport_that_strava_lacks_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigurationError, match="names no sport of Strava's: write it as 'Corsa=Run'"):
        sport_words([assignment])


def test_words_are_learned_from_activities_that_the_api_knows_by_majority() -> None:
    learned = learned_words([("Corsa", "Run"), ("corsa", "TrailRun"), ("Corsa", "Run"), ("", "Walk")])
    assert sport_of("CORSA", learned) == "Run"
    assert sport_of("", learned) is None


def test_young_sports_have_an_old_type() -> None:
    assert [type_of(sport) for sport in ("TrailRun", "GravelRide", "Pickleball", "Run")] == [
        "Run",
        "Ride",
        "Workout",
        "Run",
    ]
