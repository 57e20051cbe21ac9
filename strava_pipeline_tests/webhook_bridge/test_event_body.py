from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import WebhookRejected
from webhook_bridge.event_body import LATEST_EPOCH, parse_event

EVENT: dict[str, Any] = {
    "aspect_type": "update",
    "event_time": 1_793_702_430,
    "object_id": 16_123_456_789,
    "object_type": "activity",
    "owner_id": 4_000_000_101,
    "subscription_id": 120_475,
    "updates": {"title": "Évening 🏃", "private": "true"},
}


def body(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in EVENT.items() if key != name}).encode()


def assert_malformed(delivered: bytes) -> None:
    with pytest.raises(WebhookRejected) as caught:
        parse_event(delivered, signed=True)
    assert (caught.value.reason, caught.value.status) == ("malformed", 400)


def test_an_event_is_read() -> None:
    event = parse_event(body(), signed=True)
    assert (event.object_type, event.object_id, event.aspect_type) == ("activity", 16_123_456_789, "update")
    assert (event.owner_id, event.subscription_id) == (4_000_000_101, 120_475)
    assert event.event_time == datetime.fromtimestamp(1_793_702_430, UTC)
    assert event.updates == {"title": "Évening 🏃", "private": "true"}
    assert event.signed
    assert not parse_event(body(), signed=False).signed


@pytest.mark.parametrize("delivered", [without("updates"), body(updates=None), body(updates={})])
def test_an_event_may_have_no_updates(delivered: bytes) -> None:
    assert parse_event(delivered, signed=True).updates == {}


def test_a_deauthorization_is_an_event() -> None:
    delivered = body(object_type="athlete", object_id=4_000_000_101, updates={"authorized": "false"})
    event = parse_event(delivered, signed=True)
    assert (event.object_type, event.updates) == ("athlete", {"authorized": "false"})


def test_fields_nobody_knows_are_no_fault() -> None:
    assert (
        parse_event(body(new_field={"a": [1, None]}), signed=True).event_key
        == parse_event(body(), signed=True).event_key
    )


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**53 + 1, 2**63 - 1])
def test_ids_of_64_bits_are_exact(number: int) -> None:
    event = parse_event(body(object_id=number, owner_id=number), signed=True)
    assert (event.object_id, event.owner_id) == (number, number)


@pytest.mark.parametrize("field", ["object_id", "owner_id", "subscription_id", "event_time"])
@pytest.mark.parametrize(
    "text",
    [
        "true",
        "false",
        "1.0",
        "1e3",
        "1e400",
        "-1",
        "9223372036854775808",
        "18446744073709551616",
        "NaN",
        "Infinity",
        "-Infinity",
        '"16123456789"',
        "null",
        "[1]",
        "{}",
        "9" * 5_000,
        "+1",
        "01",
        "0x10",
        "1_0",
    ],
)
def test_only_a_whole_number_of_64_bits_is_an_id(field: str, text: str) -> None:
    assert_malformed(json.dumps(EVENT | {field: "\0"}).replace('"\\u0000"', text).encode())


@pytest.mark.parametrize("field", [name for name in EVENT if name != "updates"])
def test_each_field_is_needed(field: str) -> None:
    assert_malformed(without(field))


@pytest.mark.parametrize(
    "changes",
    [
        {"object_type": "segment"},
        {"object_type": "Activity"},
        {"object_type": ["activity"]},
        {"object_type": {}},
        {"object_type": 1},
        {"aspect_type": "CREATE"},
        {"aspect_type": ""},
        {"aspect_type": None},
        {"event_time": LATEST_EPOCH + 1},
        {"updates": []},
        {"updates": "title"},
        {"updates": 0},
        {"updates": False},
        {"updates": {"private": True}},
        {"updates": {"title": None}},
        {"updates": {"title": ["a"]}},
        {"updates": {"title": "nul\0"}},
        {"updates": {"nul\0": "title"}},
        {"updates": {"title": "lone \ud800 surrogate"}},
        {"updates": {"\udfff": "title"}},
        {"extra": "\ud800"},
        {"extra": 1.5},
    ],
)
def test_exact_types_and_storable_text_only(changes: dict[str, Any]) -> None:
    assert_malformed(body(**changes))


@pytest.mark.parametrize(
    "delivered",
    [
        b"",
        b" ",
        b"null",
        b"true",
        b"7",
        b'"text"',
        b"[]",
        b"[" + body() + b"]",
        b"{}",
        b"{",
        body()[:-1],
        body() + b"}",
        body() + body(),
        body() + b"\0",
        b"\0" + body(),
        b"\xef\xbb\xbf" + body(),
        body().decode().encode("utf-16"),
        body().decode().encode("utf-16-le"),
        body().decode().encode("utf-32"),
        body().replace(b"16123456789", b"16123456789, // comment"),
        body().replace(b'"', b"'"),
        body()[:-1] + b',"owner_id":4000000101}',
        body()[:-1] + b',"owner_id":1}',
        body(updates={}).replace(b'"updates": {}', b'"updates": {"title": "a", "title": "b"}'),
        body()[:-1] + b',"x":NaN}',
        body()[:-1] + b',"x":"\xff"}',
        body()[:-1] + b',"x":"\xed\xa0\x80"}',
        body()[:-1] + b',"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        body()[:-1] + b',"x":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b"}",
        b"[" * 16_000,
        b"9" * 5_000,
        b"<html></html>",
        b"object_type=activity&object_id=1",
    ],
)
def test_what_is_not_strict_json_is_malformed(delivered: bytes) -> None:
    assert_malformed(delivered)


@given(st.binary())
def test_any_bytes_are_an_event_or_malformed(delivered: bytes) -> None:
    with contextlib.suppress(WebhookRejected):
        assert parse_event(delivered, signed=True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*EVENT]), json_values, max_size=2))
def test_any_change_to_an_event_is_an_event_or_malformed(changes: dict[str, Any]) -> None:
    with contextlib.suppress(WebhookRejected):
        assert len(parse_event(body(**changes), signed=True).event_key) == 64


def test_a_redelivery_has_the_same_key() -> None:
    again = json.dumps(dict(reversed(EVENT.items())), indent=2).encode()
    swapped = body(updates=dict(reversed(EVENT["updates"].items())))
    key = parse_event(body(), signed=True).event_key
    assert {parse_event(other, signed=signed).event_key for other in (again, swapped) for signed in (True, False)} == {
        key
    }


def test_a_create_without_updates_has_one_key() -> None:
    deliveries = (without("updates"), body(updates={}), body(updates=None))
    assert len({parse_event(delivered, signed=True).event_key for delivered in deliveries}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"aspect_type": "create"},
        {"event_time": 1_793_702_431},
        {"object_id": 1},
        {"object_type": "athlete"},
        {"owner_id": 1},
        {"subscription_id": 1},
        {"updates": {}},
        {"updates": {"title": "Évening 🏃"}},
        {"updates": {"title": "Évening 🏃", "private": "false"}},
    ],
)
def test_another_event_has_another_key(changes: dict[str, Any]) -> None:
    assert parse_event(body(**changes), signed=True).event_key != parse_event(body(), signed=True).event_key
