"""The words that TCX and GPX have for a sport, in Strava's words."""

from __future__ import annotations

import re
from typing import Final

from strava_pipeline.files.sport_types import SPORT_TYPES

# Strava's numbers of sports, which its app and its export wrote for years.
_BY_NUMBER: Final = {
    "1": "Ride",
    "2": "AlpineSki",
    "3": "BackcountrySki",
    "4": "Hike",
    "5": "IceSkate",
    "6": "InlineSkate",
    "7": "NordicSki",
    "8": "RollerSki",
    "9": "Run",
    "10": "Walk",
    "11": "Workout",
    "12": "Snowboard",
    "13": "Snowshoe",
    "14": "Kitesurf",
    "15": "Windsurf",
    "16": "Swim",
    "17": "VirtualRide",
    "18": "EBikeRide",
    "19": "Velomobile",
    "21": "Canoeing",
    "22": "Kayaking",
    "23": "Rowing",
    "24": "StandUpPaddling",
    "25": "Surfing",
    "26": "Crossfit",
    "27": "Elliptical",
    "28": "RockClimbing",
    "29": "StairStepper",
    "30": "WeightTraining",
    "31": "Yoga",
    "51": "Handcycle",
    "52": "Wheelchair",
    "53": "VirtualRun",
}
# What devices and programs write, in lower case and without blanks.
_OTHER_WORDS: Final = {
    **dict.fromkeys(("running", "jogging", "streetrunning", "trackrunning", "treadmillrunning", "treadmill"), "Run"),
    **dict.fromkeys(("trailrunning", "mountainrunning"), "TrailRun"),
    **dict.fromkeys(("virtualrunning",), "VirtualRun"),
    **dict.fromkeys(
        ("biking", "cycling", "bike", "bicycle", "bicycling", "roadbiking", "roadcycling", "roadbike", "trackcycling"),
        "Ride",
    ),
    **dict.fromkeys(("indoorcycling", "indoorbiking", "spinning", "cyclingtransportation", "cyclocross"), "Ride"),
    **dict.fromkeys(("mountainbiking", "mountainbike", "mtb", "downhillbiking"), "MountainBikeRide"),
    **dict.fromkeys(("gravelcycling", "gravelbiking", "gravel"), "GravelRide"),
    **dict.fromkeys(("virtualcycling", "virtualbiking"), "VirtualRide"),
    **dict.fromkeys(("ebiking", "ebike", "ebikefitness"), "EBikeRide"),
    **dict.fromkeys(("ebikemountain", "emountainbiking", "emtb"), "EMountainBikeRide"),
    **dict.fromkeys(("walking", "casualwalking", "speedwalking", "nordicwalking"), "Walk"),
    **dict.fromkeys(("hiking", "trekking", "mountaineering"), "Hike"),
    **dict.fromkeys(("swimming", "lapswimming", "poolswimming", "openwaterswimming"), "Swim"),
    **dict.fromkeys(("crosscountryskiing", "skatingskiing", "xcskiing", "skatecountryskiing"), "NordicSki"),
    **dict.fromkeys(("alpineskiing", "downhillskiing", "resortskiing", "skiing"), "AlpineSki"),
    **dict.fromkeys(("backcountryskiing", "skitouring"), "BackcountrySki"),
    **dict.fromkeys(("snowboarding", "resortskiingsnowboarding"), "Snowboard"),
    **dict.fromkeys(("snowshoeing",), "Snowshoe"),
    **dict.fromkeys(("rollerskiing",), "RollerSki"),
    **dict.fromkeys(("iceskating", "skating"), "IceSkate"),
    **dict.fromkeys(("inlineskating", "rollerblading"), "InlineSkate"),
    **dict.fromkeys(("indoorrowing",), "Rowing"),
    **dict.fromkeys(("canoe",), "Canoeing"),
    **dict.fromkeys(("kayak",), "Kayaking"),
    **dict.fromkeys(("paddleboarding", "sup", "standuppaddleboarding"), "StandUpPaddling"),
    **dict.fromkeys(("kitesurfing", "kiteboarding"), "Kitesurf"),
    **dict.fromkeys(("windsurfing",), "Windsurf"),
    **dict.fromkeys(("sailing",), "Sail"),
    **dict.fromkeys(("climbing", "indoorclimbing", "bouldering"), "RockClimbing"),
    **dict.fromkeys(("football", "footballsoccer"), "Soccer"),
    **dict.fromkeys(("strengthtraining",), "WeightTraining"),
    **dict.fromkeys(("stairclimbing",), "StairStepper"),
    **dict.fromkeys(("hiit",), "HighIntensityIntervalTraining"),
    **dict.fromkeys(("training", "fitnessequipment", "indoorcardio"), "Workout"),
}
_BY_WORD: Final = {word.lower(): word for word in SPORT_TYPES} | _OTHER_WORDS | _BY_NUMBER
_NO_PART = re.compile(r"[\W_]+")


def sport_of(word: str) -> str | None:
    """Return Strava's word for a sport, whatever its case, blanks and signs; ``None`` for one that tells none."""
    return _BY_WORD.get(_NO_PART.sub("", word.lower()))
