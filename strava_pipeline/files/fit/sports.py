"""Sports of FIT files in Strava's words.

Sources: the types ``sport`` and ``sub_sport`` of the FIT profile, https://developer.garmin.com/fit/overview/, and
``SportType`` at https://developers.strava.com/docs/reference/#api-models-SportType.
"""

from __future__ import annotations

from typing import Final

# These tell the sport whatever they stand below.
_BY_SUB_SPORT: Final = {
    12: "Handcycle",
    14: "Rowing",
    15: "Elliptical",
    16: "StairStepper",
    17: "Swim",
    18: "Swim",
    20: "WeightTraining",
    43: "Yoga",
    44: "Pilates",
    68: "RockClimbing",
    69: "RockClimbing",
    70: "HighIntensityIntervalTraining",
    73: "HighIntensityIntervalTraining",
    74: "HighIntensityIntervalTraining",
    75: "HighIntensityIntervalTraining",
    84: "Pickleball",
    86: "Wheelchair",
    87: "Wheelchair",
    88: "Handcycle",
    94: "Squash",
    95: "Badminton",
    96: "Racquetball",
    97: "TableTennis",
}
_BY_BOTH: Final = {
    (1, 3): "TrailRun",
    (1, 58): "VirtualRun",
    (2, 8): "MountainBikeRide",
    (2, 9): "MountainBikeRide",
    (2, 28): "EBikeRide",
    (2, 46): "GravelRide",
    (2, 47): "EMountainBikeRide",
    (2, 58): "VirtualRide",
    (4, 1): "Run",
    (4, 5): "Ride",
    (4, 6): "Ride",
    (4, 27): "Walk",
    (4, 45): "Run",
    (12, 37): "BackcountrySki",
    (13, 37): "BackcountrySki",
    (15, 58): "VirtualRow",
    (21, 8): "EMountainBikeRide",
    (21, 9): "EMountainBikeRide",
    (21, 47): "EMountainBikeRide",
}
_BY_SPORT: Final = {
    1: "Run",
    2: "Ride",
    4: "Workout",  # equipment of a gym
    5: "Swim",
    6: "Workout",  # basketball
    7: "Soccer",
    8: "Tennis",
    9: "Workout",  # American football
    10: "Workout",  # training
    11: "Walk",
    12: "NordicSki",
    13: "AlpineSki",
    14: "Snowboard",
    15: "Rowing",
    16: "Hike",  # mountaineering
    17: "Hike",
    19: "Canoeing",  # paddling
    21: "EBikeRide",
    25: "Golf",
    27: "Workout",  # riding a horse
    30: "InlineSkate",
    31: "RockClimbing",
    32: "Sail",
    33: "IceSkate",
    35: "Snowshoe",
    37: "StandUpPaddling",
    38: "Surfing",
    39: "Workout",  # wakeboarding
    40: "Workout",  # water skiing
    41: "Kayaking",
    42: "Kayaking",  # rafting
    43: "Windsurf",
    44: "Kitesurf",
    45: "Workout",  # tactical
    47: "Workout",  # boxing
    48: "StairStepper",  # climbing floors
    49: "Workout",  # baseball
    53: "Workout",  # diving
    62: "HighIntensityIntervalTraining",
    64: "Workout",  # racket sports
    65: "Wheelchair",
    66: "Wheelchair",
    67: "Workout",  # meditation
    69: "Workout",  # disc golf
    70: "Workout",  # a team sport
    71: "Workout",  # cricket
    72: "Workout",  # rugby
    73: "Workout",  # hockey
    74: "Workout",  # lacrosse
    75: "Workout",  # volleyball
    77: "Workout",  # wakesurfing
    80: "Workout",  # mixed martial arts
    82: "Workout",  # snorkeling
    83: "Workout",  # dance
    84: "Workout",  # jumping rope
}


def sport_type(sport: float | None, sub_sport: float | None) -> str | None:
    """Return Strava's word for a sport, such as ``TrailRun``; ``None`` if it has none or the file does not tell."""
    if sport is None and sub_sport is None:
        return None
    code, sub_code = -1 if sport is None else int(sport), -1 if sub_sport is None else int(sub_sport)
    return _BY_BOTH.get((code, sub_code)) or _BY_SUB_SPORT.get(sub_code) or _BY_SPORT.get(code)
