from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.strava import pagination as listing
from strava_pipeline.strava.pagination import DAY_S, JsonObject, read_all

SIZE = 4
MIDNIGHT = 1_780_272_000
BEFORE = MIDNIGHT + 3 * DAY_S
AFTER = MIDNIGHT - 1


@pytest.fixture(scope="module", autouse=True)
def small_pages() -> Iterator[None]:
    """Pages of four, so that small listings have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "PAGE_SIZE", SIZE)
        yield


@dataclass
class Server:
    """Lists entries as Strava does, newest first by their true starts; ``meanwhile`` is done after each page."""

    starts: dict[int, int] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    pages: int = 0
    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def page(self, after: int, before: int, number: int) -> list[JsonObject]:
        within = [entry for entry in self.starts.items() if after < entry[1] < before]
        within.sort(key=lambda entry: (entry[1], entry[0]), reverse=True)
        shown = [self._shown(*entry) for entry in within[(number - 1) * SIZE : number * SIZE]]
        self.pages += 1
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return shown

    def add(self, number: int, start: int) -> None:
        self.starts[number] = start

    def delete(self, number: int) -> None:
        del self.starts[number]

    def _shown(self, number: int, start: int) -> JsonObject:
        moment = start // DAY_S * DAY_S + 1 if number in self.hidden else start
        text = f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return {"id": number, "start_date": text, "start_date_local": text}

    def listed(self) -> list[Any]:
        return [entry["id"] for entry in read_all(self.page, AFTER, BEFORE)]


def spread(count: int, apart_s: int = 600) -> Server:
    """Entries one after the other, the newest with the highest id."""
    return Server({number: MIDNIGHT + apart_s * number for number in range(count)})


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 6, 7, 8, 12, 13, 50])
def test_an_unchanging_listing_takes_a_page_for_all_but_one_of_a_page(count: int) -> None:
    server = spread(count)
    assert server.listed() == list(range(count))[::-1]
    assert server.pages == max(1, ceil(count / (SIZE - 1)))


def test_an_entry_behind_a_deleted_one_is_not_skipped() -> None:
    server = spread(8)
    server.meanwhile = [partial(server.delete, 7)]
    assert server.listed() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_an_entry_before_an_added_one_is_not_listed_twice() -> None:
    server = spread(8)
    server.meanwhile = [partial(server.add, 8, MIDNIGHT + 8 * 600)]
    assert server.listed() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_what_is_added_where_nobody_has_read_yet_is_listed() -> None:
    server = spread(8)
    server.meanwhile = [partial(server.add, 8, MIDNIGHT + 601)]
    assert server.listed() == [7, 6, 5, 4, 3, 2, 8, 1, 0]


def test_a_deleted_last_entry_of_a_page_is_not_missed() -> None:
    server = spread(8)
    server.meanwhile = [partial(server.delete, 4)]
    assert server.listed() == [7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("count", [4, 5, 8, 9, 30])
def test_more_entries_at_one_second_than_a_page_holds(count: int) -> None:
    server = Server(dict.fromkeys(range(count), MIDNIGHT + 5000) | {98: MIDNIGHT + 4999, 99: MIDNIGHT + 5001})
    assert sorted(server.listed()) == [*range(count), 98, 99]


def test_entries_that_hide_their_starts_may_stand_anywhere_in_their_day() -> None:
    server = spread(12, apart_s=7000)
    server.hidden = set(range(12))
    assert sorted(server.listed()) == list(range(12))
    server.hidden = {3, 8}
    assert sorted(server.listed()) == list(range(12))


def test_an_entry_without_a_start_is_listed() -> None:
    server = spread(9)

    def page(after: int, before: int, number: int) -> list[JsonObject]:
        return [
            entry | {"start_date": None} if entry["id"] == 5 else entry for entry in server.page(after, before, number)
        ]

    assert [entry["id"] for entry in read_all(page, AFTER, BEFORE)] == list(range(9))[::-1]


def test_a_full_page_without_any_start_is_an_error() -> None:
    with pytest.raises(RetriableStravaError, match="no entry"):
        list(read_all(lambda *_: [{"id": number} for number in range(SIZE)], AFTER, BEFORE))


def test_a_crowd_that_never_rests_is_an_error() -> None:
    server = Server(dict.fromkeys(range(5), MIDNIGHT + 5000))
    server.meanwhile = [partial(server.add, number, MIDNIGHT + 5000) for number in range(100, 190)]
    with pytest.raises(RetriableStravaError, match="faster"):
        server.listed()


moments = st.one_of(
    # Many share a second, or a day.
    st.sampled_from([MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 7, MIDNIGHT + DAY_S]),
    st.integers(MIDNIGHT, BEFORE - 1),
)


@st.composite
def changing_servers(draw: st.DrawFn) -> tuple[Server, set[int], set[int]]:
    """A server, the ids that are there all the while, and all ids that ever are."""
    count = draw(st.integers(0, 24))
    starts = {number: draw(moments) for number in range(count)}
    server = Server(starts, hidden=draw(st.sets(st.integers(0, 30), max_size=6)))
    leaving = draw(st.lists(st.sampled_from(range(count)), unique=True, max_size=3)) if count else []
    coming = {count + place: draw(moments) for place in range(draw(st.integers(0, 2)))}
    steps = [partial(server.delete, number) for number in leaving]
    steps += [partial(server.add, number, start) for number, start in coming.items()]
    idle = [lambda: None] * draw(st.integers(0, 8))
    server.meanwhile = draw(st.permutations([*steps, *idle]))
    return server, set(starts) - set(leaving), set(starts) | set(coming)


@given(changing_servers())
def test_what_is_there_all_the_while_is_listed_once(changing: tuple[Server, set[int], set[int]]) -> None:
    server, staying, ever = changing
    listed = server.listed()
    assert len(listed) == len(set(listed))
    assert staying <= set(listed) <= ever
