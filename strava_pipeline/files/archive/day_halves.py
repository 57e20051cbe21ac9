# ruff: noqa: RUF001  words of many scripts look alike
"""Which half of the day a time of twelve hours is in, by the words beside it.

Words: CLDR 48, of the languages whose usual time has them, https://cldr.unicode.org/translation/date-time.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from strava_pipeline.files.archive.month_words import MONTH_OF, words

_MORNING: Final = frozenset({"am", "πμ", "ص", "pg", "pd", "öö", "पूर्वाह्न", "vm", "sa"})
_EVENING: Final = frozenset({"pm", "μμ", "م", "ptg", "md", "ös", "अपराह्न", "nm", "ch"})
# Written beside other characters, without a blank.
_MORNING_SIGNS: Final = ("上午", "午前", "凌晨", "清晨", "早上", "오전")
_EVENING_SIGNS: Final = ("下午", "午後", "午后", "晚上", "오후")
_NOON: Final = "中午"
# Words that languages write beside a time or a year, such as "o'clock"; any other may be one for a half of the day.
_FILLERS: Final = frozenset(
    {
        "a", "alle", "at", "de", "gada", "h", "kl", "klo", "la", "lúc", "o", "ob", "om", "ore", "pukul", "s", "sek",
        "u", "um", "à", "às", "в", "г", "о", "р", "ч", "年", "日", "秒", "일", "초",
    }
)  # fmt: skip
_WORD_BEFORE: Final = re.compile(r"[^\s\d,،]*\s*$")
_WORD_AFTER: Final = re.compile(r"^\s*[^\s\d,،]*")
_NOON_H: Final = 12
_LAST_MORNING_AT_NOON_H: Final = 11


def hour_of_day(hour: int, before: str, after: str) -> int | None:
    """Return the hour of the day, 0 to 23, given the texts around the time; ``None`` if it may be of either half."""
    if _NOON in before + after:
        return hour if hour >= _LAST_MORNING_AT_NOON_H else hour + _NOON_H
    found = set(_pairs(words(before)) + _pairs(words(after)))
    if found & _EVENING or any(sign in before + after for sign in _EVENING_SIGNS):
        return hour + _NOON_H if hour < _NOON_H else hour
    if found & _MORNING or any(sign in before + after for sign in _MORNING_SIGNS):
        return hour % _NOON_H if hour <= _NOON_H else None
    beside = {*words(_WORD_BEFORE.findall(before)[0]), *words(_WORD_AFTER.findall(after)[0])}
    is_doubtful = 0 < hour <= _NOON_H and beside - _FILLERS - set(MONTH_OF)
    return None if is_doubtful else hour


def _pairs(found: list[str]) -> list[str]:
    """Words, and single letters that follow each other as one word: ``p. m.`` is pm."""
    joined = [a + b for a, b in pairwise(found) if len(a) == len(b) == 1]
    return found + joined
