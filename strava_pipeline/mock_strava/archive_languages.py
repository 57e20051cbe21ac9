"""How Strava's archive writes dates, distances, sports and headers in the languages of accounts.

Dates are CLDR's medium date and time, https://cldr.unicode.org/. Headers of the languages in ``archive_headers.csv``
are Strava's. Nobody has seen those of the others: the English ones stand for them, with the language in front.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final

_ENGLISH: Final = "en"
_NOON_H: Final = 12
_ENGLISH_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SPANISH_MONTHS: Final = ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic")
_TIME: Final = "%H:%M:%S"
_M_IN_KM: Final = 1_000
_M_IN_NAUTICAL_MILE: Final = 1_852


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language of accounts. ``date``: writes a time, UTC; ``decimal`` and ``thousands``: signs in numbers for people.

    ``sports``: its word for a sport type; where it has none, the API's word is taken.
    """

    code: str
    date: Callable[[datetime], str]
    decimal: str
    thousands: str
    sports: dict[str, str]

    def sport(self, sport_type: str) -> str:
        return self.sports.get(sport_type, sport_type)

    def shown_distance(self, distance_m: float, sport_type: str) -> str:
        """Return a distance for people: whole m of a swim, nautical miles on a sail, else km, cut to hundredths."""
        if sport_type == "Swim":
            return f"{int(distance_m):,}".replace(",", self.thousands)
        hundredths = int(round(distance_m * 100) // (_M_IN_NAUTICAL_MILE if sport_type == "Sail" else _M_IN_KM))
        whole, rest = divmod(hundredths, 100)
        return f"{whole}{self.decimal}{rest:02d}"

    def header(self, english: str) -> str:
        """Return the header of a table other than activities.csv."""
        return english if self.code == _ENGLISH else f"{self.code}: {english}"

    def column_headers(self) -> dict[str, str]:
        """Return the header of each column of activities.csv, by the column's name, in the order of 2026."""
        return {
            row["name"]: row.get(self.code) or (row[_ENGLISH] if self.code in row else self.header(row[_ENGLISH]))
            for row in _headers()
        }


@cache
def _headers() -> tuple[dict[str, str], ...]:
    text = files(__package__).joinpath("archive_headers.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _day_month_year(months: str, link: str = " ") -> Callable[[datetime], str]:
    """Dates such as ``8 jul 2017, 15:25:34``."""
    words = months.split()

    def date(at: datetime) -> str:
        return f"{at.day}{link}{words[at.month - 1]}{link}{at.year}, {at:{_TIME}}"

    return date


def _halves(at: datetime) -> tuple[int, bool]:
    """The hour from 1 to 12, and whether it is after noon."""
    return at.hour % _NOON_H or _NOON_H, at.hour >= _NOON_H


def _english_date(at: datetime) -> str:
    hour, is_late = _halves(at)
    month = _ENGLISH_MONTHS[at.month - 1]
    return f"{month} {at.day}, {at.year}, {hour}:{at:%M:%S} {'PM' if is_late else 'AM'}"


def _spanish_date(at: datetime) -> str:
    hour, is_late = _halves(at)
    month = _SPANISH_MONTHS[at.month - 1]
    return f"{at.day} {month} {at.year}, {hour}:{at:%M:%S}\u202f{'p.m.' if is_late else 'a.m.'}"


LANGUAGES: Final = {
    language.code: language
    for language in (
        Language(
            code=_ENGLISH,
            date=_english_date,
            decimal=".",
            thousands=",",
            sports={"TrailRun": "Trail Run", "VirtualRide": "Virtual Ride", "Soccer": "Football (Soccer)"},
        ),
        Language(
            code="de",
            date=lambda at: f"{at:%d.%m.%Y}, {at:{_TIME}}",
            decimal=",",
            thousands=".",
            sports={"Ride": "Radfahrt", "Run": "Lauf", "TrailRun": "Traillauf", "Swim": "Schwimmen"},
        ),
        Language(
            code="fr",
            date=_day_month_year("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."),
            decimal=",",
            thousands="\u202f",
            sports={"Ride": "Sortie à vélo", "Run": "Course à pied", "TrailRun": "Trail", "Swim": "Natation"},
        ),
        Language(
            code="es",
            date=_spanish_date,
            decimal=".",
            thousands=",",
            sports={"Ride": "Vuelta ciclista", "Run": "Carrera", "TrailRun": "Carrera de trail", "Swim": "Natación"},
        ),
        Language(
            code="nl",
            date=_day_month_year("jan feb mrt apr mei jun jul aug sep okt nov dec"),
            decimal=",",
            thousands=".",
            sports={"Ride": "Fietsrit", "Run": "Hardloopsessie", "TrailRun": "Trailrun", "Swim": "Zwemmen"},
        ),
        Language(
            code="it",
            date=_day_month_year("gen feb mar apr mag giu lug ago set ott nov dic"),
            decimal=",",
            thousands=".",
            sports={"Ride": "Bicicletta", "Run": "Corsa", "TrailRun": "Corsa in natura", "Swim": "Nuoto"},
        ),
        Language(
            code="pt",
            date=_day_month_year("jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.", " de "),
            decimal=",",
            thousands=".",
            sports={"Ride": "Pedalada", "Run": "Corrida", "TrailRun": "Corrida em trilha", "Swim": "Natação"},
        ),
        Language(
            code="pl",
            date=_day_month_year("sty lut mar kwi maj cze lip sie wrz paź lis gru"),
            decimal=",",
            thousands="\u00a0",
            sports={"Ride": "Jazda na rowerze", "Run": "Bieg", "TrailRun": "Bieg terenowy", "Swim": "Pływanie"},
        ),
        Language(
            code="ja",
            date=lambda at: f"{at:%Y/%m/%d} {at.hour}:{at:%M:%S}",
            decimal=".",
            thousands=",",
            sports={"Ride": "ライド", "Run": "ラン", "TrailRun": "トレイルラン", "Swim": "水泳"},
        ),
    )
}
