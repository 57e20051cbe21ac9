"""Words for people: names that are safe to show in a line, sports, paces, changes and figures."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from strava_pipeline.printable import MARK, WHOLE, printable
from strava_pipeline.units import METRIC, Units

ON_FOOT = frozenset({"Run", "TrailRun", "VirtualRun", "Walk", "Hike", "Snowshoe"})
SWIMS = frozenset({"Swim"})
LONGEST_SPORT = 40
# A smaller change is "as usual".
AS_USUAL_PERCENT = 3
# Characters that keep left-to-right and right-to-left text apart, https://www.unicode.org/reports/tr9/.
ISOLATE, END_ISOLATE = "\u2068", "\u2069"
RIGHT_TO_LEFT = frozenset({"R", "AL"})
JOINERS = frozenset({"\u200c", "\u200d", "\ufe0e", "\ufe0f"})


def shown(text: str, longest: int) -> str:
    """Return a name as one printable line of at most ``longest`` characters, without what has no glyph.

    A longer name ends in an ellipsis, and is never cut within a glyph.
    """
    line = " ".join(printable(unicodedata.normalize("NFC", text), WHOLE).replace(MARK, "").split())
    if len(line) <= longest:
        return line
    cut = line[: longest - 1]
    while cut and (cut[-1] in JOINERS or unicodedata.combining(line[len(cut)]) or line[len(cut)] in JOINERS):
        cut = cut[:-1]
    return f"{cut.rstrip()}\u2026"


def isolated(text: str) -> str:
    """Return a text so that it cannot change the direction of the text around it: isolated if it has right-to-left."""
    turns = any(unicodedata.bidirectional(character) in RIGHT_TO_LEFT for character in text)
    return f"{ISOLATE}{text}{END_ISOLATE}" if turns else text


def sport_name(sport_type: str) -> str:
    """Return a sport in words: ``GravelRide`` as ``Gravel ride``."""
    sport = shown(sport_type, LONGEST_SPORT)
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in sport).strip()
    return words[:1].upper() + words[1:]


def velocity(sport_type: str, units: Units) -> tuple[str, Callable[[float], str]]:
    """Return how a sport states speed: the figure's name, and the function that formats m/s."""
    if sport_type in ON_FOOT:
        return "Average pace", units.pace
    if sport_type in SWIMS:
        return "Average pace", units.swim_pace
    return "Average speed", units.speed


def ordinal(number: int) -> str:
    teens = range(11, 14)
    ending = "th" if number % 100 in teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def change(value: float, usual: float) -> str:
    """Return the change from the usual figure, such as ``+12 %``, or ``as usual``."""
    percent = round(100 * (value / usual - 1))
    return "as usual" if abs(percent) < AS_USUAL_PERCENT else f"{percent:+d} %".replace("-", "\u2212")


def change_of_speed(value: float, usual: float) -> str:
    """Return the change of a speed, such as ``5 % faster``: for a pace, ``+5 %`` could mean faster or slower."""
    percent = round(100 * (value / usual - 1))
    return (
        "as usual" if abs(percent) < AS_USUAL_PERCENT else f"{abs(percent)} % {'faster' if percent > 0 else 'slower'}"
    )


def bpm(value: float) -> str:
    return f"{value:.0f} bpm"


def watts(value: float) -> str:
    return f"{value:.0f} W"


def plain(value: float) -> str:
    return f"{value:.0f}"


def temperature(units: Units) -> Callable[[float], str]:
    if units is METRIC:
        return lambda value: f"{value:.0f} \u00b0C".replace("-", "\u2212")
    return lambda value: f"{value * 9 / 5 + 32:.0f} \u00b0F".replace("-", "\u2212")
