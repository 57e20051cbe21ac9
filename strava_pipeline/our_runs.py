"""Which of Dagster's runs are ours: a host's instance has others, and perhaps those of another app of this kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from strava_pipeline.names import ALL_ASSETS, PREFIX_TAG, Names

# The metadata of a failed step whose events became dead letters: how many.
DEAD_EVENTS: Final = "events"
# In earlier releases an asset's key was its plain name, and a run of our jobs had one of these tags. Our steps tag
# each run that they are in, also one that makes assets of a host as well.
_EARLIER_KEYS: Final = frozenset(ALL_ASSETS)
_EARLIER_TAGS: Final = ("athlete", "lane", "job")


def is_our_run(names: Names, assets: Collection[str], tags: Mapping[str, str], *, is_own: bool) -> bool:
    """Whether all assets of a run are ours or, where it names none, its job is.

    ``assets``: the keys of those that it makes or checks, their parts joined by slashes. ``is_own``: whether the
    deployment is our own, where runs of earlier releases are ours, too. Elsewhere their plain names may be anybody's.
    """
    if assets:
        return all(names.asset_of(key) is not None for key in assets) or (is_own and _EARLIER_KEYS.issuperset(assets))
    if tags.get(PREFIX_TAG) == names.tag_value:
        return True
    return is_own and any(names.tag(name) in tags for name in _EARLIER_TAGS)
